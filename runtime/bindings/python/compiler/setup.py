# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A built program moec -> a wheel that runs on machines without LLVM.

`pip wheel .` in this folder packs build/bin/moec of the checkout, or the program that MOEC names; ld.lld, which makes
shared libraries; and every shared library that both need, except those of the C and C++ compilers, which every Linux
has. They find each other by paths relative to themselves.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from wheel_tag import wheel_platform  # noqa: E402

SYSTEM = re.compile(r"(linux-vdso|ld-linux.*|lib(c|m|dl|rt|util|pthread|gcc_s|stdc\+\+))\.so\.\d+$")


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


def program():
    path = os.environ.get("MOEC") or str(HERE.parents[3] / "build" / "bin" / "moec")
    if not os.access(path, os.X_OK):
        raise SystemExit(f"moec-compiler: {path} is not a program; build the target moec, or name one in MOEC")
    return pathlib.Path(path).resolve()


def linker():
    for name in ("ld.lld-22", "ld.lld"):
        if shutil.which(name):
            return pathlib.Path(shutil.which(name)).resolve()
    raise SystemExit("moec-compiler: ld.lld is not in PATH; install lld 22")


def libraries(*programs):
    """{name: path} of the shared libraries that go into the wheel."""
    found = {}
    for path in programs:
        for line in output("ldd", str(path)).splitlines():
            match = re.match(r"\s*(\S+) => (\S+) \(0x", line)
            if match and not SYSTEM.match(match[1]):
                found[match[1]] = pathlib.Path(match[2]).resolve()
            elif "not found" in line:
                raise SystemExit(f"moec-compiler: {path} needs {line.split()[0]}, which is not installed")
    return found


def copyright_of(library):
    """The file in which a Debian package states the licence of a library; None on other systems."""
    try:
        owner = output("dpkg", "-S", f"*/{library.name}").split(":")[0]
    except (OSError, subprocess.CalledProcessError):
        return None
    path = pathlib.Path("/usr/share/doc") / owner / "copyright"
    return path if path.is_file() else None


class BuildPy(build_py):
    def run(self):
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        folder = pathlib.Path(self.build_lib) / "moec_compiler"
        moec, lld = program(), linker()
        self.copy(moec, folder / "bin" / "moec", "$ORIGIN/../lib")
        self.copy(lld, folder / "bin" / "ld.lld", "$ORIGIN/../lib")
        for name, path in libraries(moec, lld).items():
            self.copy(path, folder / "lib" / name, "$ORIGIN")
            terms = copyright_of(path)
            if terms:
                (folder / "licenses").mkdir(exist_ok=True)
                shutil.copyfile(terms, folder / "licenses" / f"{name}.txt")

    def copy(self, source, target, search):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755)
        subprocess.run(["strip", "--strip-unneeded", str(target)], check=True)
        subprocess.run(["patchelf", "--set-rpath", search, str(target)], check=True)


class Wheel(bdist_wheel):
    def finalize_options(self):
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self):
        folder = pathlib.Path(self.bdist_dir) / "moec_compiler"
        return "py3", "none", wheel_platform([*(folder / "bin").iterdir(), *(folder / "lib").iterdir()])


class Binary(Distribution):
    def has_ext_modules(self):
        return True


setup(distclass=Binary, cmdclass={"build_py": BuildPy, "bdist_wheel": Wheel})
