# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A block -> the same module whose forward calls a packed layer, and back.

The module stays in its place with its parameters, names and hooks; only its `forward` is another. What the block
returns besides hidden states (router logits) comes from the part of the block that computed it, which is called again.
Whatever the packed layer cannot do runs as before: training, gradients, autocast, other arguments, other types, and
calls that hooks of a part of the block watch.
"""

from __future__ import annotations

import inspect
import types
import warnings
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
from torch.utils import _pytree as pytree

from .. import _errors
from . import _ops

STATE = "_moec_state"


@dataclass
class Part:
    """A part of the block that can be called again with the block's input alone: its router."""

    path: str
    module: torch.nn.Module
    arguments: Tuple[Any, ...]  # INPUT stands for the input
    keywords: Dict[str, Any]
    flat: bool = False  # takes [T, H], not the shape of the block's input
    needed: bool = False  # gives an output of the block
    modules: List[torch.nn.Module] = field(default_factory=list)  # this part and those inside of it


INPUT = object()
HIDDEN = object()


@dataclass
class Recorded:
    """What the block returns. `outputs` has HIDDEN, a constant, or (index of a part, index of its output)."""

    outputs: List[Any]
    spec: Any  # of pytree
    flat: bool  # hidden is [T, H], not of the shape of the input
    parts: List[Part]


class CannotReplace(Exception):
    """Why a block stays as it is."""


def record(module: torch.nn.Module, x: torch.Tensor) -> Recorded:
    """Calls the block with hidden states and looks at what its parts take and give."""
    calls: List[Tuple[str, torch.nn.Module, tuple, dict, Any]] = []

    def watch(path: str, part: torch.nn.Module):
        def hook(_, arguments, keywords, output):
            calls.append((path, part, arguments, keywords, output))

        return part.register_forward_hook(hook, with_kwargs=True)

    handles = [watch(path, part) for path, part in module.named_modules() if path]
    try:
        output = module(x.clone())
    except Exception as reason:
        raise CannotReplace(f"cannot be called with hidden states alone: {reason}") from None
    finally:
        for handle in handles:
            handle.remove()
    hidden = hidden_of(output, x)
    leaves, spec = pytree.tree_flatten(output)
    parts, given = _parts(module, calls, x)
    outputs: List[Any] = []
    for leaf in leaves:
        if not isinstance(leaf, torch.Tensor):
            outputs.append(leaf)
        elif leaf is hidden:
            outputs.append(HIDDEN)
        else:
            at = next(((i, j) for i, j, t in given if t.shape == leaf.shape and torch.equal(t, leaf)), None)
            if at is None:
                raise CannotReplace("returns more than hidden states, and no part of it alone computes the rest")
            parts[at[0]].needed = True
            outputs.append(at)
    return Recorded(outputs, spec, hidden.dim() == 2 and x.dim() != 2, parts)


def hidden_of(output: Any, x: torch.Tensor) -> torch.Tensor:
    """The hidden states among what a block returns for x."""
    for leaf in pytree.tree_leaves(output):
        if isinstance(leaf, torch.Tensor) and leaf.numel() == x.numel() and leaf.shape[-1] == x.shape[-1]:
            return leaf
    raise CannotReplace("does not return hidden states")


def _parts(module, calls, x):
    """The outermost parts that take the block's input and otherwise only what the block owns; and their tensors."""
    owned = {id(t) for t in list(module.parameters()) + list(module.buffers())}
    flat_x = x.reshape(-1, x.shape[-1])
    parts: List[Part] = []
    given: List[Tuple[int, int, torch.Tensor]] = []
    # The outer of two parts ends after the inner one.
    for path, part, arguments, keywords, output in reversed(calls):
        if any(path.startswith(outer.path + ".") for outer in parts):
            continue
        seen = []

        def template(value):
            if not isinstance(value, torch.Tensor):
                return value
            if value.shape[-1:] == x.shape[-1:] and value.numel() == x.numel():
                if torch.equal(value.reshape(flat_x.shape), flat_x):
                    seen.append(value.dim() == 2)
                    return INPUT
            if id(value) in owned:
                return value
            raise LookupError

        try:
            made = Part(
                path, part, tuple(map(template, arguments)), {k: template(v) for k, v in keywords.items()},
                modules=list(part.modules()),
            )
        except LookupError:
            continue
        if len(seen) != 1 or sum(c[1] is part for c in calls) != 1:
            continue
        made.flat = seen[0] and x.dim() != 2
        leaves = pytree.tree_leaves(output)
        given += [(len(parts), j, t) for j, t in enumerate(leaves) if isinstance(t, torch.Tensor)]
        parts.append(made)
    return parts, given


@dataclass
class State:
    """How a replaced block is called."""

    name: str
    handle: Optional[int]
    dtype: torch.dtype
    device: torch.device
    rank: int
    recorded: Recorded
    sequences: bool  # the layer looks at whole sequences
    parameters: List[torch.nn.Parameter]
    others: List[torch.nn.Module] = field(default_factory=list)  # parts that cannot be called again
    before: Optional[Callable] = None  # a forward that somebody else had put on the module
    parameter: str = "hidden_states"
    released: bool = False
    told: bool = False

    def __deepcopy__(self, memo):
        return self._detached()

    def __reduce__(self):
        return (_detached, (self.name, self.released))

    def _detached(self):
        return _detached(self.name, self.released)


def _detached(name: str, released: bool) -> State:
    """Of a copy of a model: it has its own weights, which nobody packed, so it runs as it was."""
    state = State.__new__(State)
    state.name, state.released, state.handle, state.before, state.told = name, released, None, None, False
    state.parameter = ""
    return state


def forward(self, *arguments, **keywords):
    """Put on a block in place of its own forward."""
    state = self.__dict__[STATE]
    if arguments:
        x, rest = arguments[0], arguments[1:]
        others = keywords
    else:
        x, rest = keywords.get(state.parameter), ()
        others = {k: v for k, v in keywords.items() if k != state.parameter}
    why = _why_not(self, state, x, rest, others)
    if why is not None:
        return _as_before(self, state, why, arguments, keywords)
    flat = x.reshape(-1, x.shape[-1])
    recorded = state.recorded
    y = torch.ops.moec.layer(flat, state.handle, x.shape[-2] if state.sequences else 0)
    again: Dict[int, Any] = {}
    for index, part in enumerate(recorded.parts):
        if part.needed or _hooked(part.modules):
            given = flat if part.flat else x
            again[index] = part.module(
                *[given if a is INPUT else a for a in part.arguments],
                **{k: given if a is INPUT else a for k, a in part.keywords.items()},
            )
    hidden = y if recorded.flat else y.view(x.shape)
    if recorded.spec.is_leaf():
        return hidden
    leaves = [
        hidden if o is HIDDEN else pytree.tree_leaves(again[o[0]])[o[1]] if isinstance(o, tuple) else o
        for o in recorded.outputs
    ]
    return pytree.tree_unflatten(leaves, recorded.spec)


def _why_not(module, state, x, rest, others) -> Optional[str]:
    """Why this call must run as before; None: the packed layer can do it."""
    if state.handle is None:
        return "this model is a copy of one that was accelerated"
    if not isinstance(x, torch.Tensor) or any(a is not None for a in rest):
        return "it is called with more than hidden states"
    if any(v is not None for v in others.values()):
        return "it is called with more than hidden states"
    if module.training:
        return "it is in training mode; call model.eval()"
    if x.dtype is not state.dtype or x.device != state.device:
        return f"it is called with {x.dtype} on {x.device}, and was checked with {state.dtype} on {state.device}"
    if x.dim() != state.rank:
        return f"it is called with {x.dim()} axes, and was checked with {state.rank}"
    if torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in state.parameters)):
        return "gradients are recorded; call the model under torch.no_grad()"
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


def _as_before(module, state, why, arguments, keywords):
    if state.released:
        raise _errors.MoecError(f"{state.name} cannot run without moec, because its weights were released: {why}")
    if not state.told and not torch.compiler.is_compiling():
        state.told = True
        warnings.warn(f"moec: {state.name} runs as it was: {why}", stacklevel=4)
    if state.before is not None:
        return state.before(*arguments, **keywords)
    return type(module).forward(module, *arguments, **keywords)


def replace(module: torch.nn.Module, state: State) -> None:
    """Gives the module the new forward."""
    replayed = {id(m) for part in state.recorded.parts for m in part.modules}
    state.others = [m for m in module.modules() if m is not module and id(m) not in replayed]
    state.before = module.__dict__.get("forward")
    state.parameter = next(iter(inspect.signature(module.forward).parameters), "")
    module.__dict__[STATE] = state
    module.forward = types.MethodType(forward, module)


def put_back(module: torch.nn.Module) -> Optional[State]:
    """Undoes `replace`; the state that the module had, or None if it was not replaced."""
    state = module.__dict__.pop(STATE, None)
    if state is None:
        return None
    module.__dict__.pop("forward", None)
    if state.before is not None:
        module.forward = state.before
    _ops.release(state.handle)
    return state
