# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A model and the spec of one of its layers -> the module that computes the layer.

Nothing here knows a model. The spec names the tensors that experts and router have in a published checkpoint; the block
is the smallest module whose parameters have these names. A shared expert whose parameters lie outside of that module is
computed outside of it too, so its spec leaves it out.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Dict, FrozenSet, Iterator, List, Tuple

import torch

from ._publish import NAMINGS, Naming, Tensors, common_prefixes, matching, tensors_of


@dataclass
class Block:
    """A module that computes one layer of experts."""

    layer: int
    name: str  # its path in the model
    module: torch.nn.Module
    spec: dict  # without the shared expert if that lies outside
    prefix: str  # of its tensors, as `naming` names them
    naming: Naming

    def tensors(self, model: torch.nn.Module) -> Tensors:
        """What the spec's `weights` take, with `prefix` before every name."""
        tensors = self.naming(model, tensors_of(self.name, self.module))
        taken = matching(tensors, [w["tensor"] for w in self.spec["weights"].values()], self.prefix)
        return {name: tensors[name] for name in taken}


class Finder:
    """Finds blocks of one model; keeps the names of the tensors of modules that it has looked at."""

    def __init__(self, model: torch.nn.Module):
        self._model = model
        self._lists = _layers_of_lists(model)
        self._names: Dict[Tuple[str, Naming], FrozenSet[str]] = {}

    def find(self, layer: int, spec: dict, prefix: str) -> Iterator[Block]:
        """The blocks that `spec` may describe, most likely first. `prefix` is what the importer expects."""
        routed = [w["tensor"] for role, w in spec["weights"].items() if not role.startswith("shared.")]
        for naming in NAMINGS:
            for name, module in self._lists.get(layer, []):
                for at in common_prefixes(self._names_of(name, module, naming), routed, prefix):
                    yield self._smallest(Block(layer, name, module, spec, at, naming), routed)

    def _names_of(self, name: str, module: torch.nn.Module, naming: Naming) -> FrozenSet[str]:
        key = (name, naming)
        if key not in self._names:
            shapes = {n: torch.empty_like(t, device="meta") for n, t in tensors_of(name, module).items()}
            self._names[key] = frozenset(naming(self._model, shapes))
        return self._names[key]

    def _smallest(self, block: Block, routed: List[str]) -> Block:
        def has(name: str, module: torch.nn.Module, wanted: List[str]) -> bool:
            return block.prefix in common_prefixes(self._names_of(name, module, block.naming), wanted, block.prefix)

        while True:
            children = ((f"{block.name}.{n}", c) for n, c in block.module.named_children())
            smaller = next(((n, c) for n, c in children if has(n, c, routed)), None)
            if smaller is None:
                break
            block.name, block.module = smaller
        shared = [w["tensor"] for role, w in block.spec["weights"].items() if role.startswith("shared.")]
        if shared and not has(block.name, block.module, shared):
            block.spec = _without_shared(block.spec)
        return block


def _layers_of_lists(model: torch.nn.Module) -> Dict[int, List[Tuple[str, torch.nn.Module]]]:
    """Index -> the modules with this index in a list of modules that is not inside of another."""
    found: Dict[int, List[Tuple[str, torch.nn.Module]]] = {}

    def walk(name: str, module: torch.nn.Module) -> None:
        for child_name, child in module.named_children():
            path = f"{name}.{child_name}" if name else child_name
            if isinstance(module, torch.nn.ModuleList):
                found.setdefault(int(child_name), []).append((path, child))
            else:
                walk(path, child)

    walk("", model)
    return found


def _without_shared(spec: dict) -> dict:
    rest = copy.deepcopy(spec)
    rest.pop("shared", None)
    rest["weights"] = {role: w for role, w in rest["weights"].items() if not role.startswith("shared.")}
    return rest
