# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""jax.Array outside of jit, on the CPU. Results are made by NumPy and become arrays of JAX without a copy where it
allows that. Under jit, and on a GPU, a layer is called through its package's own calls (runtime/bindings/README.md)."""

from __future__ import annotations

from typing import Any, Optional, Tuple

from .. import _errors
from .kind import CPU, Device, wrong_device
from .numpy_kind import NumpyKind

_ALIGN = 64  # bytes: JAX adopts memory of NumPy that is aligned so


class JaxKind(NumpyKind):
    def __init__(self) -> None:
        super().__init__()
        import jax

        self.jax = jax
        self.bfloat16()

    def device(self, array: Any) -> Device:
        (device,) = array.devices()
        return CPU if device.platform == "cpu" else ("cuda" if device.platform == "gpu" else device.platform, device.id)

    def address(self, array: Any, name: str, dtype: str, device: Device, stated: Optional[str]) -> int:
        self.check_readable(array, name)
        found = self.device(array)
        if found != CPU or device is not CPU:
            raise wrong_device(name, found, CPU)
        if array.dtype != self.types.get(dtype):
            self._check_type(array, name, dtype, stated)
        address: int = array.block_until_ready().unsafe_buffer_pointer()
        return address

    def check_readable(self, array: Any, name: str) -> None:
        if isinstance(array, self.jax.core.Tracer):
            text = (
                f"{name} is traced by jax.jit, jax.vmap or jax.grad, and has no values; moec.Layer is called outside "
                "of them and has no gradient. runtime/bindings/jax.md has the way under jax.jit"
            )
            raise _errors.error("MOEC_INVALID_ARGUMENT", text)
        if array.is_deleted():
            raise _errors.error("MOEC_INVALID_ARGUMENT", f"{name} was deleted, or donated to a function of jax.jit")
        if len(array.devices()) != 1:
            hint = f"; pass jax.device_put({name}, jax.devices()[0])"
            raise _errors.error("MOEC_INVALID_ARGUMENT", f"{name} is on several devices, expected one{hint}")

    def check_writable(self, array: Any, name: str) -> None:
        raise _errors.error("MOEC_INVALID_ARGUMENT", f"{name} is an array of JAX, which cannot be written")

    def contiguous(self, array: Any) -> Any:
        return array

    def empty(self, shape: Tuple[int, ...], dtype: str, like: Any, stated: Optional[str]) -> Any:
        element = self.bits if stated == dtype and like.dtype == self.bits else self.types[dtype]
        nbytes = element.itemsize
        for size in shape:
            nbytes *= size
        memory = self.np.empty(nbytes + _ALIGN, self.types["uint8"])
        start = -memory.__array_interface__["data"][0] % _ALIGN
        return memory[start : start + nbytes].view(element).reshape(shape)

    def finish(self, array: Any, like: Any) -> Any:
        (device,) = like.devices()
        return self.jax.device_put(array, device)
