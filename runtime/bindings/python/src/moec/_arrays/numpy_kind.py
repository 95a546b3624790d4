# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""numpy.ndarray, with bfloat16 of ml_dtypes; and arrays that NumPy can view through a protocol."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from .. import _errors
from .kind import CPU, Device, Kind, with_gaps, wrong_device, wrong_dtype

_NAMES = ("float32", "float16", "int32", "int64", "float64", "uint8")


class NumpyKind(Kind):
    def __init__(self) -> None:
        import numpy

        self.np = numpy
        self.types: Dict[str, Any] = {name: numpy.dtype(name) for name in _NAMES}
        self.names: Dict[Any, str] = {dtype: name for name, dtype in self.types.items()}
        self.bits = numpy.dtype("uint16")

    def bfloat16(self) -> Any:
        """The type of ml_dtypes; None: it is not installed."""
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
        if found is None and dtype.name == "bfloat16" and self.bfloat16() is not None:
            found = "bfloat16"
        if found is None:
            bits = '; state what the bits mean: dtype="bfloat16"'
            hint = bits if dtype == self.bits else f"; pass {self.conversion(name, 'float32')}"
            raise wrong_dtype(name, dtype, "float32, bfloat16 (of ml_dtypes), float16, int32 or int64", hint)
        return found

    def _check_type(self, array: Any, name: str, dtype: str, stated: Optional[str]) -> None:
        if array.dtype == self.bits and stated is None and dtype in ("bfloat16", "float16"):
            raise wrong_dtype(name, "uint16", dtype, f'; state what the bits mean: dtype="{dtype}"')
        if array.dtype == self.bits and stated is not None:
            if stated != dtype:
                raise wrong_dtype(name, f"{stated} (as stated)", dtype)
        elif self.names.get(array.dtype) != dtype and not (dtype == "bfloat16" and array.dtype == self.bfloat16()):
            wanted = "ml_dtypes.bfloat16" if dtype == "bfloat16" else f'"{dtype}"'
            raise wrong_dtype(name, array.dtype, dtype, f"; pass {name}.astype({wanted})")

    def address(self, array: Any, name: str, dtype: str, device: Device, stated: Optional[str]) -> int:
        if array.dtype is not self.types.get(dtype):
            self._check_type(array, name, dtype, stated)
        if device is not CPU:
            raise wrong_device(name, CPU, device)
        if not array.flags.c_contiguous:
            raise with_gaps(name, array.strides, "bytes", f"numpy.ascontiguousarray({name})")
        address: int = array.__array_interface__["data"][0]
        return address

    def check_writable(self, array: Any, name: str) -> None:
        if not array.flags.writeable:
            raise _errors.error("MOEC_INVALID_ARGUMENT", f"{name} is read only")

    def contiguous(self, array: Any) -> Any:
        return array if array.flags.c_contiguous else self.np.ascontiguousarray(array)

    def empty(self, shape: Tuple[int, ...], dtype: str, like: Any, stated: Optional[str]) -> Any:
        found = self.types.get(dtype)
        if stated == dtype and getattr(like, "dtype", None) == self.bits:
            found = self.bits
        elif found is None:
            found = self.bfloat16()
            if found is None:
                text = 'the result is of bfloat16: install ml_dtypes, or pass x as uint16 with dtype="bfloat16"'
                raise _errors.error("MOEC_DTYPE", text)
        return self.np.empty(shape, found)

    def made_at(self, array: Any) -> int:
        address: int = array.__array_interface__["data"][0]
        return address


class ViewedKind(NumpyKind):
    """Arrays on the CPU with __dlpack__ or __array_interface__; results are NumPy's."""

    def _view(self, array: Any) -> Any:
        if hasattr(array, "__dlpack__") and hasattr(self.np, "from_dlpack"):
            return self.np.from_dlpack(array)
        return self.np.asarray(array)

    def element(self, array: Any, name: str, stated: Optional[str]) -> str:
        return super().element(self._view(array), name, stated)

    def _viewed(self, array: Any, name: str) -> Any:
        try:
            return self._view(array)
        except (BufferError, RuntimeError, TypeError, ValueError) as reason:
            raise _errors.error("MOEC_DTYPE", f"{name} cannot be viewed as an array of NumPy: {reason}") from None

    def address(self, array: Any, name: str, dtype: str, device: Device, stated: Optional[str]) -> int:
        return super().address(self._viewed(array, name), name, dtype, device, stated)

    def check_writable(self, array: Any, name: str) -> None:
        super().check_writable(self._view(array), name)

    def check_readable(self, array: Any, name: str) -> None:
        self._viewed(array, name)

    def contiguous(self, array: Any) -> Any:
        return self.np.ascontiguousarray(self._view(array))

    def fill(self, array: Any, value: float) -> None:
        self._view(array)[...] = value
