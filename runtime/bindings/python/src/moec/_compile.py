# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A spec -> a package, by the program moec."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
from typing import Any, List, Mapping, Optional, Union

from . import _errors
from ._package import Package, Path


def program() -> str:
    named = os.environ.get("MOEC")
    if named:
        return named
    here = pathlib.Path(__file__).resolve()
    if len(here.parents) > 5:
        built = here.parents[5] / "build" / "bin" / "moec"
        if built.is_file():
            return str(built)
    found = shutil.which("moec")
    if found:
        return found
    raise _errors.MoecError("the program moec is not here: set MOEC to its path, or pip install moec[compiler]")


def compile(
    spec: Union[Path, Mapping[str, Any]], out: Optional[Path] = None, *, target: Optional[str] = None
) -> Package:
    """Compiles a spec (a dict, a file, or a preset's name) to a package folder."""
    folder = pathlib.Path(os.fspath(out)) if out is not None else pathlib.Path(tempfile.mkdtemp()) / "package"
    command: List[str] = [program(), "-q", "compile", "--emit", "shared", "-o", str(folder)]
    if target is not None:
        command += ["--target", target]
    with tempfile.TemporaryDirectory() as work:
        if isinstance(spec, Mapping):
            file = pathlib.Path(work) / "spec.json"
            file.write_text(json.dumps(spec), "utf-8")
            command.append(str(file))
        else:
            command.append(os.fspath(spec))
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise _errors.MoecError(done.stderr.strip(), exit=done.returncode)
    return Package(folder)
