# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arrays of NumPy, torch, JAX, CuPy and others -> addresses for the runtime, and results of the same kind.

kind.py says what a kind of arrays knows. Nothing is copied here, except where a function's name says so.
"""

from ._find import kind_of, memory_kind, register
from .kind import CPU, FLOATS, Device, Kind, check_stated, place, wrong_device, wrong_dtype

__all__ = [
    "CPU",
    "FLOATS",
    "Device",
    "Kind",
    "check_stated",
    "kind_of",
    "memory_kind",
    "place",
    "register",
    "wrong_device",
    "wrong_dtype",
]
