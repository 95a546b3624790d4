# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the layer asks of a library of arrays, and the sentences for arrays that do not fit."""

from __future__ import annotations

import contextlib
from typing import Any, ContextManager, Optional, Sequence, Tuple

from .. import _errors

Device = Tuple[str, int]  # ("cpu", 0), ("cuda", ordinal)
CPU: Device = ("cpu", 0)
FLOATS = "float32, bfloat16 or float16"


def place(device: Device) -> str:
    """A device, for sentences."""
    return "the CPU" if device[0] == "cpu" else f"{device[0]}:{device[1]}"


def wrong_dtype(name: str, found: object, expected: str, hint: str = "") -> _errors.MoecError:
    return _errors.error("MOEC_DTYPE", f"{name} is of {found}, expected {expected}{hint}")


def check_stated(dtype: Optional[str]) -> None:
    """A sentence unless `dtype` is what arrays of uint16 may hold. Other types have other sizes: their arrays would be
    read beyond their ends."""
    if dtype is not None and not (isinstance(dtype, str) and dtype in ("bfloat16", "float16")):
        text = f'arrays of uint16 are stated to be of {dtype!r}, expected dtype="bfloat16" or dtype="float16"'
        raise _errors.error("MOEC_DTYPE", text)


def wrong_device(name: str, found: Device, expected: Device) -> _errors.MoecError:
    return _errors.error("MOEC_INVALID_ARGUMENT", f"{name} is on {place(found)}, the layer runs on {place(expected)}")


def with_gaps(name: str, strides: Sequence[int], unit: str, hint: str) -> _errors.MoecError:
    text = f"{name} has strides {tuple(strides)} ({unit}), a layer reads and writes rows without gaps"
    return _errors.error("MOEC_STRIDE", f"{text}; pass {hint}")


class Kind:
    """One library of arrays. Element types have the runtime's names: "float32", "bfloat16", "int32"."""

    def address(self, array: Any, name: str, dtype: str, device: Device, stated: Optional[str]) -> int:
        """The address of a C-contiguous array of `dtype` on `device`; a sentence for any other. `stated` is what an
        array of uint16 holds."""
        raise NotImplementedError

    def check_writable(self, array: Any, name: str) -> None:
        """A sentence if the array may not be written."""

    def check_readable(self, array: Any, name: str) -> None:
        """A sentence if the array has no values that can be read: one of a trace, a deleted or a sharded one."""

    def conversion(self, name: str, dtype: str) -> str:
        """What converts an array, for sentences."""
        return f'{name}.astype("{dtype}")'

    def element(self, array: Any, name: str, stated: Optional[str]) -> str:
        """The element type of an array."""
        raise NotImplementedError

    def device(self, array: Any) -> Device:
        return CPU

    def contiguous(self, array: Any) -> Any:
        """The array itself, or a copy of it without gaps, that holds its values as they are."""
        raise NotImplementedError

    def empty(self, shape: Tuple[int, ...], dtype: str, like: Any, stated: Optional[str]) -> Any:
        """A new array without gaps, on the device of `like`."""
        raise NotImplementedError

    def made_at(self, array: Any) -> int:
        """The address of what `empty` made."""
        raise NotImplementedError

    def fill(self, array: Any, value: float) -> None:
        """Writes one value into every element of what `empty` made."""
        array[...] = value

    def finish(self, array: Any, like: Any) -> Any:
        """What `empty` made, now filled -> an array of the kind of `like`."""
        return array

    def on_stream(self, stream: Any, device: Device) -> ContextManager[int]:
        """A context in which the library allocates and works on `stream`, None for its current one; its address."""
        return contextlib.nullcontext(0)

    def device_bytes(self, nbytes: int, device: Device) -> Tuple[Any, int]:
        """New memory of a GPU, 256-byte aligned: its owner and address."""
        raise NotImplementedError

    def to_device(self, memory: Any, data: memoryview) -> None:
        """Copies bytes into what device_bytes made, and waits."""
        raise NotImplementedError

    def to_host(self, memory: Any) -> bytes:
        """The bytes of what device_bytes made, when everything before is done."""
        raise NotImplementedError
