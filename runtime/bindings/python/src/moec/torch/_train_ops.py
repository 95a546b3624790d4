# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Layers that train, as operators of torch:

    moec::train(x, tensors, inputs, handle, tokens_per_sequence, save) -> [y, losses, saved, ...]
    moec::train_backward(grad_y, grad_losses, x, tensors, inputs, saved, handle, tokens_per_sequence, wanted) -> [...]

Autograd calls the second for gradients of the first: of x, of the tensors of parameters and of inputs, from gradients
of y and losses. torch.compile sees two calls. There is no gradient of the gradients.
"""

from __future__ import annotations

import itertools
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch

from .. import _errors
from . import _ops
from ._train import Trainable

_trainables: Dict[int, Trainable] = {}
_numbers = itertools.count(1)


def register(trainable: Trainable) -> int:
    """A handle for moec::train, valid until `release`."""
    handle = next(_numbers)
    _trainables[handle] = trainable
    return handle


def release(handle: Optional[int]) -> None:
    _trainables.pop(handle, None)  # type: ignore[arg-type]


def trainable_of(handle: int) -> Trainable:
    try:
        return _trainables[handle]
    except KeyError:
        raise _errors.MoecError(
            f"the layer behind handle {handle} was given back: a graph that was traced before must be compiled again"
        ) from None


_library = torch.library.Library("moec", "FRAGMENT")
_tag = (torch.Tag.pt2_compliant_tag,)
_library.define(
    "train(Tensor x, Tensor[] tensors, Tensor[] inputs, int handle, int tokens_per_sequence, bool save=False) "
    "-> Tensor[]",
    tags=_tag,
)
_library.define(
    "train_backward(Tensor grad_y, Tensor grad_losses, Tensor x, Tensor[] tensors, Tensor[] inputs, Tensor saved, "
    "int handle, int tokens_per_sequence, bool[] wanted) -> Tensor[]",
    tags=_tag,
)


def _run(
    x: torch.Tensor,
    tensors: List[torch.Tensor],
    inputs: List[torch.Tensor],
    handle: int,
    sequence: int,
    save: bool = False,
) -> List[torch.Tensor]:
    return trainable_of(handle).forward(x, tensors, inputs, sequence, save)


def _shapes(
    x: torch.Tensor,
    tensors: List[torch.Tensor],
    inputs: List[torch.Tensor],
    handle: int,
    sequence: int,
    save: bool = False,
) -> List[torch.Tensor]:
    trainable = trainable_of(handle)
    layer = trainable.layer()
    y = torch.empty_like(x, dtype=getattr(torch, layer.y_dtype), memory_format=torch.contiguous_format)
    size = trainable.saved_size(x.shape[0], sequence, layer.max_tokens) if save else 0
    losses = x.new_empty(trainable.num_losses, dtype=torch.float32)
    saved = x.new_empty(size, dtype=torch.uint8)
    return [y, losses, saved, *(trainable.report(name, x) for name in trainable.want)]


def _run_backward(
    grad_y: torch.Tensor,
    grad_losses: torch.Tensor,
    x: torch.Tensor,
    tensors: List[torch.Tensor],
    inputs: List[torch.Tensor],
    saved: torch.Tensor,
    handle: int,
    sequence: int,
    wanted: List[bool],
) -> List[torch.Tensor]:
    return trainable_of(handle).backward(grad_y, grad_losses, x, tensors, inputs, saved, sequence, wanted)


def _shapes_backward(
    grad_y: torch.Tensor,
    grad_losses: torch.Tensor,
    x: torch.Tensor,
    tensors: List[torch.Tensor],
    inputs: List[torch.Tensor],
    saved: torch.Tensor,
    handle: int,
    sequence: int,
    wanted: List[bool],
) -> List[torch.Tensor]:
    leaves = [x, *tensors, *inputs]
    return [
        torch.empty_like(leaf, memory_format=torch.contiguous_format) for leaf, flag in zip(leaves, wanted) if flag
    ]


class _Train(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, handle: int, sequence: int, count: int, *leaves: torch.Tensor
    ) -> Tuple[torch.Tensor, ...]:
        x, tensors, inputs = leaves[0], list(leaves[1 : 1 + count]), list(leaves[1 + count :])
        with torch._C._AutoDispatchBelowAutograd():
            results = torch.ops.moec.train(x, tensors, inputs, handle, sequence, True)
        context.handle, context.sequence, context.count = handle, sequence, count
        context.save_for_backward(*leaves, results[2])
        context.mark_non_differentiable(*results[2:])
        return tuple(results)

    @staticmethod
    def backward(context: Any, grad_y: torch.Tensor, grad_losses: torch.Tensor, *rest: Any) -> Any:
        *leaves, saved = context.saved_tensors
        count, trainable = context.count, trainable_of(context.handle)
        have = trainable.plan.gradients  # of x and inputs
        can = ["x" in have, *(trainable.trained[name] for name in trainable.names)]
        can += [name in have for name in trainable.inputs]
        wanted = [bool(need and flag) for need, flag in zip(context.needs_input_grad[3:], can)]
        found = iter(
            torch.ops.moec.train_backward(
                grad_y,
                grad_losses,
                leaves[0],
                leaves[1 : 1 + count],
                leaves[1 + count :],
                saved,
                context.handle,
                context.sequence,
                wanted,
            )
        )
        return (None, None, None, *(next(found) if flag else None for flag in wanted))


class _Once(torch.autograd.Function):
    """The gradients as results that have no gradient of their own."""

    @staticmethod
    def forward(context: Any, arguments: Sequence[Any], *leaves: torch.Tensor) -> Tuple[torch.Tensor, ...]:
        with torch._C._AutoDispatchBelowAutograd():
            return tuple(torch.ops.moec.train_backward(*arguments))

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Any:
        raise RuntimeError(
            "moec has no second derivative: the gradient of a layer of experts cannot be differentiated again; call "
            "backward without create_graph=True, or use the model's own block"
        )


def _with_gradient(
    x: torch.Tensor,
    tensors: List[torch.Tensor],
    inputs: List[torch.Tensor],
    handle: int,
    sequence: int,
    save: bool = False,
) -> List[torch.Tensor]:
    leaves = [x, *tensors, *inputs]
    if torch.is_grad_enabled() and any(leaf.requires_grad for leaf in leaves):
        return list(_Train.apply(handle, sequence, len(tensors), *leaves))
    with torch._C._AutoDispatchBelowAutograd():
        return torch.ops.moec.train(x, tensors, inputs, handle, sequence, save)


def _without_gradient(*arguments: Any) -> List[torch.Tensor]:
    grad_y, grad_losses, x, tensors, inputs = arguments[:5]
    leaves = [grad_y, grad_losses, x, *tensors, *inputs]
    if torch.is_grad_enabled() and any(leaf.requires_grad for leaf in leaves):
        return list(_Once.apply(arguments, *leaves))
    with torch._C._AutoDispatchBelowAutograd():
        return torch.ops.moec.train_backward(*arguments)


for _device in ("CPU", "CUDA"):
    _library.impl("train", _run, _device)
    _library.impl("train_backward", _run_backward, _device)
_library.impl("train", _with_gradient, "Autograd")
_library.impl("train_backward", _without_gradient, "Autograd")
torch.library.register_fake("moec::train", _shapes, lib=_library)
torch.library.register_fake("moec::train_backward", _shapes_backward, lib=_library)
