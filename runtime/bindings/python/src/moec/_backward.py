# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A forward call that was kept, and the gradient of its outputs -> gradients of its inputs and parameters."""

from __future__ import annotations

import ctypes
import numbers
import weakref
from ctypes import byref, c_int32, c_size_t, c_void_p
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from . import _errors, _native
from ._arrays import CPU, Device, Kind, kind_of
from ._call import Binder
from ._memory import Memory
from ._native import check, lib
from ._plan import Plan
from ._shared import Shared
from ._weights import DeviceMemory, Weights

AnyMemory = Union[Memory, DeviceMemory]


class Saved(Shared):
    """What Layer.backward needs of a forward call: made by Layer.forward_saved.

    nbytes  of what the call saved besides x
    tokens  T of the call

    It keeps x, the call's inputs and its weights, which must not be changed until the last backward call. Any number of
    backward calls may read it. Its memory goes back to the layer with it.
    """

    HINT = "call forward_saved in the other process"

    memory: AnyMemory

    def __init__(self, nbytes: int, kind: Kind, x: Any, weights: Weights) -> None:
        self.nbytes, self.tokens = nbytes, 0
        self.kind, self.x, self.weights = kind, x, weights
        self.tokens_per_sequence = 0
        self.inputs: Dict[str, Any] = {}  # arrays, as they were bound
        self.addresses: Dict[str, int] = {}
        self.stated: Optional[str] = None  # what arrays of uint16 hold

    def __repr__(self) -> str:
        return f"<moec.Saved: {self.tokens} tokens, {self.nbytes} bytes>"


class Pool:
    """Memory on the CPU that went back, for later calls; the smallest that is large enough comes first."""

    def __init__(self) -> None:
        self.free: List[Memory] = []

    def take(self, nbytes: int) -> Memory:
        free = sorted(self.free, key=lambda memory: memory.nbytes)
        best = next((memory for memory in free if memory.nbytes >= nbytes), free[-1] if free else None)
        try:
            self.free.remove(best)  # type: ignore[arg-type]
        except ValueError:  # there was none, or another thread has taken it meanwhile
            return Memory(nbytes)
        if best is None or best.nbytes < nbytes:  # a larger one takes its place
            del best
            return Memory(nbytes)
        return best

    def give_back_with(self, owner: object, memory: Memory) -> None:
        """The memory comes back when nobody has `owner` any more."""
        weakref.finalize(owner, self.free.append, memory).atexit = False


class Backward:
    """Backward calls of one layer.

    names  what they can give: "x", "residual", "expert_weights", and the roles that have a gradient
    """

    def __init__(
        self,
        box: c_void_p,
        device: Device,
        binder: Binder,
        roles: Mapping[str, Tuple[int, ...]],
        plan: Plan,
        losses: int,
    ) -> None:
        self._box, self._device, self._binder, self._losses = box, device, binder, losses
        self._roles = dict(roles)
        self._index = {role: index for index, role in enumerate(roles)}
        self._matrix = dict(zip(roles, plan.matrices))
        self.weight_dtype = "float32" if plan.weight_dtype is None else _native.DTYPES[plan.weight_dtype]
        self.names: Tuple[str, ...] = (*plan.gradients, *(role for role in roles if self._has(role)))
        self.memory = Pool()

    def _has(self, role: str) -> bool:
        found = c_int32()
        check(lib.moec_layer_role_gradient(self._box, self._index[role], byref(found)))
        return bool(found.value)

    def saved_nbytes(self, tokens: int, tokens_per_sequence: int) -> int:
        count = c_size_t()
        check(lib.moec_layer_saved_bytes(self._box, tokens, tokens_per_sequence, byref(count)))
        return count.value

    def workspace_nbytes(self, tokens: int, tokens_per_sequence: int) -> int:
        count = c_size_t()
        check(lib.moec_layer_backward_workspace_bytes(self._box, tokens, tokens_per_sequence, byref(count)))
        return count.value

    def dtype_of(self, name: str, grad_dtype: str) -> str:
        """The type of a gradient if those of matrices are of `grad_dtype`."""
        if name in ("x", "residual"):
            return self._binder.x_dtype
        return grad_dtype if self._matrix.get(name) else "float32"

    def shape_of(self, name: str, x: Any) -> Tuple[int, ...]:
        if name == "expert_weights":
            return (*x.shape[:-1], self._binder.columns[name])
        return tuple(x.shape) if name in ("x", "residual") else self._roles[name]

    def new_memory(self, owner: object, nbytes: int, kind: Kind) -> AnyMemory:
        """Memory of a call, which goes with `owner`."""
        if self._device is not CPU:
            return DeviceMemory(kind, nbytes, self._device)
        memory = self.memory.take(nbytes)
        self.memory.give_back_with(owner, memory)
        return memory

    def check_trains(self) -> None:
        """A sentence if the package has no backward pass."""
        check(lib.moec_layer_backward_workspace_bytes(self._box, 0, 0, byref(c_size_t())))

    def _wanted(self, want: Union[None, str, Sequence[str]], out: Mapping[str, Any]) -> Tuple[str, ...]:
        if want is None:
            return tuple(out) if out else self.names
        if not isinstance(want, (str, tuple, list)):
            text = f"want is of type {type(want).__name__}, expected a name or a tuple of names"
            raise _errors.error("MOEC_DTYPE", text)
        return (want,) if isinstance(want, str) else tuple(want)

    def _check_names(self, names: Sequence[str], label: str) -> None:
        for name in names:
            if name not in self.names:
                text = f"{label} has {name!r}, {self._binder.layer} has gradients of {', '.join(self.names)}"
                raise _errors.error("MOEC_INVALID_ARGUMENT", text)

    def _coefficients(self, values: Any, saved: Saved) -> Any:
        """The array of what each loss counts in the total."""
        if isinstance(values, (list, tuple)):
            if len(values) != self._losses or not all(isinstance(v, numbers.Real) for v in values):
                text = f"grad_losses is {values!r}, expected {self._losses} numbers, one for each loss of the spec"
                raise _errors.error("MOEC_SHAPE", text)
            array = saved.kind.empty((len(values),), "float32", saved.x, None)
            for index, value in enumerate(values):
                saved.kind.fill(array[index : index + 1], float(value))
            return array
        kind_of(values, "grad_losses")
        if tuple(values.shape) != (self._losses,):
            raise _errors.error(
                "MOEC_SHAPE", f"grad_losses has shape {tuple(values.shape)}, expected ({self._losses},)"
            )
        return values

    def run(
        self,
        saved: Saved,
        grad_y: Any,
        grad_losses: Any,
        want: Union[None, str, Sequence[str]],
        out: Optional[Mapping[str, Any]],
        accumulate: bool,
        grad_dtype: str,
        stream: Optional[int],
    ) -> Dict[str, Any]:
        given: Mapping[str, Any] = out if out is not None else {}
        if not isinstance(given, Mapping):
            raise _errors.error("MOEC_DTYPE", f"out is of type {type(out).__name__}, expected {{name: array}}")
        names = self._wanted(want, given)
        self._check_names(names, "want")
        self._check_names([name for name in given if name not in names], "out")
        if grad_dtype not in ("float32", self.weight_dtype):
            expected = "float32" if self.weight_dtype == "float32" else f"float32 or {self.weight_dtype}"
            raise _errors.error("MOEC_DTYPE", f"grad_dtype is {grad_dtype!r}, expected {expected}")
        missing = [name for name in names if name in self._roles and name not in given]
        if accumulate and missing:
            text = f"accumulate adds to what arrays hold, but out has none for {', '.join(missing)}"
            raise _errors.error("MOEC_INVALID_ARGUMENT", text)
        x, bind = saved.x, self._binder
        kind = kind_of(grad_y, "grad_y")
        if tuple(grad_y.shape) != tuple(x.shape):
            raise _errors.error("MOEC_SHAPE", f"grad_y has shape {tuple(grad_y.shape)}, expected {tuple(x.shape)}")
        args = _native.BackwardArgs(struct_size=ctypes.sizeof(_native.BackwardArgs))
        args.num_tokens, args.tokens_per_sequence = saved.tokens, saved.tokens_per_sequence
        args.grad_y = kind.address(grad_y, "grad_y", bind.y_dtype, self._device, saved.stated)
        for name, address in saved.addresses.items():
            setattr(args, name, address)
        keeps = []
        if grad_losses is not None:
            keeps.append(self._coefficients(grad_losses, saved))
            where = kind_of(keeps[0], "grad_losses")
            args.grad_losses = where.address(keeps[0], "grad_losses", "float32", self._device, None)
        args.saved, args.saved_bytes = saved.memory.address, saved.nbytes
        args.grad_dtype = _native.dtype_number("grad_dtype", grad_dtype)
        args.accumulate = int(accumulate)
        args.stream = stream
        results: Dict[str, Any] = {}
        pointers = (c_void_p * max(len(self._roles), 1))()
        for name in names:
            shape, dtype = self.shape_of(name, x), self.dtype_of(name, grad_dtype)
            stated = saved.stated if dtype in ("bfloat16", "float16") else None
            if name in given:
                results[name] = given[name]
                address = bind.writable_at(given[name], f"out for {name}", shape, dtype, stated)
            else:
                results[name] = saved.kind.empty(shape, dtype, x, stated)
                address = saved.kind.made_at(results[name])
            if name in self._roles:
                pointers[self._index[name]] = address
            else:
                setattr(args, "grad_" + name, address)
        args.grad_parameters = pointers
        nbytes = self.workspace_nbytes(saved.tokens, saved.tokens_per_sequence)
        keeper = _Keeper()
        memory = self.new_memory(keeper, nbytes, saved.kind)
        args.workspace, args.workspace_bytes = memory.address, nbytes
        check(_native.backward(self._box, saved.weights._box, byref(args)))
        del keeper, keeps
        return {n: array if n in given else saved.kind.finish(array, x) for n, array in results.items()}


class _Keeper:
    """Who has the workspace of one call."""
