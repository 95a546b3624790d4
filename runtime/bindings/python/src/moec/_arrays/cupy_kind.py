# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""cupy.ndarray, on CUDA devices."""

from __future__ import annotations

import contextlib
from typing import Any, ContextManager, Iterator, Optional, Tuple

from .kind import CPU, Device, with_gaps, wrong_device
from .numpy_kind import NumpyKind


class CupyKind(NumpyKind):
    def __init__(self) -> None:
        super().__init__()
        import cupy

        self.cupy = cupy
        self.bfloat16()

    def device(self, array: Any) -> Device:
        return ("cuda", array.device.id)

    def address(self, array: Any, name: str, dtype: str, device: Device, stated: Optional[str]) -> int:
        if array.dtype != self.types.get(dtype):
            self._check_type(array, name, dtype, stated)
        found = self.device(array)
        if found != device:
            raise wrong_device(name, found, device)
        if not array.flags.c_contiguous:
            raise with_gaps(name, array.strides, "bytes", f"cupy.ascontiguousarray({name})")
        address: int = array.data.ptr
        return address

    def check_writable(self, array: Any, name: str) -> None:
        """Every array of CuPy may be written."""

    def contiguous(self, array: Any) -> Any:
        return self.cupy.ascontiguousarray(array)

    def empty(self, shape: Tuple[int, ...], dtype: str, like: Any, stated: Optional[str]) -> Any:
        element = self.bits if stated == dtype and like.dtype == self.bits else self.types[dtype]
        return self.cupy.empty(shape, element)

    def made_at(self, array: Any) -> int:
        address: int = array.data.ptr
        return address

    def on_stream(self, stream: Any, device: Device) -> ContextManager[int]:
        return self._on_stream(stream, device) if device is not CPU else contextlib.nullcontext(0)

    @contextlib.contextmanager
    def _on_stream(self, stream: Any, device: Device) -> Iterator[int]:
        cuda = self.cupy.cuda
        with cuda.Device(device[1]):
            if stream is None:
                yield cuda.get_current_stream().ptr
                return
            if not isinstance(stream, (cuda.Stream, cuda.ExternalStream)):
                stream = cuda.ExternalStream(stream)
            with stream:
                yield stream.ptr

    def device_bytes(self, nbytes: int, device: Device) -> Tuple[Any, int]:
        with self.cupy.cuda.Device(device[1]):
            memory = self.cupy.empty(nbytes, self.types["uint8"])
        return memory, memory.data.ptr

    def to_device(self, memory: Any, data: memoryview) -> None:
        memory.set(self.np.frombuffer(data, self.types["uint8"]))

    def to_host(self, memory: Any) -> bytes:
        result: bytes = memory.get().tobytes()
        return result
