# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A package -> a layer that is called like a function: load, Layer, Weights."""

from __future__ import annotations

import ctypes
import os
import weakref
from ctypes import byref, c_char_p, c_int32, c_int64, c_size_t, c_void_p
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from . import _errors, _native
from ._arrays import CPU, Device, kind_of
from ._memory import Memory
from ._native import check, lib
from ._package import Library, Package, Path

_OUTPUTS = {
    "logits": "float32",
    "ids": "int32",
    "weights": "float32",
    "counts": "int32",
    "probabilities": "float32",
    "choice_counts": "int32",
    "losses": "float32",
    "logit_mean": "float32",
    "logit_max": "float32",
    "diversity": "float32",
    "dropped_tokens": "int32",
}


class _Call:
    """The arguments and the workspace of one call at a time."""

    __slots__ = ("args", "pointer", "memory", "tokens", "bytes")

    def __init__(self) -> None:
        self.args = _native.ForwardArgs(struct_size=ctypes.sizeof(_native.ForwardArgs))
        self.pointer = byref(self.args)
        self.memory: Optional[Memory] = None
        self.tokens = -1
        self.bytes = 0


def _destroy(function: Any, box: c_void_p, *keeps: object) -> None:
    pointer, box.value = box.value, None
    function(c_void_p(pointer))


class _Handle:
    """A moec_layer. Its users, the layer and its weights, hold it; it holds what the layer needs."""

    def __init__(self, library: Library, options: _native.LayerOptions, keeps: object) -> None:
        self.box = c_void_p()
        check(lib.moec_layer_create(library.package, byref(options), byref(self.box)))
        finalizer = weakref.finalize(self, _destroy, lib.moec_layer_destroy, self.box, library, keeps)
        finalizer.atexit = False


class Weights:
    """Packed weights of a layer. Keeps the layer and the memory that it needs."""

    def __init__(self, handle: _Handle, memory: Memory, box: c_void_p) -> None:
        self._box = box
        self._memory = memory
        finalizer = weakref.finalize(self, _destroy, lib.moec_weights_destroy, box, handle, memory)
        finalizer.atexit = False

    @property
    def nbytes(self) -> int:
        return self._memory.nbytes


class Layer:
    def __init__(self, source: Package, library: Library, handle: _Handle) -> None:
        self._handle = handle
        self._box = handle.box
        self.package = source
        info = _native.LayerInfo(struct_size=ctypes.sizeof(_native.LayerInfo))
        check(lib.moec_layer_get_info(self._box, byref(info)))
        self.name: str = info.name.decode()
        self.hidden: int = info.hidden
        self.num_experts: int = info.num_experts
        self.top_k: int = info.top_k
        self.max_tokens: int = info.max_tokens
        self.x_dtype = _native.DTYPES[info.x_dtype]
        self.y_dtype = _native.DTYPES[info.y_dtype]
        self._num = {"logits": info.num_logits, "choice_counts": info.num_choice_counts, "losses": info.num_losses}
        self._device: Device = CPU
        self._calls: List[_Call] = []
        self.roles = self._read_roles(info.num_roles)

    def _read_roles(self, count: int) -> Dict[str, Tuple[int, ...]]:
        roles: Dict[str, Tuple[int, ...]] = {}
        for index in range(count):
            name, rank, dims = c_char_p(), c_int32(), (c_int64 * 4)()
            check(lib.moec_layer_role(self._box, index, byref(name), byref(rank), byref(dims)))
            roles[(name.value or b"").decode()] = tuple(dims[: rank.value])
        return roles

    @property
    def weights_nbytes(self) -> int:
        count = c_size_t()
        check(lib.moec_layer_weights_bytes(self._box, byref(count)))
        return count.value

    def load(self, path: Path, prefix: str = "", adapters: Sequence[Tuple[Path, str]] = ()) -> Weights:
        """Weights from a checkpoint; tensors of `adapters`, (path, prefix) each, replace those before them."""
        sources = (_native.WeightsSource * (1 + len(adapters)))()
        for source, (file, before) in zip(sources, [(path, prefix), *adapters]):
            source.path, source.prefix = os.fsencode(file), before.encode()
        memory = Memory(self.weights_nbytes)
        box = c_void_p()
        check(
            lib.moec_weights_load_sources(self._box, sources, len(sources), memory.address, memory.nbytes, byref(box))
        )
        return Weights(self._handle, memory, box)

    def pack(self, tensors: Mapping[str, Any], dtype: Optional[str] = None) -> Weights:
        """Weights from arrays, by role."""
        structs = (_native.Tensor * len(tensors))()
        keeps = []
        for struct, (role, array) in zip(structs, tensors.items()):
            kind = kind_of(array, role)
            array = kind.contiguous(array)
            keeps.append(array)
            element = kind.element(array, role, dtype)
            shape = tuple(array.shape)
            struct.role, struct.rank, struct.dtype = role.encode(), len(shape), _native.DTYPE_NUMBERS[element]
            struct.data = kind.address(array, role, element, CPU, dtype)
            struct.dims = (c_int64 * 4)(*shape)
        memory = Memory(self.weights_nbytes)
        box = c_void_p()
        check(lib.moec_weights_pack(self._box, structs, len(structs), memory.address, memory.nbytes, byref(box)))
        return Weights(self._handle, memory, box)

    def _shape(self, name: str, shape: Tuple[int, ...]) -> Tuple[int, ...]:
        if name in ("logits", "probabilities"):
            return (*shape[:-1], self._num["logits"])
        if name in ("ids", "weights"):
            return (*shape[:-1], self.top_k)
        if name == "counts":
            return (self.num_experts,)
        return (self._num.get(name, 1),)

    def _reserve(self, call: _Call, tokens: int) -> None:
        count = c_size_t()
        check(lib.moec_layer_workspace_bytes_call(self._box, call.pointer, byref(count)))
        if call.memory is None or count.value > call.memory.nbytes:
            call.memory = Memory(count.value)
            call.args.workspace = call.memory.address
            call.args.workspace_bytes = count.value
        call.tokens = tokens

    def __call__(
        self,
        x: Any,
        w: Weights,
        *,
        want: Union[str, Sequence[str]] = (),
        out: Any = None,
        dtype: Optional[str] = None,
        tokens_per_sequence: int = 0,
        **inputs: Any,
    ) -> Any:
        kind = kind_of(x, "x")
        shape = tuple(x.shape)
        if not shape or shape[-1] != self.hidden:
            raise _errors.error("MOEC_SHAPE", f"x has shape {shape}, expected [T, {self.hidden}]")
        tokens = 1
        for size in shape[:-1]:
            tokens *= size
        try:
            call = self._calls.pop()
        except IndexError:
            call = _Call()
        args = call.args
        args.num_tokens = tokens
        args.x = kind.address(x, "x", self.x_dtype, self._device, dtype)
        y = kind.empty(shape, self.y_dtype, x, dtype) if out is None else out
        args.y = kind.address(y, "out", self.y_dtype, self._device, dtype)
        args.tokens_per_sequence = tokens_per_sequence or (shape[-2] if len(shape) > 2 else 0)
        results = [y]
        names = (want,) if isinstance(want, str) else want
        for name in names:
            if name not in _OUTPUTS:
                raise _errors.error("MOEC_INVALID_ARGUMENT", f"unknown output {name!r}")
            array = kind.empty(self._shape(name, shape), _OUTPUTS[name], x, None)
            setattr(args, "out_" + name, kind.address(array, name, _OUTPUTS[name], self._device, None))
            results.append(array)
        for name, array in inputs.items():
            expected = (
                self.x_dtype
                if name == "residual"
                else ("float32" if name in ("noise", "uniform", "expert_weights", "priority") else "int32")
            )
            setattr(args, name, kind_of(array, name).address(array, name, expected, self._device, dtype))
        self._reserve(call, tokens)
        check(_native.forward(self._box, w._box, call.pointer))
        for name in names:
            setattr(args, "out_" + name, None)
        for name in inputs:
            setattr(args, name, None)
        self._calls.append(call)
        return y if not names else tuple(results)


def load(package: Union[Path, Package], *, threads: int = 1) -> Layer:
    """A package that `moec compile` wrote, or its shared library -> a layer on this machine."""
    source = package if isinstance(package, Package) else Package(package)
    library = Library(source)
    options = _native.LayerOptions(struct_size=ctypes.sizeof(_native.LayerOptions), max_threads=threads)
    return Layer(source, library, _Handle(library, options, None))
