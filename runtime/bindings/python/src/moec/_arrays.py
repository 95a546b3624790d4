# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arrays of NumPy, torch, JAX and others -> addresses that the runtime may read and write; results of the same kind.

A kind of arrays knows four things: whether an array has the expected element type, place and layout, and its address;
how to make an array; how to hand it on; the device of an array. Nothing is copied here except where a name says so.
"""

from __future__ import annotations

import sys
from typing import Any, Dict, Optional, Sequence, Tuple

from . import _errors

Device = Tuple[str, int]  # ("cpu", 0), ("cuda", ordinal)
CPU: Device = ("cpu", 0)


def place(device: Device) -> str:
    return "the CPU" if device[0] == "cpu" else f"{device[0]}:{device[1]}"


def wrong_dtype(name: str, found: object, expected: str, hint: str = "") -> _errors.MoecError:
    return _errors.error("MOEC_DTYPE", f"{name} is of {found}, the layer expects {expected}{hint}")


def wrong_device(name: str, found: Device, expected: Device) -> _errors.MoecError:
    return _errors.error("MOEC_UNSUPPORTED_DEVICE", f"{name} is on {place(found)}, the layer runs on {place(expected)}")


def with_gaps(name: str, strides: Sequence[int], unit: str, hint: str) -> _errors.MoecError:
    return _errors.error(
        "MOEC_STRIDE",
        f"{name} has strides {tuple(strides)} ({unit}), the layer reads and writes rows without gaps; pass {hint}",
    )


class Kind:
    """One library of arrays."""

    label = "array"

    def address(self, array: Any, name: str, dtype: str, device: Device, stated: Optional[str]) -> int:
        """The address of a C-contiguous array of `dtype` on `device`; a sentence otherwise. `stated` is what a uint16
        array holds."""
        raise NotImplementedError

    def writable(self, array: Any, name: str) -> None:
        """A sentence if the array must not be written."""

    def element(self, array: Any, name: str, stated: Optional[str]) -> str:
        """The element type by the runtime's name."""
        raise NotImplementedError

    def device(self, array: Any) -> Device:
        return CPU

    def contiguous(self, array: Any) -> Any:
        """The array itself, or a copy without gaps."""
        raise NotImplementedError

    def empty(self, shape: Tuple[int, ...], dtype: str, like: Any, stated: Optional[str]) -> Any:
        """A new array that `address` takes, beside `like`."""
        raise NotImplementedError

    def finish(self, array: Any, like: Any) -> Any:
        """What `empty` made, now filled -> an array of the kind of `like`."""
        return array

    def stream(self, device: Device) -> Optional[int]:
        """The stream on which the library works now."""
        return None


class NumpyKind(Kind):
    label = "numpy.ndarray"

    def __init__(self) -> None:
        import numpy

        self.np = numpy
        self.types: Dict[str, Any] = {
            name: numpy.dtype(name) for name in ("float32", "float16", "int32", "int64", "float64", "uint8")
        }
        self.names: Dict[Any, str] = {dtype: name for name, dtype in self.types.items()}
        self.bits = numpy.dtype("uint16")

    def bfloat16(self) -> Any:
        """ml_dtypes' type; None: not installed."""
        found = self.types.get("bfloat16")
        if found is None:
            try:
                import ml_dtypes
            except ImportError:
                return None
            found = self.types["bfloat16"] = self.np.dtype(ml_dtypes.bfloat16)
            self.names[found] = "bfloat16"
        return found

    def element(self, array: Any, name: str, stated: Optional[str]) -> str:
        dtype = array.dtype
        if dtype == self.bits and stated is not None:
            return stated
        found = self.names.get(dtype)
        if found is None and dtype.name == "bfloat16":
            self.bfloat16()
            found = "bfloat16"
        if found is None:
            hint = ', or state what it holds: dtype="bfloat16"' if dtype == self.bits else ""
            raise wrong_dtype(name, dtype, "float32, bfloat16 (ml_dtypes), float16, int32 or int64", hint)
        return found

    def address(self, array: Any, name: str, dtype: str, device: Device, stated: Optional[str]) -> int:
        if array.dtype is not self.types.get(dtype) and self.element(array, name, stated) != dtype:
            found = self.element(array, name, stated)
            hint = (
                f'; pass {name}.astype("{dtype}")'
                if dtype != "bfloat16"
                else "; pass " + name + ".astype(ml_dtypes.bfloat16)"
            )
            raise wrong_dtype(name, found, dtype, hint)
        if device is not CPU:
            raise wrong_device(name, CPU, device)
        if not array.flags.c_contiguous:
            raise with_gaps(name, array.strides, "bytes", f"numpy.ascontiguousarray({name})")
        address: int = array.__array_interface__["data"][0]
        return address

    def writable(self, array: Any, name: str) -> None:
        if not array.flags.writeable:
            raise _errors.error("MOEC_INVALID_ARGUMENT", f"{name} is read only")

    def contiguous(self, array: Any) -> Any:
        return self.np.ascontiguousarray(array).reshape(array.shape)

    def empty(self, shape: Tuple[int, ...], dtype: str, like: Any, stated: Optional[str]) -> Any:
        found = self.types.get(dtype)
        if found is None and dtype == "bfloat16":
            found = self.bits if stated == "bfloat16" else self.bfloat16()
            if found is None:
                raise _errors.error(
                    "MOEC_DTYPE",
                    'the result is bfloat16: install ml_dtypes, or pass dtype="bfloat16" for uint16 arrays',
                )
        elif stated is not None and stated == dtype and like.dtype == self.bits:
            found = self.bits
        return self.np.empty(shape, found)


class TorchKind(Kind):
    label = "torch.Tensor"

    def __init__(self) -> None:
        import torch

        self.torch = torch
        self.types: Dict[str, Any] = {
            name: getattr(torch, name)
            for name in ("float32", "bfloat16", "float16", "int32", "int64", "float64", "uint8")
        }
        self.names: Dict[Any, str] = {dtype: name for name, dtype in self.types.items()}
        self.devices: Dict[Any, Device] = {}

    def device(self, array: Any) -> Device:
        if array.is_cpu:
            return CPU
        return (array.device.type, array.device.index or 0)

    def element(self, array: Any, name: str, stated: Optional[str]) -> str:
        found = self.names.get(array.dtype)
        if found is None:
            if stated is not None and array.dtype == getattr(self.torch, "uint16", None):
                return stated
            raise wrong_dtype(name, array.dtype, "float32, bfloat16, float16, int32 or int64")
        return found

    def address(self, array: Any, name: str, dtype: str, device: Device, stated: Optional[str]) -> int:
        if array.dtype is not self.types[dtype] and self.element(array, name, stated) != dtype:
            raise wrong_dtype(name, array.dtype, f"torch.{dtype}", f"; pass {name}.to(torch.{dtype})")
        if array.is_cpu:
            if device is not CPU:
                raise wrong_device(name, CPU, device)
        elif self.device(array) != device:
            raise wrong_device(name, self.device(array), device)
        if not array.is_contiguous():
            raise with_gaps(name, array.stride(), "elements", f"{name}.contiguous()")
        address: int = array.data_ptr()
        return address

    def contiguous(self, array: Any) -> Any:
        return array.detach().contiguous()

    def empty(self, shape: Tuple[int, ...], dtype: str, like: Any, stated: Optional[str]) -> Any:
        if like.dtype is self.types[dtype]:
            return like.new_empty(shape)
        return self.torch.empty(shape, dtype=self.types[dtype], device=like.device)

    def stream(self, device: Device) -> Optional[int]:
        if device[0] != "cuda":
            return None
        stream: int = self.torch.cuda.current_stream(device[1]).cuda_stream
        return stream


_kinds: Dict[type, Kind] = {}
_made: Dict[str, Kind] = {}


def kind_of(array: Any, name: str) -> Kind:
    """The kind of an array; a sentence if it is none."""
    kind = _kinds.get(type(array))
    if kind is None:
        kind = _kinds[type(array)] = _resolve(array, name)
    return kind


def _named(key: str, make: Any) -> Kind:
    kind = _made.get(key)
    if kind is None:
        kind = _made[key] = make()
    return kind


def _resolve(array: Any, name: str) -> Kind:
    for base in type(array).__mro__:
        root = base.__module__.partition(".")[0]
        if root == "numpy" and base.__name__ == "ndarray":
            return _named("numpy", NumpyKind)
        if root == "torch" and base.__name__ == "Tensor" and "torch" in sys.modules:
            return _named("torch", TorchKind)
    raise _errors.error("MOEC_DTYPE", f"{name} is a {type(array).__name__}, expected an array of NumPy, torch or JAX")
