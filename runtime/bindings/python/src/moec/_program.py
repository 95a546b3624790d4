# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The program moec: where it is, what it says of itself, and its errors as exceptions."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
from typing import Dict, Iterator, List, Optional, Tuple

from . import _errors
from ._version import VERSION

_CODE = re.compile(r"\berror\[(E-[A-Z0-9-]+)\]")
_environments: Dict[str, Dict[str, str]] = {}  # of programs that are not run in this process's own
_versions: Dict[Tuple[str, int, int], str] = {}


def _candidates() -> Iterator[str]:
    try:
        import moec_compiler
    except ImportError:
        pass
    else:
        path = moec_compiler.program()
        _environments[path] = moec_compiler.environment()
        yield path
    parents = pathlib.Path(__file__).resolve().parents
    if len(parents) > 5 and (parents[5] / "runtime" / "moec.h").is_file():
        yield str(parents[5] / "build" / "bin" / "moec")
    for found in (shutil.which("moec"), os.path.join(sys.prefix, "bin", "moec")):
        if found:
            yield found


def program() -> str:
    """The path of the program moec that moec.compile runs.

    It is the first of: the environment variable MOEC; the distribution moec-compiler (a wheel that
    `pip wheel runtime/bindings/python/compiler` makes in a checkout); build/bin of the checkout that this package lies
    in; moec in PATH; bin of the Python environment.
    """
    named = os.environ.get("MOEC")
    if named:
        if not (os.path.isfile(named) and os.access(named, os.X_OK)):
            raise _errors.MoecError(f"MOEC is {named}, which is not a program", code="E-TOOL")
        return named
    for path in _candidates():
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    text = (
        "the program moec is not installed: build it in a checkout of moec (cmake --build build --target moec), then "
        "put it into PATH, set MOEC to its path, or install the wheel that runtime/bindings/python/compiler makes of it"
    )
    raise _errors.MoecError(text, code="E-TOOL")


def run(arguments: List[str], text: Optional[str] = None, timeout: Optional[float] = None) -> str:
    """Runs moec with a text as its input; what it printed, or its error."""
    path = program()
    try:
        done = subprocess.run(
            [path, *arguments],
            input=text if text is not None else "",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=_environments.get(path),
            timeout=timeout,
        )
    except OSError as reason:
        raise _errors.MoecError(f"cannot run {path}: {reason.strerror}", code="E-TOOL") from None
    except subprocess.TimeoutExpired:
        raise _errors.MoecError(f"{path} took more than {timeout} s", code="E-TIMEOUT", exit=9) from None
    if done.returncode:
        message = done.stderr.strip() or f"{path} ended with exit status {done.returncode}"
        code = _CODE.search(message)
        raise _errors.MoecError(
            message.replace("/dev/stdin", "spec"), code=code.group(1) if code else None, exit=done.returncode
        )
    return done.stdout


def identity() -> str:
    """What `moec version` says, and the size and time of the program; an error if it is of another version."""
    path = os.path.realpath(program())
    facts = os.stat(path)
    key = (path, facts.st_size, facts.st_mtime_ns)
    if key not in _versions:
        _versions[key] = run(["version"]).strip()
    found = _versions[key]
    if found.split(" ")[:2] != ["moec", VERSION]:
        raise _errors.MoecError(f"{path} is {found.split('(')[0].strip()!r}, this package needs moec {VERSION}")
    return f"{found} {facts.st_size} {facts.st_mtime_ns}"
