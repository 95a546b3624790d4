# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A package with a backward pass, and the tensors of its parameters at each call -> results and gradients.

The tensors have the names, shapes and layout of the layer's checkpoint. They are packed when a call finds that one of
them is not what was packed last: another tensor, or written since.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from ctypes import byref, c_size_t, c_void_p
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import torch

from .. import _errors, _native
from .._backward import AnyMemory
from .._layer import Layer
from .._memory import Memory
from .._native import check, lib
from .._weights import DeviceMemory, Weights
from . import _ops

_ALIGN = 256  # bytes, of what a call saves and of its workspace
_NUMBERS = ("capacity", "top_k")  # inputs without a row per token


class Trainable:
    """names    of the tensors that the layer's parameters are stored in, in the order that calls take them
    inputs   what calls take besides x and parameters, in this order
    want     outputs that calls return besides y and losses
    """

    def __init__(
        self, kernels: _ops.Kernels, name: str, threads: Optional[int] = None, want: Sequence[str] = ()
    ) -> None:
        self.kernels, self.name, self._threads = kernels, name, threads
        layer = self.layer()
        layer._backward.check_trains()
        self.plan, self.roles, self.inputs = layer._plan, layer.roles, layer.inputs
        self.num_losses = layer._binder.lengths["losses"]
        self.want = layer._binder.names(want)
        self.shapes: Dict[str, Tuple[int, ...]] = {}
        self.trained: Dict[str, bool] = {}  # name -> whether it has a gradient
        for role, stored in zip(self.roles, self.plan.stored):
            for tensor in stored.names:
                self.shapes[tensor] = stored.shape
                self.trained[tensor] = self.trained.get(tensor, False) or role in layer.gradients
        self.names = tuple(self.shapes)
        self._position = {tensor: index for index, tensor in enumerate(self.names)}
        self._lock = threading.Lock()
        self._packed: Optional[Tuple[Weights, _Seen]] = None
        self._users: Dict[int, int] = {}  # id of weights -> calls that read them

    def layer(self) -> Layer:
        return self.kernels.layer(self._threads or torch.get_num_threads())

    # ---- parameters -------------------------------------------------------------------------------------------------

    def check(self, tensors: Dict[str, torch.Tensor]) -> None:
        """A sentence if a tensor is missing or of another size."""
        for name, shape in self.shapes.items():
            if name not in tensors:
                raise _errors.error("MOEC_MISSING_WEIGHT", f"{self.name} has no tensor {name}")
            size = 1
            for length in shape:
                size *= length
            found = tensors[name]
            if found.numel() != size:
                text = f"{name} has shape {tuple(found.shape)}, expected {shape}"
                raise _errors.error("MOEC_SHAPE", text)

    def _views(self, index: int, tensors: Sequence[torch.Tensor]) -> List[torch.Tensor]:
        """What role `index` is in the tensors, one part for each of its names."""
        stored, views = self.plan.stored[index], []
        for name in stored.names:
            tensor = tensors[self._position[name]]
            views.append(torch.as_strided(tensor, stored.dims, stored.strides, tensor.storage_offset() + stored.first))
        return views

    def _pack(self, tensors: Sequence[torch.Tensor], reuse: Optional[Weights]) -> Weights:
        flat = [tensor.detach().contiguous() for tensor in tensors]
        given: Dict[str, Any] = {}
        for index, (role, shape) in enumerate(self.roles.items()):
            views = self._views(index, flat)
            whole = len(views) == 1 and views[0].shape == shape
            if not whole:
                given[role] = views
            elif not views[0].is_contiguous() and views[0].dim() > 1 and views[0][0].is_contiguous():
                given[role] = list(views[0].unbind(0)) if len(shape) == 3 else views[0]
            else:
                given[role] = views[0]
        return self.layer().pack(given, reuse=reuse)

    @contextlib.contextmanager
    def _weights(self, tensors: Sequence[torch.Tensor]) -> Iterator[Weights]:
        """The packed tensors. Their memory is written again only when no other call reads it."""
        with self._lock:
            if self._packed is None or not self._packed[1].same(tensors):
                old = self._packed[0] if self._packed is not None else None
                self._packed = None
                free = old if old is not None and not self._users.get(id(old)) else None
                self._packed = (self._pack(tensors, free), _Seen(tensors))
            weights = self._packed[0]
            self._users[id(weights)] = self._users.get(id(weights), 0) + 1
        try:
            yield weights
        finally:
            with self._lock:
                self._users[id(weights)] -= 1
                if not self._users[id(weights)]:
                    del self._users[id(weights)]

    # ---- calls ------------------------------------------------------------------------------------------------------

    def _chunks(self, tokens: int, sequence: int) -> List[Tuple[int, int]]:
        """Parts of at most max_tokens tokens, whole sequences each."""
        layer = self.layer()
        step = layer.max_tokens
        if sequence:
            step -= step % sequence
        if tokens <= layer.max_tokens or step == 0:
            return [(0, tokens)]
        if self.num_losses or self.want:
            text = (
                f"{self.name} is called with {tokens} tokens, and was compiled for {layer.max_tokens}; its losses and "
                "reports are of all tokens together: compile it with a larger max_tokens"
            )
            raise _errors.error("MOEC_TOKENS_OUT_OF_RANGE", text)
        return [(begin, min(begin + step, tokens)) for begin in range(0, tokens, step)]

    def saved_size(self, tokens: Any, sequence: int, max_tokens: int) -> Any:
        """Bytes of the tensor that a call of so many tokens saves: at least what the runtime needs. `tokens` may be a
        symbol of torch.compile."""
        per_token, per_sequence, fixed = self.plan.saved
        step = max_tokens - max_tokens % sequence if sequence else max_tokens
        chunks = (tokens + step - 1) // step + 1 if step else 1
        sequences = tokens // sequence + 1 if sequence else chunks
        return tokens * per_token + sequences * per_sequence + chunks * fixed + _ALIGN + 1

    def _rows_of(self, name: str, part: Tuple[int, int], sequence: int) -> Tuple[int, int]:
        """The rows of an input that a part of the tokens reads."""
        if name not in self.plan.slots:
            return part
        fixed, per_sequence, _ = self.plan.slots[name]
        first, last = (end // sequence if sequence else index for index, end in enumerate(part))
        return per_sequence * first, per_sequence * last + fixed

    def _fill_inputs(
        self, args: Any, x: torch.Tensor, inputs: Sequence[torch.Tensor], part: Tuple[int, int], sequence: int
    ) -> List[torch.Tensor]:
        """Sets x, the inputs and numbers of tokens of one part; returns what must live until the call."""
        begin, end = part
        keeps = [_ops._rows(x[begin:end])]
        args.num_tokens, args.tokens_per_sequence = end - begin, sequence
        args.x = keeps[0].data_ptr()
        for name, value in zip(self.inputs, inputs):
            keeps.append(_ops._rows(value if name in _NUMBERS else value[slice(*self._rows_of(name, part, sequence))]))
            setattr(args, name, keeps[-1].data_ptr())
        if x.device.type != "cpu":
            args.stream = torch.cuda.current_stream(x.device).cuda_stream
        return keeps

    def forward(
        self,
        x: torch.Tensor,
        tensors: Sequence[torch.Tensor],
        inputs: Sequence[torch.Tensor],
        sequence: int,
        save: bool,
    ) -> List[torch.Tensor]:
        """[y, losses, saved, *want]; `saved` has no elements without `save`, losses none if the spec has none."""
        layer, kind = self.layer(), _kind()
        y = torch.empty_like(x, dtype=kind.types[layer.y_dtype], memory_format=torch.contiguous_format)
        losses = x.new_empty(self.num_losses, dtype=torch.float32)
        size = self.saved_size(x.shape[0], sequence, layer.max_tokens) if save else 0
        saved = x.new_empty(size, dtype=torch.uint8)
        reports = [self.report(name, x) for name in self.want]
        space = _Saved(saved, written=True) if save else None
        with self._weights(tensors) as weights:
            for part in self._chunks(x.shape[0], sequence):
                args = _native.ForwardArgs(struct_size=ctypes.sizeof(_native.ForwardArgs))
                keeps = self._fill_inputs(args, x, inputs, part, sequence)
                args.y = y[part[0] :].data_ptr()
                if self.num_losses:
                    args.out_losses = losses.data_ptr()
                for name, report in zip(self.want, reports):
                    setattr(args, "out_" + name, report.data_ptr())
                if space is not None:
                    args.saved_bytes = layer._backward.saved_nbytes(args.num_tokens, sequence)
                    args.saved = space.take(args.saved_bytes)
                needed = c_size_t()
                check(lib.moec_layer_workspace_bytes_call(layer._box, byref(args), byref(needed)))
                with _workspace(layer, needed.value) as memory:
                    args.workspace, args.workspace_bytes = memory.address, needed.value
                    check(_native.forward(layer._box, weights._box, byref(args)))
                del keeps
        if not x.shape[0]:
            losses.fill_(float("nan"))
            for report in reports:
                report.fill_(float("nan") if report.is_floating_point() else 0)
        return [y, losses, saved, *reports]

    def report(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """A new tensor for output `name`."""
        from .._call import _INT_OUTPUTS

        binder = self.layer()._binder
        columns = binder.columns[name]
        shape = (x.shape[0], columns) if columns else (binder.lengths.get(name, 1),)
        return x.new_empty(shape, dtype=torch.int32 if name in _INT_OUTPUTS else torch.float32)

    def backward(
        self,
        grad_y: torch.Tensor,
        grad_losses: torch.Tensor,
        x: torch.Tensor,
        tensors: Sequence[torch.Tensor],
        inputs: Sequence[torch.Tensor],
        saved: torch.Tensor,
        sequence: int,
        wanted: Sequence[bool],
    ) -> List[torch.Tensor]:
        """The gradients of those of x, tensors and inputs that are wanted, in this order."""
        layer = self.layer()
        leaves = [x, *tensors, *inputs]
        roles = _RoleGradients(self, tensors, [bool(flag) for flag in wanted[1 : 1 + len(tensors)]])
        rows: Dict[str, torch.Tensor] = {}
        for index, name in ((0, "x"), *enumerate(self.inputs, 1 + len(tensors))):
            if wanted[index]:
                rows[name] = torch.empty_like(leaves[index], memory_format=torch.contiguous_format)
        space = _Saved(saved, written=False)
        coefficients = _ops._rows(grad_losses) if self.num_losses else None
        with self._weights(tensors) as weights:
            for number, part in enumerate(self._chunks(x.shape[0], sequence)):
                args = _native.BackwardArgs(struct_size=ctypes.sizeof(_native.BackwardArgs))
                keeps = self._fill_inputs(args, x, inputs, part, sequence)
                keeps.append(_ops._rows(grad_y[part[0] : part[1]]))
                args.grad_y = keeps[-1].data_ptr()
                if coefficients is not None:
                    args.grad_losses = coefficients.data_ptr()
                args.saved_bytes = layer._backward.saved_nbytes(args.num_tokens, sequence)
                args.saved = space.take(args.saved_bytes)
                for name, gradient in rows.items():
                    setattr(args, "grad_" + name, gradient[part[0] :].data_ptr())
                args.grad_parameters, args.grad_dtype = roles.pointers, roles.dtype
                args.accumulate = int(number > 0)
                needed = layer._backward.workspace_nbytes(args.num_tokens, sequence)
                with _workspace(layer, needed) as memory:
                    args.workspace, args.workspace_bytes = memory.address, needed
                    check(_native.backward(layer._box, weights._box, byref(args)))
                del keeps
        own = roles.finished()
        result = [rows["x"]] if wanted[0] else []
        result += [own[name] for name in self.names if name in own]
        return result + [rows[name] for name in self.inputs if name in rows]


class _RoleGradients:
    """Buffers of the roles' gradients -> gradients of the tensors that are wanted. A role that is a whole tensor is
    written in its place; parts of tensors are copied into theirs."""

    def __init__(self, trainable: Trainable, tensors: Sequence[torch.Tensor], wanted: Sequence[bool]) -> None:
        self._trainable, self._tensors = trainable, tensors
        self._wanted = {name for name, flag in zip(trainable.names, wanted) if flag}
        layer = trainable.layer()
        types, plan = layer._backward.weight_dtype, trainable.plan
        asked = [
            (index, role)
            for index, role in enumerate(trainable.roles)
            if role in layer.gradients and self._wanted.intersection(plan.stored[index].names)
        ]
        short = _kind().types[types]
        positions = {name: position for position, name in enumerate(trainable.names)}
        named = [name for index, _ in asked if plan.matrices[index] for name in plan.stored[index].names]
        matrices = [tensors[positions[name]].dtype for name in named]
        matrix = short if all(dtype is short for dtype in matrices) else torch.float32
        self.dtype = _native.DTYPE_NUMBERS[str(matrix).partition(".")[2]]
        self.pointers = (c_void_p * max(len(trainable.roles), 1))()
        self._buffers: Dict[int, torch.Tensor] = {}
        for index, role in asked:
            dtype = matrix if plan.matrices[index] else torch.float32
            self._buffers[index] = tensors[0].new_empty(trainable.roles[role], dtype=dtype)
            self.pointers[index] = self._buffers[index].data_ptr()

    def finished(self) -> Dict[str, torch.Tensor]:
        found: Dict[str, torch.Tensor] = {}
        plan, names = self._trainable.plan, self._trainable.names
        tensors = dict(zip(names, self._tensors))
        covered = dict.fromkeys(self._wanted, 0)  # elements that roles give, counted for each
        for index, buffer in self._buffers.items():
            for name in self._wanted.intersection(plan.stored[index].names):
                covered[name] += buffer.numel() // len(plan.stored[index].names)
        for index, buffer in self._buffers.items():
            stored = plan.stored[index]
            parts = [buffer] if stored.dims == buffer.shape else list(buffer.unbind(0))
            for name, part in zip(stored.names, parts):
                if name not in self._wanted:
                    continue
                tensor = tensors[name]
                size = tensor.numel()
                if covered[name] == part.numel() == size and _without_gaps(stored):
                    found[name] = part.view(tensor.shape).to(tensor.dtype)
                    continue
                if name not in found:
                    make = torch.empty if covered[name] == size else torch.zeros
                    found[name] = make(tensor.shape, dtype=tensor.dtype, device=tensor.device)
                place = torch.as_strided(found[name], stored.dims, stored.strides, stored.first)
                if covered[name] > size:  # roles that are the same elements: adapters of gate and up with one A
                    place.add_(part)
                else:
                    place.copy_(part)
        return found


def _without_gaps(stored: Any) -> bool:
    step = 1
    for length, stride in zip(reversed(stored.dims), reversed(stored.strides)):
        if length != 1 and stride != step:
            return False
        step *= length
    return True


class _Seen:
    """Tensors as they were when they were packed. Their memory is kept, so that no other tensor can have its address.

    torch counts what it writes into a tensor, except through `tensor.data`. Therefore values are compared too: all of
    them if they are few, otherwise some of each tensor, as _ops.Watch does.
    """

    _FEW = 1 << 20  # bytes of all tensors together: 0.1 ms
    _PLACES = 4

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        self._keeps = [tensor.detach() for tensor in tensors]
        self._facts = [(tensor.data_ptr(), _ops._version(tensor)) for tensor in tensors]
        self._copies: List[torch.Tensor] = []
        self._words: List[Tuple[ctypes.c_uint16, int]] = []
        if sum(tensor.numel() * tensor.element_size() for tensor in tensors) <= self._FEW:
            self._copies = [tensor.clone() for tensor in self._keeps if tensor.is_cpu]
        else:
            self._words = [(w, w.value) for tensor in tensors for w in _ops._some_words(tensor, self._PLACES)]

    def same(self, tensors: Sequence[torch.Tensor]) -> bool:
        for tensor, (address, version) in zip(tensors, self._facts):
            if tensor.data_ptr() != address or _ops._version(tensor) != version:
                return False
        if any(not torch.equal(tensor, copy) for tensor, copy in zip(self._keeps, self._copies)):
            return False
        return all(word.value == value for word, value in self._words)


class _Saved:
    """Aligned places in the tensor that a call saved. On the CPU its last byte says where they begin: memory that was
    moved meanwhile, by hooks on saved tensors, begins at another address."""

    def __init__(self, tensor: torch.Tensor, written: bool) -> None:
        offset = -tensor.data_ptr() % _ALIGN
        if tensor.is_cpu:
            last = ctypes.c_uint8.from_address(tensor.data_ptr() + tensor.numel() - 1)
            if written:
                last.value = offset
            elif last.value != offset:
                moved = torch.empty(tensor.numel() + _ALIGN, dtype=torch.uint8)
                offset = -moved.data_ptr() % _ALIGN
                moved[offset : offset + tensor.numel() - last.value].copy_(tensor[last.value :])
                tensor = moved
        elif offset:
            tensor = tensor.clone()
            offset = 0
        self._tensor, self._next = tensor, offset

    def take(self, nbytes: int) -> int:
        at = self._next
        self._next += nbytes + -nbytes % _ALIGN
        assert at + nbytes <= self._tensor.numel()
        return self._tensor.data_ptr() + at


def _kind() -> Any:
    from .._arrays import memory_kind

    return memory_kind("torch")


@contextlib.contextmanager
def _workspace(layer: Layer, nbytes: int) -> Iterator[AnyMemory]:
    if layer.device != "cpu":
        yield DeviceMemory(_kind(), nbytes, layer._device)
        return
    memory: Memory = layer._backward.memory.take(nbytes)
    try:
        yield memory
    finally:
        layer._backward.memory.free.append(memory)
