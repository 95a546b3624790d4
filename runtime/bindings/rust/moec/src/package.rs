// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//! A linked package, or the path of a shared one -> what layers are made from.
use crate::error::{text_of, Error, Result, Status};
use moec_sys as sys;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;

/// What `NAME_package()` returns: kernels and the plan of one layer, for any number of layers made from it.
#[derive(Clone)]
pub struct Package {
    package: NonNull<sys::moec_package>,
    /// Keeps a loaded library; `None` for a linked one.
    _library: Option<Arc<Library>>,
}

unsafe impl Send for Package {}
unsafe impl Sync for Package {}

/// The [`Package`] of a library that the program links: `moec::package!(mixtral)` calls `mixtral_package()`.
///
/// The program's `build.rs` names the library:
///
/// ```no_run
/// println!("cargo:rustc-link-search=native=pkg/lib");
/// println!("cargo:rustc-link-lib=static=mixtral");
/// ```
#[macro_export]
macro_rules! package {
    ($name:ident) => {{
        extern "C" {
            #[link_name = concat!(stringify!($name), "_package")]
            fn package() -> *const $crate::sys::moec_package;
        }
        // The linked library of this name is a package of moec, which is valid as long as the program runs.
        unsafe { $crate::Package::from_raw(package()) }
    }};
}

impl Package {
    /// # Safety
    ///
    /// `package` is what a package's `NAME_package()` returned, and its library is never unloaded.
    ///
    /// # Panics
    ///
    /// If it is NULL.
    pub unsafe fn from_raw(package: *const sys::moec_package) -> Package {
        let package = NonNull::new(package as *mut _).expect("NAME_package() returned NULL");
        Package { package, _library: None }
    }

    /// A shared package (`moec compile --emit shared`): its folder, or its `lib/libNAME.so`. It stays loaded as long as
    /// something made from it exists.
    ///
    /// A package that was compiled again is opened as it is now; earlier handles keep the library that they opened.
    /// This needs a new file, as `moec compile` makes one: never write into a library that is open.
    ///
    /// # Safety
    ///
    /// Loading runs the library's code: load only what you would link.
    pub unsafe fn open(path: impl AsRef<Path>) -> Result<Package> {
        let path = library_of(path.as_ref())?;
        let name = name_of(&path).ok_or_else(|| not_a_package(&path))?;
        let library = Library::open(&path)?;
        let symbol = library.symbol(&format!("{}_package", name)).ok_or_else(|| {
            let text = format!("{}: not a package: it has no {}_package", path.display(), name);
            Error::new(Status::FileFormat, text)
        })?;
        let entry: unsafe extern "C" fn() -> *const sys::moec_package = std::mem::transmute(symbol.as_ptr());
        let package = NonNull::new(entry() as *mut _).ok_or_else(|| not_a_package(&path))?;
        Ok(Package { package, _library: Some(Arc::new(library)) })
    }

    /// The package of C, which lives as long as this handle.
    pub fn as_ptr(&self) -> *const sys::moec_package {
        self.package.as_ptr()
    }
}

fn not_a_package(path: &Path) -> Error {
    Error::new(Status::File, format!("{}: expected a package's folder, or its lib/libNAME.so", path.display()))
}

/// "mixtral" of "libmixtral.so".
fn name_of(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?.strip_prefix("lib")?.strip_suffix(".so")?;
    Some(name).filter(|name| !name.is_empty())
}

fn library_of(path: &Path) -> Result<PathBuf> {
    let entries = match path.join("lib").read_dir() {
        Ok(entries) => entries,
        Err(_) => return Ok(path.to_path_buf()),
    };
    let mut found: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| name_of(path).is_some()).collect();
    match (found.pop(), found.len()) {
        (Some(library), 0) => Ok(library),
        (last, others) => Err(Error::new(
            Status::File,
            format!(
                "{}: {} libraries lib/libNAME.so, expected 1; moec compile --emit shared makes it",
                path.display(),
                others + usize::from(last.is_some())
            ),
        )),
    }
}

extern "C" {
    fn dlopen(path: *const sys::c_char, mode: i32) -> *mut u8;
    fn dlsym(library: *mut u8, name: *const sys::c_char) -> *mut u8;
    fn dlclose(library: *mut u8) -> i32;
    fn dlerror() -> *const sys::c_char;
}
const RTLD_NOW: i32 = 2;
const RTLD_NOLOAD: i32 = 4;

/// Another name of the file `path` that tells it from others that had this name: the folder is followed by the number
/// of the file in `/` (0) and `/.` (1).
fn numbered(path: &Path) -> Option<CString> {
    let mut number = path.metadata().ok()?.ino();
    let mut name = path.parent()?.as_os_str().as_bytes().to_vec();
    while number != 0 {
        name.extend_from_slice(if number & 1 == 1 { b"/." } else { b"/" });
        number >>= 1;
    }
    name.push(b'/');
    name.extend_from_slice(path.file_name()?.as_bytes());
    CString::new(name).ok()
}

/// A library that is open.
struct Library(NonNull<u8>);

unsafe impl Send for Library {}
unsafe impl Sync for Library {}

impl Library {
    unsafe fn open(path: &Path) -> Result<Library> {
        // without a slash the loader would look elsewhere
        let path = if path.components().count() == 1 { Path::new(".").join(path) } else { path.to_path_buf() };
        let c_path = CString::new(path.as_os_str().as_bytes()).map_err(|_| not_a_package(&path))?;
        // The dynamic linker takes a name that it knows for the file that had it first, and compares files only for a
        // new name.
        let known = NonNull::new(dlopen(c_path.as_ptr(), RTLD_NOW | RTLD_NOLOAD)).map(Library);
        let name = known.as_ref().and_then(|_| numbered(&path)).unwrap_or(c_path);
        NonNull::new(dlopen(name.as_ptr(), RTLD_NOW)).map(Library).ok_or_else(|| {
            let reason = dlerror();
            let reason = if reason.is_null() { "".into() } else { CStr::from_ptr(reason).to_string_lossy() };
            Error::new(Status::File, format!("cannot load the package: {}", reason))
        })
    }

    unsafe fn symbol(&self, name: &str) -> Option<NonNull<u8>> {
        let name = CString::new(name).ok()?;
        NonNull::new(dlsym(self.0.as_ptr(), name.as_ptr()))
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        unsafe { dlclose(self.0.as_ptr()) };
    }
}

/// The version of the runtime that is linked, `"0.1.0"`.
pub fn version() -> &'static str {
    text_of(unsafe { sys::moec_version() })
}

/// The best instruction set of this machine that packages can use: `"avx512"`, for example.
pub fn cpu_isa() -> &'static str {
    text_of(unsafe { sys::moec_isa_name(sys::moec_cpu_isa()) })
}
