# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A block -> the same module whose forward calls a packed layer, and back.

The module stays in its place with its parameters, names and hooks; only its `forward` is another. Whatever the packed
layer cannot do runs as before: autocast, other arguments, other types, calls that a hook of some part of the block
watches, and, unless the layer trains, training and gradients.
"""

from __future__ import annotations

import inspect
import types
import warnings
import weakref
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
from torch.utils import _pytree as pytree

from .. import _errors
from . import _ops, _train_ops
from ._blocks import Slot
from ._draws import Draws
from ._record import HIDDEN, Recorded

STATE = "_moec_state"


@dataclass
class State:
    """How a replaced block is called. Of a copied or unpickled model, which has weights that nobody packed, `handle` is
    None: it runs as it was."""

    name: str
    handle: Optional[int]
    dtype: torch.dtype
    device: torch.device
    rank: int  # of the input that the block was compared with
    recorded: Recorded
    sequences: bool  # the layer looks at whole sequences
    parameters: List[torch.nn.Parameter] = field(default_factory=list)
    others: List[torch.nn.Module] = field(default_factory=list)  # parts that are not called again
    before: Optional[Callable[..., Any]] = None  # a forward that somebody else had put on the module
    argument: str = ""  # the name of the hidden states
    released: bool = False
    told: bool = False
    tensors: Optional[List[Slot]] = None  # of a layer that trains: what its handle takes at each call
    inputs: Tuple[str, ...] = ()  # of a layer that trains: what is random there
    draws: Optional[Draws] = None

    def __deepcopy__(self, memo: Dict[int, Any]) -> "State":
        return _of_a_copy(self.name, self.released)

    def __reduce__(self) -> Any:
        return (_of_a_copy, (self.name, self.released))


def _of_a_copy(name: str, released: bool) -> State:
    nothing = Recorded([], None, False, [])
    return State(name, None, torch.float32, torch.device("cpu"), 0, nothing, False, released=released)


def forward(self: torch.nn.Module, *arguments: Any, **keywords: Any) -> Any:
    """A replaced block's forward."""
    state: State = self.__dict__[STATE]
    if arguments:
        x, others = arguments[0], [*arguments[1:], *keywords.values()]
    else:
        x = keywords.get(state.argument)
        others = [value for name, value in keywords.items() if name != state.argument]
    why = _why_not(self, state, x, others)
    if why is not None:
        return _as_before(self, state, why, arguments, keywords)
    recorded = state.recorded
    rows, sequence = x.reshape(-1, x.shape[-1]), x.shape[-2] if state.sequences else 0
    if state.tensors is None:
        y = torch.ops.moec.layer(rows, state.handle, sequence)
    else:
        tensors = [getattr(owner, key) for owner, key in state.tensors]
        assert state.draws is not None
        drawn = state.draws.values(state.inputs, rows.shape[0], x.device, self.training, sequence)
        y = torch.ops.moec.train(rows, tensors, drawn, state.handle, sequence)[0]
    hidden = y if recorded.flat else y.view(x.shape)
    again: Dict[int, List[Any]] = {}
    for index, part in enumerate(recorded.parts):
        if part.needed or _hooked(part.modules):
            again[index] = part.call(x)
    if len(recorded.outputs) == 1 and recorded.structure.is_leaf():
        return hidden
    leaves = [
        hidden if o is HIDDEN else again[o[0]][o[1]] if isinstance(o, tuple) else o for o in recorded.outputs
    ]
    return pytree.tree_unflatten(leaves, recorded.structure)


def _why_not(module: torch.nn.Module, state: State, x: Any, others: List[Any]) -> Optional[str]:
    """Why this call must run as before; None: the packed layer can do it."""
    if state.handle is None:
        return "this model is a copy of one that was accelerated"
    if not isinstance(x, torch.Tensor) or any(value is not None for value in others):
        return "it is called with more than hidden states"
    trains = state.tensors is not None
    if module.training and not trains:
        return "it is in training mode; call model.eval()"
    if x.dtype is not state.dtype or x.device != state.device or x.dim() != state.rank:
        return (
            f"it is called with {x.dtype} of {x.dim()} axes on {x.device}, and was compared with {state.dtype} of "
            f"{state.rank} axes on {state.device}"
        )
    if not trains and torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in state.parameters)):
        return "gradients are recorded; call the model under torch.no_grad(), or accelerate it with train=True"
    if torch.is_autocast_enabled(x.device.type):
        return "autocast is on"
    if _hooked(state.others):
        return "a hook watches a part of it"
    return None


def _hooked(modules: List[torch.nn.Module]) -> bool:
    for module in modules:
        if module._forward_hooks or module._forward_pre_hooks:
            return True
    return False


def _as_before(
    module: torch.nn.Module, state: State, why: str, arguments: Tuple[Any, ...], keywords: Dict[str, Any]
) -> Any:
    if state.released:
        raise _errors.MoecError(
            f"{state.name} cannot run without moec, because its weights were released: {why}; "
            "or load the model again, and accelerate it without release_weights"
        )
    if not state.told and not torch.compiler.is_compiling():
        state.told = True
        warnings.warn(f"moec: {state.name} runs as it was: {why}", stacklevel=4)
    if state.before is not None:
        return state.before(*arguments, **keywords)
    return type(module).forward(module, *arguments, **keywords)


def replace(module: torch.nn.Module, state: State) -> None:
    """Gives the module the new forward."""
    called_again = {id(m) for part in state.recorded.parts for m in part.modules}
    state.parameters = list(module.parameters())
    state.others = [m for m in module.modules() if m is not module and id(m) not in called_again]
    state.before = module.__dict__.get("forward")
    state.argument = next(iter(inspect.signature(module.forward).parameters), "")
    module.__dict__[STATE] = state
    assert state.handle is not None
    # The packed weights go with the module that calls them.
    weakref.finalize(module, _release(state), state.handle).atexit = False
    # The name `forward` lets pickle find the class's own forward for a copy.
    module.forward = types.MethodType(forward, module)


def refuse_state(module: torch.nn.Module, prefix: str, keep_vars: bool) -> None:
    """A hook before state_dict of a block without weights, which would save empty tensors."""
    state = module.__dict__.get(STATE)
    raise _errors.MoecError(
        f"the weights of {state.name if state is not None else prefix} were released and cannot be saved; load the "
        "model again, and save it before moec.torch.accelerate(model, release_weights=True)"
    )


def put_back(module: torch.nn.Module) -> None:
    """Undoes `replace`; nothing if the module was not replaced."""
    state = module.__dict__.pop(STATE, None)
    if state is None:
        return
    module.__dict__.pop("forward", None)
    if state.before is not None:
        module.forward = state.before
    _release(state)(state.handle)


def _release(state: State) -> Callable[[Optional[int]], None]:
    return _ops.release if state.tensors is None else _train_ops.release
