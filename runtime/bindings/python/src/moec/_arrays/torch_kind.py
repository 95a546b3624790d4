# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""torch.Tensor on the CPU and on CUDA devices."""

from __future__ import annotations

import contextlib
from typing import Any, ContextManager, Dict, Iterator, Optional, Tuple

from .. import _errors
from .kind import CPU, Device, Kind, with_gaps, wrong_device, wrong_dtype

_NAMES = ("float32", "bfloat16", "float16", "int32", "int64", "float64", "uint8")


class TorchKind(Kind):
    def __init__(self) -> None:
        import torch

        self.torch = torch
        self.types: Dict[str, Any] = {name: getattr(torch, name) for name in _NAMES}
        self.names: Dict[Any, str] = {dtype: name for name, dtype in self.types.items()}
        self.bits = getattr(torch, "uint16", None)

    def device(self, array: Any) -> Device:
        return CPU if array.is_cpu else (array.device.type, array.device.index or 0)

    def element(self, array: Any, name: str, stated: Optional[str]) -> str:
        found = self.names.get(array.dtype)
        if found is None and stated is not None and array.dtype is self.bits:
            return stated
        if found is None:
            bits = '; state what the bits mean: dtype="bfloat16"'
            hint = bits if array.dtype is self.bits else f"; pass {self.conversion(name, 'float32')}"
            raise wrong_dtype(name, array.dtype, "float32, bfloat16, float16, int32 or int64", hint)
        return found

    def conversion(self, name: str, dtype: str) -> str:
        return f"{name}.to(torch.{dtype})"

    def check_readable(self, array: Any, name: str) -> None:
        if array.is_nested:
            raise _errors.error("MOEC_STRIDE", f"{name} is a nested tensor, expected one of torch.strided")
        if array.layout is not self.torch.strided:
            text = f"{name} has the layout {array.layout}, expected torch.strided; pass {name}.to_dense()"
            raise _errors.error("MOEC_STRIDE", text)

    def address(self, array: Any, name: str, dtype: str, device: Device, stated: Optional[str]) -> int:
        if array.dtype is not self.types[dtype] and not (stated == dtype and array.dtype is self.bits):
            unstated = array.dtype is self.bits and stated is None and dtype in ("bfloat16", "float16")
            hint = f'state what the bits mean: dtype="{dtype}"' if unstated else f"pass {self.conversion(name, dtype)}"
            raise wrong_dtype(name, array.dtype, f"torch.{dtype}", f"; {hint}")
        if not array.is_cpu or device is not CPU:
            found = self.device(array)
            if found != device:
                raise wrong_device(name, found, device)
        if array.requires_grad and self.torch.is_grad_enabled():
            text = (
                f"{name} requires gradients, a layer has none; call it under torch.no_grad(), or pass {name}.detach()"
            )
            raise _errors.error("MOEC_INVALID_ARGUMENT", text)
        if array.layout is not self.torch.strided:
            self.check_readable(array, name)
        if array.is_neg():
            text = f"{name} is a view with the opposite sign of its memory; pass {name}.resolve_neg()"
            raise _errors.error("MOEC_STRIDE", text)
        if not array.is_contiguous():
            raise with_gaps(name, array.stride(), "elements", f"{name}.contiguous()")
        try:
            address: int = array.data_ptr()
        except RuntimeError as reason:
            raise _errors.error("MOEC_INVALID_ARGUMENT", f"{name} has no memory of its own: {reason}") from None
        return address

    def contiguous(self, array: Any) -> Any:
        return array.detach().resolve_neg().contiguous()

    def empty(self, shape: Tuple[int, ...], dtype: str, like: Any, stated: Optional[str]) -> Any:
        if stated == dtype and like.dtype is self.bits:
            return like.new_empty(shape)
        return self.torch.empty(shape, dtype=self.types[dtype], device=like.device)

    def made_at(self, array: Any) -> int:
        address: int = array.data_ptr()
        return address

    def fill(self, array: Any, value: float) -> None:
        array.fill_(value)

    def on_stream(self, stream: Any, device: Device) -> ContextManager[int]:
        return self._on_stream(stream, device) if device is not CPU else contextlib.nullcontext(0)

    @contextlib.contextmanager
    def _on_stream(self, stream: Any, device: Device) -> Iterator[int]:
        cuda = self.torch.cuda
        with cuda.device(device[1]):
            if stream is None:
                yield cuda.current_stream().cuda_stream
                return
            if not isinstance(stream, cuda.Stream):
                stream = cuda.ExternalStream(stream)
            with cuda.stream(stream):
                yield stream.cuda_stream

    def device_bytes(self, nbytes: int, device: Device) -> Tuple[Any, int]:
        memory = self.torch.empty(nbytes, dtype=self.torch.uint8, device=f"{device[0]}:{device[1]}")
        return memory, memory.data_ptr()

    def to_device(self, memory: Any, data: memoryview) -> None:
        memory.copy_(self.torch.frombuffer(bytearray(data), dtype=self.torch.uint8))

    def to_host(self, memory: Any) -> bytes:
        result: bytes = memory.cpu().numpy().tobytes()
        return result
