# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The program moec in this distribution. `moec` on the command line, and moec.compile of the package moec, run it."""

import os
import pathlib
import sys
from typing import Dict, NoReturn


def program() -> str:
    """The path of the program."""
    return str(pathlib.Path(__file__).resolve().parent / "bin" / "moec")


def environment() -> Dict[str, str]:
    """The environment to run it in: its linker, beside it, is in PATH behind those of the system."""
    folder = os.path.dirname(program())
    return {**os.environ, "PATH": os.pathsep.join(filter(None, (os.environ.get("PATH"), folder)))}


def main() -> NoReturn:
    os.execve(program(), [program(), *sys.argv[1:]], environment())
