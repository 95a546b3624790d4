// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! Where libmoec is, from the environment or pkg-config -> what the linker is told.
//!
//! `MOEC_LIB_DIR` is the folder of libmoec; without it `pkg-config` is asked. `MOEC_LINK` is `static` or `shared`;
//! without it the archive is taken if the folder has it, so that the program starts without a search path.
use std::env;
use std::path::{Path, PathBuf};
use std::process::{exit, Command};

fn stop(text: &str) -> ! {
    eprintln!("moec-sys: {}", text);
    exit(1)
}

fn pkg_config_dir() -> PathBuf {
    let program = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    let hint = "set MOEC_LIB_DIR to the folder of libmoec, or PKG_CONFIG_PATH to PREFIX/lib/pkgconfig";
    let version = env!("CARGO_PKG_VERSION");
    let found = Command::new(&program)
        .args(["--variable=libdir", &format!("moec >= {}", version)])
        .output()
        .unwrap_or_else(|error| stop(&format!("cannot run {:?}: {}; {}", program, error, hint)));
    if !found.status.success() {
        stop(&format!("{}; {}", String::from_utf8_lossy(&found.stderr).trim(), hint));
    }
    PathBuf::from(String::from_utf8_lossy(&found.stdout).trim())
}

fn is_static(dir: &Path) -> bool {
    match env::var("MOEC_LINK").as_deref() {
        Ok("static") => true,
        Ok("shared") => false,
        Ok(other) => stop(&format!("MOEC_LINK is \"{}\", expected static or shared", other)),
        Err(_) => dir.join("libmoec.a").exists(),
    }
}

fn main() {
    for name in ["MOEC_LIB_DIR", "MOEC_LINK", "PKG_CONFIG", "PKG_CONFIG_PATH"] {
        println!("cargo:rerun-if-env-changed={}", name);
    }
    let dir = env::var_os("MOEC_LIB_DIR").map_or_else(pkg_config_dir, PathBuf::from);
    let is_static = is_static(&dir);
    let file = dir.join(if is_static { "libmoec.a" } else { "libmoec.so" });
    if !file.exists() {
        stop(&format!("{} does not exist", file.display()));
    }
    println!("cargo:rerun-if-changed={}", file.display());
    println!("cargo:rustc-link-search=native={}", dir.display());
    println!("cargo:rustc-link-lib={}=moec", if is_static { "static" } else { "dylib" });
    println!("cargo:rustc-link-lib=dylib=pthread");
    println!("cargo:rustc-link-lib=dylib=dl");
    println!("cargo:lib_dir={}", dir.display()); // DEP_MOEC_LIB_DIR of crates that depend on this one
}
