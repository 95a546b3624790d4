# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Bytes or a file -> memory at a page's start, which lives as long as its object."""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from ctypes import c_int, c_int64, c_size_t, c_void_p
from typing import Union

from . import _errors

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.argtypes = [c_void_p, c_size_t, c_int, c_int, c_int, c_int64]
_libc.mmap.restype = c_void_p
_libc.munmap.argtypes = [c_void_p, c_size_t]
_FAILED = c_void_p(-1).value


class Memory:
    """address, nbytes. Private memory of zeros, which the runtime may back by pages of 2 MiB."""

    def __init__(self, nbytes: int, fd: int = -1, protection: int = mmap.PROT_READ | mmap.PROT_WRITE) -> None:
        flags = mmap.MAP_PRIVATE if fd >= 0 else mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        size = max(nbytes, 1)
        address = _libc.mmap(None, size, protection, flags, fd, 0)
        if address is None or address == _FAILED:
            number = ctypes.get_errno()
            status = "MOEC_OUT_OF_MEMORY" if fd < 0 else "MOEC_FILE"
            raise _errors.error(status, f"cannot map {nbytes} bytes: {os.strerror(number)}")
        self.address: int = address
        self.nbytes = nbytes
        self.writable = fd < 0
        self._finalizer = weakref.finalize(self, _libc.munmap, address, size)
        self._finalizer.atexit = False  # the process ends anyway, and threads may still be inside a call

    @classmethod
    def of_file(cls, path: Union[str, "os.PathLike[str]"]) -> "Memory":
        """The bytes of a file, read only and shared with everybody who maps it."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as reason:
            raise _errors.error("MOEC_FILE", f"cannot open {os.fspath(path)}: {reason.strerror}") from None
        try:
            return cls(os.fstat(fd).st_size, fd, mmap.PROT_READ)
        except _errors.MoecError as reason:
            raise _errors.error("MOEC_FILE", f"{os.fspath(path)}: {reason}") from None
        finally:
            os.close(fd)

    def view(self) -> memoryview:
        """The bytes; the caller keeps this object alive as long as it uses them."""
        return memoryview((ctypes.c_char * self.nbytes).from_address(self.address)).cast("B")
