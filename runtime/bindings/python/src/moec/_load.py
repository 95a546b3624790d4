# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A package -> a layer on this machine."""

from __future__ import annotations

import ctypes
import sys
from typing import Any, Optional, Union

from . import _errors, _native
from ._arrays import CPU, Device
from ._layer import Handle, Layer
from ._package import Library, Package, Path
from ._pool import Pool, default_pool


def _device_of(text: str) -> Device:
    """ "cpu", "cuda" or "cuda:1"; "cuda" is the device that the program's libraries use now."""
    name, _, ordinal = text.partition(":")
    if name == "cpu" and ordinal in ("", "0"):
        return CPU
    if name != "cuda" or not (ordinal.isdigit() if ":" in text else True):
        raise _errors.error("MOEC_INVALID_ARGUMENT", f'device is {text!r}, expected "cpu", "cuda" or "cuda:N"')
    if ordinal:
        return ("cuda", int(ordinal))
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    if torch is not None and torch.cuda.is_available():
        return ("cuda", torch.cuda.current_device())
    return ("cuda", cupy.cuda.runtime.getDevice() if cupy is not None and cupy.cuda.is_available() else 0)


def load(
    package: Union[Path, Package],
    *,
    device: Any = "cpu",
    threads: Optional[int] = None,
    pool: Optional[Pool] = None,
    spin_us: Optional[int] = None,
    max_isa: Optional[str] = None,
    memory: Optional[str] = None,
    cuda_driver: Optional[int] = None,
) -> Layer:
    """A package -> a layer on this machine.

    package  what moec.compile returned, a package folder that `moec compile --emit shared` wrote, or its libNAME.so.
             The library's bytes are compared with the folder's manifest. Its code runs in this process
    device   "cpu", "cuda", "cuda:1", or a torch.device
    threads  CPU: workers of the layer's own, the calling thread included. None: the pool
    pool     CPU: threads shared with other layers. None: one of the process, with all CPUs that it may use
    spin_us  CPU, with threads: microseconds that idle workers spin; None: 50, 0: they sleep at once
    max_isa  CPU: the highest instruction set to use: "baseline", "avx2", "avx512", "avx512_bf16" or "amx"
    memory   CUDA: the library that allocates packed weights, "torch" or "cupy"; None: the one that is imported
    cuda_driver
             CUDA: the address of a moec_cuda_driver to use in place of libcuda.so.1, which must outlive the layer

    Errors: MOEC_FILE, MOEC_FILE_FORMAT (not a package, or damaged), MOEC_VERSION_MISMATCH (made for another version of
    the runtime), MOEC_ISA_MISSING, MOEC_UNSUPPORTED_DEVICE, MOEC_INVALID_ARGUMENT.

    >>> layer = moec.load(package, threads=1)
    >>> layer.hidden, layer.num_experts, layer.top_k
    (8, 4, 2)
    """
    place = _device_of(str(device))
    options = _native.LayerOptions(struct_size=ctypes.sizeof(_native.LayerOptions))
    if max_isa is not None:
        if _native.string("max_isa", max_isa) not in _native.ISAS:
            expected = ", ".join(_native.ISAS)
            raise _errors.error("MOEC_INVALID_ARGUMENT", f"max_isa is {max_isa!r}, expected one of {expected}")
        options.max_isa = 1 + _native.ISAS.index(max_isa)
    options.max_threads = _native.count("threads", threads)
    if threads == 0:
        raise _errors.error("MOEC_INVALID_ARGUMENT", "threads is 0, expected at least 1, or None for all CPUs")
    options.spin_us = -1 if spin_us == 0 else _native.count("spin_us", spin_us)
    if place is CPU:
        if pool is None and threads is None and spin_us is None:
            pool = default_pool()
        if pool is not None and not isinstance(pool, Pool):
            raise _errors.error("MOEC_DTYPE", f"pool is of type {type(pool).__name__}, expected moec.Pool")
        options.pool = pool._box if pool is not None else None
    else:
        options.device, options.cuda_device = _native.DEVICE_CUDA, 1 + place[1]
        if cuda_driver is not None and not isinstance(cuda_driver, int):
            text = f"cuda_driver is of type {type(cuda_driver).__name__}, expected an address, an int"
            raise _errors.error("MOEC_DTYPE", text)
        options.cuda_driver = cuda_driver
    if memory not in (None, "torch", "cupy"):
        raise _errors.error("MOEC_INVALID_ARGUMENT", f'memory is {memory!r}, expected "torch" or "cupy"')
    source = package if isinstance(package, Package) else Package(package)
    library = Library(source)
    return Layer(source, library, Handle(library, options, pool), place, memory)
