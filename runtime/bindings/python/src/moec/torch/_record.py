# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A block -> what it returns besides hidden states, and which of its parts computes that.

A part is a module inside of the block. One that reads the block's input, and otherwise only what the block owns, can
be called again by whoever computes the hidden states in another way: a router, whose logits the block returns or whose
hook records them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

import torch
from torch.utils import _pytree as pytree


class CannotReplace(Exception):
    """Why a block stays as it is."""


INPUT = object()  # in place of the block's input among a part's arguments
HIDDEN = object()  # in place of the hidden states among what a block returns


@dataclass
class Part:
    """A part of the block that can be called again with the block's input."""

    module: torch.nn.Module
    arguments: Tuple[Any, ...]
    keywords: Dict[str, Any]
    flat: bool  # takes the input as [T, H], where the block's is of another shape
    modules: List[torch.nn.Module]  # this part and those inside of it
    needed: bool = False  # gives an output of the block

    def call(self, x: torch.Tensor) -> List[Any]:
        """The leaves of what it returns for the block's input."""
        x = x.reshape(-1, x.shape[-1]) if self.flat else x
        arguments = [x if a is INPUT else a for a in self.arguments]
        keywords = {name: x if a is INPUT else a for name, a in self.keywords.items()}
        return pytree.tree_leaves(self.module(*arguments, **keywords))


@dataclass
class Recorded:
    """What a block returns. `outputs` has HIDDEN, a constant, or (index of a part, index among its leaves)."""

    outputs: List[Any]
    structure: Any  # of pytree
    flat: bool  # the hidden states are [T, H], where the input is of another shape
    parts: List[Part]


@dataclass
class _Seen:
    """One call of a part."""

    path: str
    module: torch.nn.Module
    arguments: Tuple[Any, ...]
    keywords: Dict[str, Any]
    leaves: List[Any]


@dataclass
class _Watcher:
    """Collects the calls of the parts of a block, the inner of two before the outer."""

    seen: List[_Seen] = field(default_factory=list)

    def hook(self, path: str) -> Any:
        def saw(module: Any, arguments: Any, keywords: Any, output: Any) -> None:
            self.seen.append(_Seen(path, module, arguments, keywords, pytree.tree_leaves(output)))

        return saw


def hidden_of(output: Any, x: torch.Tensor) -> torch.Tensor:
    """The hidden states among what a block returns for x."""
    for leaf in pytree.tree_leaves(output):
        if isinstance(leaf, torch.Tensor) and leaf.numel() == x.numel() and leaf.shape[-1] == x.shape[-1]:
            return leaf
    raise CannotReplace("does not return hidden states")


def record(module: torch.nn.Module, x: torch.Tensor) -> Recorded:
    """Calls the block with hidden states and looks at what its parts take and give; CannotReplace says what fails."""
    watcher = _Watcher()
    named = [(path, part) for path, part in module.named_modules() if path]
    hooks = [part.register_forward_hook(watcher.hook(path), with_kwargs=True) for path, part in named]
    try:
        output = module(x.clone())
    except Exception as reason:
        raise CannotReplace(f"cannot be called with hidden states alone: {reason}") from None
    finally:
        for hook in hooks:
            hook.remove()
    hidden = hidden_of(output, x)
    parts = list(_parts(module, watcher.seen, x))
    leaves, structure = pytree.tree_flatten(output)
    outputs = []
    for leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            outputs.append(HIDDEN if leaf is hidden else _source(leaf, parts))
        else:
            outputs.append(leaf)
    return Recorded(outputs, structure, hidden.dim() == 2 and x.dim() != 2, [part for part, _ in parts])


def _source(leaf: torch.Tensor, parts: List[Tuple[Part, List[Any]]]) -> Tuple[int, int]:
    for index, (part, given) in enumerate(parts):
        for at, tensor in enumerate(given):
            if isinstance(tensor, torch.Tensor) and tensor.shape == leaf.shape and torch.equal(tensor, leaf):
                part.needed = True
                return index, at
    raise CannotReplace("returns more than hidden states, and no part of it alone computes the rest")


def _parts(module: torch.nn.Module, seen: List[_Seen], x: torch.Tensor) -> Iterator[Tuple[Part, List[Any]]]:
    """The outermost parts that can be called again, with what they gave."""
    owned = {id(t) for t in list(module.parameters()) + list(module.buffers())}
    taken: List[str] = []
    for call in reversed(seen):
        if any(call.path.startswith(path + ".") for path in taken) or sum(c.module is call.module for c in seen) != 1:
            continue
        part = _again(call, x, owned)
        if part is not None:
            taken.append(call.path)
            yield part, call.leaves


def _again(call: _Seen, x: torch.Tensor, owned: Set[int]) -> Optional[Part]:
    """The part, if it read the block's input once and nothing else that another call would change."""
    inputs: List[torch.Tensor] = []

    def template(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or id(value) in owned:
            return value
        if value.numel() == x.numel() and value.shape[-1:] == x.shape[-1:] and torch.equal(value.view(x.shape), x):
            inputs.append(value)
            return INPUT
        return None

    given = list(call.arguments) + list(call.keywords.values())
    arguments = tuple(template(value) for value in call.arguments)
    keywords = {name: template(value) for name, value in call.keywords.items()}
    kept = list(arguments) + list(keywords.values())
    if len(inputs) != 1 or any(isinstance(a, torch.Tensor) and b is None for a, b in zip(given, kept)):
        return None
    flat = inputs[0].dim() == 2 and x.dim() != 2
    return Part(call.module, arguments, keywords, flat, list(call.module.modules()))
