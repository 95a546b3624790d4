# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arrays of one call -> the fields of moec_forward_args, each with its type, shape, place and layout checked."""

from __future__ import annotations

import ctypes
import numbers
from ctypes import byref
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

from . import _errors, _native
from ._arrays import Device, Kind, kind_of
from ._memory import Memory
from ._weights import DeviceMemory

_INT_OUTPUTS = ("ids", "counts", "choice_counts", "dropped_tokens")
_INT_INPUTS = ("token_ids", "expert_ids", "group_ids", "capacity", "top_k", "replace_ids")
_TOKEN_INPUTS = ("uniform", "token_ids", "group_ids", "priority")  # [T]; others are [T, n], or one number
_NUMBERS = ("capacity", "top_k")


class Call:
    """Arguments and workspace of one call at a time."""

    __slots__ = ("args", "pointer", "memory", "tokens")

    def __init__(self) -> None:
        self.args = _native.ForwardArgs(struct_size=ctypes.sizeof(_native.ForwardArgs))
        self.pointer = byref(self.args)
        self.memory: Optional[Union[Memory, DeviceMemory]] = None
        self.tokens = -1  # the workspace is large enough for so many, in a call without sequences and reports


class Binder:
    """What a layer's arrays look like. All of it follows from the package.

    inputs, outputs  names besides x and y
    columns          elements per token of those that have some
    lengths          elements of outputs that have none per token: {"counts": E, ...}
    slots            of masks with a row for each slot: rows of a call, rows of each sequence, columns
    """

    def __init__(
        self,
        layer: str,
        device: Device,
        dtypes: Tuple[str, str],
        inputs: Tuple[str, ...],
        outputs: Tuple[str, ...],
        columns: Dict[str, int],
        lengths: Dict[str, int],
        slots: Dict[str, Tuple[int, int, int]],
    ) -> None:
        self.layer, self.device = layer, device
        self.x_dtype, self.y_dtype = dtypes
        self.inputs, self.outputs, self.columns, self.lengths, self.slots = inputs, outputs, columns, lengths, slots

    def names(self, want: Union[str, Sequence[str]]) -> Tuple[str, ...]:
        """The outputs that a caller wants; a sentence if the layer lacks one."""
        if not isinstance(want, (str, tuple, list)):
            text = f"want is of type {type(want).__name__}, expected a name or a tuple of names"
            raise _errors.error("MOEC_DTYPE", text)
        names = (want,) if isinstance(want, str) else tuple(want)
        for name in names:
            if name not in self.outputs:
                reports = "; moec.compile(..., reports=...) adds reports" if name in _native.REPORTS else ""
                text = f"want has {name!r}, {self.layer} can return {', '.join(self.outputs) or 'y alone'}{reports}"
                raise _errors.error("MOEC_INVALID_ARGUMENT", text)
        if len(set(names)) != len(names):
            raise _errors.error("MOEC_INVALID_ARGUMENT", f"want names an output twice: {', '.join(names)}")
        return names

    def shapes_of(self, name: str, tokens: int, sequence: int) -> List[Tuple[int, ...]]:
        """What an input may look like in a call of so many tokens in sequences of `sequence` (0: one)."""
        if name in self.slots:
            fixed, per_sequence, columns = self.slots[name]
            sequences = 1 if fixed else 0 if not tokens else tokens // sequence if sequence else 1
            rows = fixed + per_sequence
            return [(sequences, rows, columns), (sequences * rows, columns)]
        if name in _NUMBERS:
            return [(1,), ()]
        return [(tokens,) if name in _TOKEN_INPUTS else (tokens, self.columns[name])]

    def outs(self, out: Any, count: int) -> Tuple[Any, ...]:
        """What `out` gives for y and each output: an array or None."""
        if count == 1 and not isinstance(out, (tuple, list)):
            return (out,)
        if out is None:
            return (None,) * count
        if not isinstance(out, (tuple, list)) or len(out) != count:
            found = f"{len(out)} entries" if isinstance(out, (tuple, list)) else f"a {type(out).__name__}"
            text = (
                f"out is {found}, expected a sequence of {count}: y and the outputs of want, None for those to be made"
            )
            raise _errors.error("MOEC_SHAPE", text)
        return tuple(out)

    def bind_output(
        self, args: Any, name: str, given: Any, kind: Kind, x: Any, tokens: int, stated: Optional[str]
    ) -> Any:
        """Sets the address of one output and returns its array, made here unless it is given."""
        leading: Tuple[int, ...] = tuple(x.shape[:-1])
        if name == "y":
            field, shape, dtype = "y", tuple(x.shape), self.y_dtype
        else:
            field, dtype = "out_" + name, "int32" if name in _INT_OUTPUTS else "float32"
            shape = (*leading, self.columns[name]) if self.columns[name] else (self.lengths.get(name, 1),)
            stated = None
        if given is None:
            array = kind.empty(shape, dtype, x, stated)
            setattr(args, field, kind.made_at(array))
        else:
            array, label = given, "out" if field == "y" else f"out for {name}"
            setattr(args, field, self.writable_at(array, label, shape, dtype, stated))
        return array

    def fill_unwritten(self, names: Sequence[str], arrays: Sequence[Any]) -> None:
        """The values of outputs of a call of 0 tokens, which the runtime does not write: counts are 0, and there are no
        means of nothing."""
        for name, array in zip(names, arrays):
            kind_of(array, name).fill(array, 0 if name in _INT_OUTPUTS else float("nan"))

    def writable_at(self, array: Any, label: str, shape: Tuple[int, ...], dtype: str, stated: Optional[str]) -> int:
        """The address of an array that the caller gives for a result."""
        kind = kind_of(array, label)
        if array.shape != shape:
            raise _errors.error("MOEC_SHAPE", f"{label} has shape {tuple(array.shape)}, expected {tuple(shape)}")
        kind.check_writable(array, label)
        return kind.address(array, label, dtype, self.device, stated)

    def bind_input(
        self, args: Any, name: str, value: Any, kind: Kind, x: Any, tokens: int, stated: Optional[str]
    ) -> Any:
        """Sets the address of one input and returns what must live until the call is done."""
        if name not in self.inputs:
            takes = ", ".join(self.inputs) or "no inputs besides x"
            raise _errors.error("MOEC_INVALID_ARGUMENT", f"{name} is not an input of {self.layer}, which takes {takes}")
        if name in _NUMBERS and isinstance(value, numbers.Integral):
            array = kind.empty((1,), "int32", x, None)
            kind.fill(array, _native.count(name, int(value) if not isinstance(value, bool) else value))
            setattr(args, name, kind.made_at(array))
            return array
        array, kind = value, kind_of(value, name)
        dtype = self.x_dtype if name == "residual" else "int32" if name in _INT_INPUTS else "float32"
        if name == "residual":
            shapes = [tuple(x.shape), (tokens, x.shape[-1])]
        else:
            shapes = self.shapes_of(name, tokens, args.tokens_per_sequence)
            if name not in _NUMBERS and name not in self.slots:
                shapes.insert(0, (*x.shape[:-1], *shapes[0][1:]))
        found = tuple(array.shape)
        if found not in shapes:
            raise _errors.error("MOEC_SHAPE", f"{name} has shape {found}, expected {shapes[0]}")
        setattr(args, name, kind.address(array, name, dtype, self.device, stated if name == "residual" else None))
        return array
