# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A package folder, or its shared library -> what its manifest says, and its entry in this process."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import pathlib
import weakref
from ctypes import c_char_p, c_int, c_void_p
from typing import Any, Dict, List, Optional, Tuple, Union

from . import _elf, _errors

Path = Union[str, "os.PathLike[str]"]


class Package:
    """A package that `moec compile` wrote: a path (os.fspath) with its facts.

    path      the folder, or the shared library if that is all there is
    name      the layer's name
    library   lib/libNAME.so
    manifest  manifest.json as a dict; {} for a shared library alone
    """

    def __init__(self, path: Path) -> None:
        given = pathlib.Path(path_of("package", path))
        if not given.exists():
            raise _errors.error("MOEC_FILE", f"no package at {given}: no such file or folder")
        self.manifest: Dict[str, Any] = {}
        if given.is_dir():
            self.path, self.manifest = given, _manifest(given)
            self.name: str = self.manifest["name"]
            self.library = given / "lib" / f"lib{self.name}.so"
            if not self.library.is_file():
                raise _errors.error(
                    "MOEC_FILE",
                    f"package {given} has no lib/lib{self.name}.so: compile it with --emit shared (or both)",
                )
        else:
            self.path = self.library = given
            self.name = ""

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __str__(self) -> str:
        return os.fspath(self.path)

    def __repr__(self) -> str:
        return f"moec.Package({os.fspath(self.path)!r})"

    def read(self) -> os.stat_result:
        """Checks that the library's bytes are whole and, if there is a manifest, those that it lists. Sets name;
        returns which file it was."""
        try:
            with open(self.library, "rb") as file:
                facts, data = os.fstat(file.fileno()), file.read()
        except OSError as reason:
            raise _errors.error("MOEC_FILE", f"cannot read {self.library}: {reason.strerror}") from None
        problem = _elf.problem(data)
        if problem:
            hint = "; compile it with --emit shared (or both)" if data[:7] == b"!<arch>" else ""
            raise _errors.error("MOEC_FILE_FORMAT", f"{self.library} {problem}{hint}")
        if self.manifest and self._listed() != "sha256:" + hashlib.sha256(data).hexdigest():
            text = f"{self.library} is damaged: its bytes are not those that manifest.json lists; compile it again"
            raise _errors.error("MOEC_FILE_FORMAT", text)
        if not self.name:
            self.name = self._only_name(_elf.packages(data))
        return facts

    def _listed(self) -> object:
        """What the manifest says of the library's bytes."""
        files = self.manifest.get("files")
        return files.get(f"lib/lib{self.name}.so") if isinstance(files, dict) else None

    def _only_name(self, names: List[str]) -> str:
        stem = self.library.name.split(".so")[0]
        if stem[3:] in names and stem.startswith("lib"):
            return stem[3:]
        if len(names) == 1:
            return names[0]
        found = "exports no NAME_package" if not names else "exports several packages, " + ", ".join(names)
        raise _errors.error("MOEC_FILE_FORMAT", f"{self.library} is not a package of moec: it {found}")


def path_of(name: str, value: object) -> str:
    """The text of an argument that is a path."""
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise _errors.error("MOEC_DTYPE", f"{name} is of type {type(value).__name__}, expected a path")
    return os.fsdecode(value)


def is_package(path: Path) -> bool:
    """Whether a path is a package's folder, or its share/NAME."""
    folder = pathlib.Path(os.fspath(path))
    return (folder / "manifest.json").is_file() or next(folder.glob("share/*/manifest.json"), None) is not None


def _manifest(folder: pathlib.Path) -> Dict[str, Any]:
    files = sorted(folder.glob("share/*/manifest.json"))
    if len(files) != 1:
        found = "no" if not files else "more than one"
        raise _errors.error(
            "MOEC_FILE_FORMAT", f"{folder} is not a package of moec: it has {found} share/NAME/manifest.json"
        )
    try:
        manifest = json.loads(files[0].read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as reason:
        raise _errors.error("MOEC_FILE_FORMAT", f"{files[0]} cannot be read: {reason}") from None
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != "moec.manifest/1":
        raise _errors.error(
            "MOEC_VERSION_MISMATCH", f"{files[0]} has the schema {schema!r}, expected 'moec.manifest/1'"
        )
    if manifest.get("name") != files[0].parent.name:
        raise _errors.error("MOEC_FILE_FORMAT", f"{files[0]} names another layer, {manifest.get('name')!r}")
    result: Dict[str, Any] = manifest
    return result


_dl = ctypes.CDLL(None)
_dl.dlopen.argtypes = [c_char_p, c_int]
_dl.dlopen.restype = c_void_p
_dl.dlsym.argtypes = [c_void_p, c_char_p]
_dl.dlsym.restype = c_void_p
_dl.dlclose.argtypes = [c_void_p]
_dl.dlerror.restype = c_char_p
_TRIES = 3
_aliases: Dict[str, List[Tuple[int, int]]] = {}


def _unique_path(path: str, facts: os.stat_result) -> str:
    """A name of this very file that nobody else uses. The dynamic linker takes a name that it knows for the file that
    had it before, although a package may have been compiled again meanwhile, and somebody else may have opened its
    plain name (ctypes, tvm_ffi); for a name that is new to it, it compares the files themselves."""
    folder, name = os.path.split(os.path.realpath(path))
    seen = _aliases.setdefault(os.path.join(folder, name), [])
    key = (facts.st_dev, facts.st_ino)
    if key not in seen:
        seen.append(key)
    index = 1 + seen.index(key)  # also if two threads have added it
    return os.path.join(folder + "/." * index, name)


def _open(source: Package) -> int:
    """The handle of the library that source.read has checked, not of one that took its place meanwhile."""
    for _ in range(_TRIES):
        read = source.read()
        handle: Optional[int] = _dl.dlopen(
            os.fsencode(_unique_path(os.fspath(source.library), read)), os.RTLD_NOW | os.RTLD_LOCAL
        )
        if not handle:
            reason = (_dl.dlerror() or b"").decode("utf-8", "replace")
            raise _errors.error("MOEC_FILE_FORMAT", f"{source.library} cannot be opened: {reason}")
        try:
            now = _which(os.stat(source.library))
        except OSError:
            now = ()
        if now == _which(read):
            return handle
        _dl.dlclose(handle)
    raise _errors.error("MOEC_FILE", f"{source.library} is being replaced again and again; load it when it is whole")


def _which(facts: os.stat_result) -> Tuple[int, ...]:
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


class Library:
    """The open library of a package: package, the address of its moec_package. Closed with its last user."""

    def __init__(self, source: Package) -> None:
        handle = _open(source)
        self._finalizer = weakref.finalize(self, _dl.dlclose, handle)
        self._finalizer.atexit = False
        entry = _dl.dlsym(handle, f"{source.name}_package".encode())
        if not entry:
            raise _errors.error("MOEC_FILE_FORMAT", f"{source.library} exports no {source.name}_package")
        package: Optional[int] = ctypes.CFUNCTYPE(c_void_p)(entry)()
        if not package:
            raise _errors.error("MOEC_FILE_FORMAT", f"{source.library}: {source.name}_package() returned NULL")
        self.package: int = package
