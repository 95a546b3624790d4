# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What determines a package's bytes -> a key, and the folder of packages by key."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pathlib
from typing import Any, Iterator, List, Tuple

from . import _errors, _program
from ._package import Package

_MACHINE = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags")


def folder() -> pathlib.Path:
    """MOEC_CACHE, otherwise moec in XDG_CACHE_HOME, otherwise ~/.cache/moec."""
    named = os.environ.get("MOEC_CACHE")
    if named:
        return pathlib.Path(named)
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "moec"


def machine(targets: str) -> str:
    """What records of tuning are looked up by: this processor; for CUDA also the GPU, and the version of ptxas."""
    facts: List[str] = []
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if not line.strip():
                break
            name, _, value = line.partition(":")
            if name.strip() in _MACHINE:
                facts.append(f"{name.strip()}: {value.strip()}")
    if "cuda" in targets:
        facts.append(_program.run(["doctor", "--json"]))
    return "\n".join(facts)


def contents(path: pathlib.Path) -> List[Tuple[str, bytes]]:
    """A file, or every file below a folder, by its path there."""
    if path.is_file():
        return [("", path.read_bytes())]
    files = sorted(found for found in path.rglob("*") if found.is_file())
    return [(str(found.relative_to(path)), found.read_bytes()) for found in files]


def key(parts: List[Tuple[str, Any]]) -> str:
    """A name for named parts: texts, bytes, or lists of (name, bytes)."""
    sum = hashlib.sha256(b"moec-cache/1")

    def add(data: bytes) -> None:
        sum.update(len(data).to_bytes(8, "little"))
        sum.update(data)

    for name, value in parts:
        add(name.encode())
        if isinstance(value, list):
            add(str(len(value)).encode())
            for inner, data in value:
                add(os.fsencode(inner))
                add(data)
        else:
            add(value if isinstance(value, bytes) else str(value).encode())
    return sum.hexdigest()[:32]


@contextlib.contextmanager
def locked(entry: pathlib.Path) -> Iterator[None]:
    """While one process makes an entry, others wait. The lock ends with the process that holds it."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        lock = open(entry.parent / f"{entry.name}.lock", "w", encoding="utf-8")
    except OSError as reason:
        text = f"cannot write the folder of compiled packages {entry.parent}: {reason.strerror}"
        text += "; set MOEC_CACHE, or pass out"
        raise _errors.error("MOEC_FILE", text) from None
    with lock:
        with contextlib.suppress(OSError):  # a file system without locks: several processes may make the same
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def whole(entry: pathlib.Path) -> bool:
    """Whether an entry is there and its library has the bytes that its manifest lists."""
    try:
        Package(entry).read()
    except _errors.MoecError:
        return False
    return True
