# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A spec -> a package, by the program moec."""

from __future__ import annotations

import json
import numbers
import os
import pathlib
import shutil
import tempfile
from typing import Any, List, Mapping, Optional, Sequence, Tuple, Union

from . import _cache, _errors, _program
from ._package import Package, Path, is_package, path_of

Paths = Union[Path, Sequence[Path]]


def _list(name: str, value: Any) -> List[str]:
    """An option that is a text or a path, or several."""
    entries = value if isinstance(value, (list, tuple)) else [value]
    if not entries or not all(isinstance(entry, (str, os.PathLike)) for entry in entries):
        raise _errors.error("MOEC_DTYPE", f"{name} is {value!r}, expected a text or a list of them")
    return [os.fspath(entry) for entry in entries]


def compile(
    spec: Union[Path, Mapping[str, Any]],
    out: Optional[Path] = None,
    *,
    target: Union[None, str, Sequence[str]] = None,
    max_tokens: Optional[int] = None,
    name: Optional[str] = None,
    reports: Union[None, str, Sequence[str]] = None,
    det: Optional[str] = None,
    math: Optional[str] = None,
    workspace_limit: Union[None, int, str] = None,
    schedule: Optional[Path] = None,
    tuning: Optional[Paths] = None,
    allow_bits: bool = False,
    templates: Optional[Path] = None,
    emit: str = "shared",
    force: bool = False,
    jobs: Optional[int] = None,
    timeout: Optional[float] = None,
) -> Package:
    """Compiles a layer. Runs the program moec (moec.program says which), a second or less for a layer of any size.

    spec        a dict in the form of dsl/README.md, a .json or .mlir file, a package to make again, or a preset's name
    out         the package folder. None: a folder of compiled packages, named by everything that determines their
                bytes, so that a second call compiles nothing. MOEC_CACHE names that folder (~/.cache/moec); any number
                of processes may use it at the same time, and it may be deleted at any time
    target      "cpu:avx2", "cuda", "cuda:sm_90a", ..., or a list. None: "cpu", with all instruction sets
    max_tokens  largest T of a call; None: 8192
    name        instead of the spec's
    reports     outputs on request: "all", "none" or names; None: those of the spec
    det, math, workspace_limit, schedule, tuning, allow_bits, templates
                as the flags of `moec compile`: "batch"; "tf32"; bytes or "64MiB"; files; folder
    emit        "shared", or "both" for programs that link the package too (with `out`)
    force       replaces `out` if it is a package
    jobs        instruction sets compiled at a time
    timeout     seconds

    Errors: MoecError with `code` ("E-VALUE") and `exit`, and the compiler's messages as text.

    >>> package = moec.compile(spec)
    >>> package.name
    'tiny'
    """
    command, parts = _flags(
        values={
            "--target": None if target is None else ",".join(_list("target", target)),
            "--max-tokens": max_tokens,
            "--name": name,
            "--reports": None if reports is None else ",".join(_list("reports", reports or "none")),
            "--det": det,
            "--math": math,
            "--workspace-limit": workspace_limit,
        },
        files={"--schedule": schedule, "--templates": templates, "--tuning": tuning},
    )
    if allow_bits:
        command.append("--allow-bits")
        parts.append(("--allow-bits", ""))
    if jobs is not None:
        command += ["--jobs", str(jobs)]
    text, argument = None, ""
    if isinstance(spec, Mapping):
        try:
            text, argument = json.dumps(spec, indent=2, allow_nan=False, default=_whole), "/dev/stdin"
            parts.append(("spec", json.dumps(spec, sort_keys=True, allow_nan=False, default=_whole)))
        except (TypeError, ValueError) as reason:
            raise _errors.error("MOEC_DTYPE", f"spec is not JSON: {reason}") from None
    else:
        argument = path_of("spec", spec)
        parts += _source(pathlib.Path(argument))
    if emit not in ("shared", "both"):
        raise _errors.error("MOEC_INVALID_ARGUMENT", f'emit is {emit!r}, expected "shared" or "both"')
    if text is not None or not is_package(argument):  # one that is made again decides itself
        command += ["--emit", emit]
    identity = _program.identity()
    if out is not None:
        force_flag = ["--force"] if force else []
        _program.run([*command, *force_flag, "-o", os.fspath(out), argument], text, timeout)
        return Package(out)
    parts += [("program", identity), ("machine", _cache.machine(" ".join(_list("target", target or "cpu"))))]
    return _cached(_cache.folder() / _cache.key(parts), command, argument, text, timeout)


def _cached(
    entry: pathlib.Path, command: List[str], argument: str, text: Optional[str], timeout: Optional[float]
) -> Package:
    if _cache.whole(entry):
        return Package(entry)
    with _cache.locked(entry):
        if _cache.whole(entry):
            return Package(entry)
        if entry.exists():
            shutil.rmtree(entry)
        try:
            work = tempfile.mkdtemp(prefix=f"{entry.name}.tmp-", dir=entry.parent)
        except OSError as reason:
            raise _errors.error("MOEC_FILE", f"cannot write {entry.parent}: {reason.strerror}") from None
        try:
            made = pathlib.Path(work) / "package"
            _program.run([*command, "-o", str(made), argument], text, timeout)
            try:
                os.rename(made, entry)
            except OSError:
                if not _cache.whole(entry):  # on a file system without locks another process may have been first
                    raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return Package(entry)


def _flags(values: Mapping[str, Any], files: Mapping[str, Optional[Paths]]) -> Tuple[List[str], List[Tuple[str, Any]]]:
    """Flags of `moec compile`, and what they contribute to the key of the package."""
    command, parts = ["-q", "compile"], []
    for flag, value in values.items():
        if value is not None:
            command += [flag, str(value)]
            parts.append((flag, value))
    for flag, paths in files.items():
        for path in _list(flag[2:], paths) if paths is not None and paths != [] else []:
            command += [flag, path]
            found = pathlib.Path(path)
            parts.append((flag, _cache.contents(found) if found.exists() else path))
    return command, parts


def _whole(value: object) -> int:
    """An int of another library, for JSON."""
    if isinstance(value, numbers.Integral):
        return int(value)
    raise TypeError(f"it has a value of type {type(value).__name__}")


def _source(path: pathlib.Path) -> List[Tuple[str, Any]]:
    """The bytes that a file, a package or a preset's name stands for. A file's records of tuning lie beside it."""
    if not path.exists():
        return [("preset", str(path))]
    if path.is_dir() and not is_package(path):
        text = f"{path} is a folder, expected a package, a .json or .mlir file, or a preset's name"
        raise _errors.MoecError(f"{text}; layer.load reads checkpoints", code="E-FILE")
    parts: List[Tuple[str, Any]] = [("file", path.suffix), ("bytes", _cache.contents(path))]
    stem = path.with_suffix("") if path.suffix in (".json", ".mlir") else path
    records = path.with_name(stem.name + ".tune.jsonl")
    if records.is_file():
        parts.append(("records", records.read_bytes()))
    return parts
