# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The runtime's C sources -> libmoec.so in the package, and a wheel with the tag of the C library that it needs.

`pip wheel .` in this folder of a checkout; a source distribution carries the C sources along. CC and CFLAGS are
respected: CC="python -m ziglang cc -target x86_64-linux-gnu.2.17" makes a wheel for older systems.
"""

import os
import pathlib
import shlex
import shutil
import subprocess
import sys

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from wheel_tag import wheel_platform  # noqa: E402

ROOMS = (".", "plan", "weights", "cuda", "layer")  # of the runtime
FLAGS = ["-std=c11", "-O3", "-DNDEBUG", "-fPIC", "-fvisibility=hidden", "-fno-math-errno"]
DEFINES = ["-D_DEFAULT_SOURCE", "-D_POSIX_C_SOURCE=200809L"]


def runtime():
    """The folder of moec.h: of this checkout, or of this source distribution."""
    for folder in (HERE / "runtime", HERE.parent.parent):
        if (folder / "moec.h").is_file():
            return folder
    raise SystemExit("moec: the runtime's C sources are not here; build in a checkout, or from a source distribution")


def files(suffixes):
    for room in ROOMS:
        yield from sorted(f for f in (runtime() / room).iterdir() if f.suffix in suffixes)


def compile_runtime(target):
    """libmoec.so, which needs the C library alone."""
    target.parent.mkdir(parents=True, exist_ok=True)
    command = shlex.split(os.environ.get("CC", "cc")) + FLAGS + DEFINES + shlex.split(os.environ.get("CFLAGS", ""))
    command += [f"-I{runtime().parent}", "-shared", "-Wl,-soname,libmoec.so", "-s", "-pthread", "-o", str(target)]
    subprocess.run(command + [str(f) for f in files((".c",))] + ["-ldl"], check=True)


class BuildPy(build_py):
    def run(self):
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)  # modules that are gone would be packed again
        super().run()
        folder = HERE / "src" if self.editable_mode else pathlib.Path(self.build_lib)
        compile_runtime(folder / "moec" / "libmoec.so")


class Wheel(bdist_wheel):
    def finalize_options(self):
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self):
        return "py3", "none", wheel_platform([pathlib.Path(self.bdist_dir) / "moec" / "libmoec.so"])


class SourceDistribution(sdist):
    def make_release_tree(self, base_dir, names):
        super().make_release_tree(base_dir, names)
        for file in files((".c", ".h")):
            target = pathlib.Path(base_dir) / "runtime" / file.relative_to(runtime())
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


class Binary(Distribution):
    def has_ext_modules(self):
        return True


setup(distclass=Binary, cmdclass={"build_py": BuildPy, "bdist_wheel": Wheel, "sdist": SourceDistribution})
