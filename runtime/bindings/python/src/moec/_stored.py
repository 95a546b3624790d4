# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A role and its storage -> names and shape of the tensors that hold it in a checkpoint, and where its elements lie in
them. The rules are those of runtime/weights/stored_role.c."""

from __future__ import annotations

from typing import NamedTuple, Tuple

# moec_stack, moec_axes and moec_part of runtime/moec_abi.h.
_PER_EXPERT, _FLAT_ROWS, _INTERLEAVED_COLUMNS = 1, 3, 4
_IN_OUT = 1
_ALL, _SECOND_HALF, _EVEN, _ODD = 0, 2, 3, 4


class Stored(NamedTuple):
    """names    one tensor, or one for each expert
    shape    of each tensor
    dims     of the role's part in each: [E, out, in], [out, in] or [n], without E if there is a tensor for each expert
    strides  of these axes, in elements of the tensor; first: the first element
    """

    names: Tuple[str, ...]
    shape: Tuple[int, ...]
    dims: Tuple[int, ...]
    strides: Tuple[int, ...]
    first: int


def stored(
    dims: Tuple[int, ...], tensor: str, stack: int, axes: int, part: int, expert_axis: bool, matrix: bool
) -> Stored:
    """The numbers are those of moec_role."""
    experts, own = (dims[0], dims[1:]) if expert_axis else (1, dims)
    out, inner = own[0] if own else 1, own[1] if len(own) > 1 else 1
    whole, step = out if part == _ALL else 2 * out, 2 if part in (_EVEN, _ODD) else 1
    swapped = matrix and axes == _IN_OUT
    if stack == _INTERLEAVED_COLUMNS:
        shape: Tuple[int, ...] = (inner * experts, whole) if swapped else (whole, inner * experts)
        out_pitch, in_pitch = (1, whole * experts) if swapped else (inner * experts, experts)
        expert_stride = whole if swapped else 1
    else:
        shape = (whole,) if own else ()
        if matrix:
            shape = (inner, whole) if swapped else (whole, inner)
        out_pitch, in_pitch = (1, whole) if swapped else (inner, 1)
        expert_stride = whole * inner
    first = out * out_pitch if part == _SECOND_HALF else out_pitch if part == _ODD else 0
    strides = (out_pitch * step, in_pitch)[: len(own)]
    if expert_axis and stack == _PER_EXPERT:
        names = tuple(tensor.replace("{e}", str(expert)) for expert in range(experts))
        return Stored(names, shape, own, strides, first)
    if expert_axis and stack != _INTERLEAVED_COLUMNS:
        shape = (experts, *shape)
        if stack == _FLAT_ROWS and len(shape) > 1:
            shape = (shape[0] * shape[1], *shape[2:])
    return Stored((tensor,), shape, dims, ((expert_stride,) if expert_axis else ()) + strides, first)
