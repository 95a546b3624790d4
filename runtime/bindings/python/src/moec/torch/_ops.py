# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Packed layers as an operator of torch: moec::layer(x, handle, tokens_per_sequence) -> y.

A handle is an integer, so that torch.compile sees a call of one operator and not the Python around it. The operator has
no gradient: autograd refuses to go through it, in words.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from typing import Any, Dict, List, Optional, Tuple

import torch

from .. import _errors
from .._layer import Layer
from .._load import load
from .._package import Package
from .._pool import Pool
from .._weights import Weights

_ALIGNMENT = 16  # bytes, of the rows that the runtime reads

_pools: Dict[int, Pool] = {}


def _pool(threads: int) -> Pool:
    """The pool of this many threads, one for all layers."""
    found = _pools.get(threads)
    return found if found is not None else _pools.setdefault(threads, Pool(threads))


class Kernels:
    """A package -> its layer on a device, for as many threads as torch uses."""

    def __init__(self, package: Package, device: torch.device):
        self.package = package
        self.device = device
        self._layers: Dict[int, Layer] = {}
        self._lock = threading.Lock()

    def layer(self, threads: int) -> Layer:
        if self.device.type != "cpu":
            threads = 0  # one layer: the device's own
        found = self._layers.get(threads)
        if found is None:
            with self._lock:
                found = self._layers.get(threads)
                if found is None:
                    pool = _pool(threads) if threads else None
                    found = self._layers[threads] = load(self.package, device=self.device, pool=pool)
        return found


class Watch:
    """Notices that tensors are no longer those that were packed: replaced, moved, converted or written.

    torch counts what it writes into a tensor, except through `tensor.data`. Therefore some places of each tensor on the
    CPU are compared too, which finds changes of whole tensors (a merged adapter, a rescaling). A change of a few
    experts or rows through `.data` may be missed.
    """

    _PLACES = 16

    def __init__(self, module: torch.nn.Module):
        self._seen: List[Tuple[Dict[str, Any], str, int, Optional[int]]] = []
        self._words: List[Tuple[ctypes.c_uint16, int]] = []
        for part in module.modules():
            for table in (part._parameters, part._buffers):
                for key, tensor in table.items():
                    if tensor is not None:
                        self._seen.append((table, key, tensor.data_ptr(), _version(tensor)))
                        self._words += [(word, word.value) for word in _some_words(tensor, self._PLACES)]

    def changed(self) -> bool:
        for table, key, address, version in self._seen:
            tensor = table.get(key)
            if tensor is None or tensor.data_ptr() != address or _version(tensor) != version:
                return True
        # Only now, when the tensors are known to be where they were.
        for word, value in self._words:
            if word.value != value:
                return True
        return False


def _some_words(tensor: torch.Tensor, count: int) -> List[ctypes.c_uint16]:
    """Up to `count` pairs of bytes spread over a tensor's memory: views, not copies."""
    size = tensor.numel() * tensor.element_size() // 2
    if tensor.device.type != "cpu" or not tensor.is_contiguous() or size == 0:
        return []
    # The upper half of a 32-bit element changes with its value; the lower half may be zero in both.
    step = max(1, tensor.element_size() // 2)
    elements = size // step
    places = _places(elements, count)
    return [ctypes.c_uint16.from_address(tensor.data_ptr() + 2 * (place * step + step - 1)) for place in places]


def _places(elements: int, count: int) -> List[int]:
    """One place in each of `count` parts of a tensor, at another distance from its beginning in every part, so that the
    places do not fall together with the rows or experts of the tensor."""
    begins = [elements * part // count for part in range(count + 1)]
    distances = [(part + 1) * 0x9E3779B1 % 2**32 for part in range(count)]
    parts = zip(begins, begins[1:], distances)
    return [begin + distance * (end - begin) // 2**32 for begin, end, distance in parts if begin < end]


def _version(tensor: torch.Tensor) -> Optional[int]:
    return None if tensor.is_inference() else tensor._version


class Call:
    """A layer with its weights, ready to be called by its handle."""

    def __init__(
        self,
        kernels: Kernels,
        weights: Weights,
        name: str,
        threads: Optional[int] = None,
        watch: Optional[Watch] = None,
    ):
        self.kernels = kernels
        self.weights = weights
        self.name = name
        self.watch = watch
        self.released = False
        self._threads = threads

    def __call__(self, x: torch.Tensor, tokens_per_sequence: int = 0) -> torch.Tensor:
        """[T, H] -> [T, H]."""
        if self.watch is not None and self.watch.changed():
            hint = "call moec.torch.accelerate(model) again, or moec.torch.restore(model)"
            if self.released:
                hint = "their originals were released: load the model again"
            raise _errors.MoecError(f"the weights of {self.name} changed after they were packed; {hint}")
        layer = self.kernels.layer(self._threads or torch.get_num_threads())
        x = _rows(x)
        step = layer.max_tokens
        if tokens_per_sequence:
            step -= step % tokens_per_sequence
        sequence = tokens_per_sequence or None
        if x.shape[0] <= layer.max_tokens or step == 0:
            return layer(x, self.weights, tokens_per_sequence=sequence)
        parts = (_rows(x[begin : begin + step]) for begin in range(0, x.shape[0], step))
        return torch.cat([layer(part, self.weights, tokens_per_sequence=sequence) for part in parts])


def _rows(x: torch.Tensor) -> torch.Tensor:
    """The same rows as the runtime reads them: without gaps, from an aligned address."""
    x = x.detach().resolve_neg().contiguous()
    return x.clone() if x.data_ptr() % _ALIGNMENT else x


_calls: Dict[int, Call] = {}
_numbers = itertools.count(1)


def register(call: Call) -> int:
    """A handle for moec::layer, valid until `release`."""
    handle = next(_numbers)
    _calls[handle] = call
    return handle


def release(handle: Optional[int]) -> None:
    _calls.pop(handle, None)  # type: ignore[arg-type]


def call_of(handle: int) -> Call:
    try:
        return _calls[handle]
    except KeyError:
        raise _errors.MoecError(
            f"the layer behind handle {handle} was given back: a graph that was traced before moec.torch.restore "
            "must be compiled again"
        ) from None


# torch.library.custom_op would do, but adds 80 us to every call.
_library = torch.library.Library("moec", "DEF")
_library.define("layer(Tensor x, int handle, int tokens_per_sequence) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))


def _run(x: torch.Tensor, handle: int, tokens_per_sequence: int) -> torch.Tensor:
    """y [T, H] = the layer of `handle` for x [T, H]."""
    return call_of(handle)(x, tokens_per_sequence)


def _shape(x: torch.Tensor, handle: int, tokens_per_sequence: int) -> torch.Tensor:
    """y without its values, for tracing."""
    return torch.empty_like(x, memory_format=torch.contiguous_format)


class _NoGradient(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: torch.Tensor, handle: int, tokens_per_sequence: int) -> torch.Tensor:
        with torch._C._AutoDispatchBelowAutograd():
            return torch.ops.moec.layer(x, handle, tokens_per_sequence)

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Any:
        raise RuntimeError("moec::layer has no gradient; call it under torch.no_grad(), or train the model's own block")


def _below_autograd(x: torch.Tensor, handle: int, tokens_per_sequence: int) -> torch.Tensor:
    if x.requires_grad and torch.is_grad_enabled():
        return _NoGradient.apply(x, handle, tokens_per_sequence)
    with torch._C._AutoDispatchBelowAutograd():
        return torch.ops.moec.layer(x, handle, tokens_per_sequence)


_library.impl("layer", _run, "CPU")
_library.impl("layer", _run, "CUDA")
_library.impl("layer", _below_autograd, "Autograd")
torch.library.register_fake("moec::layer", _shape, lib=_library)
