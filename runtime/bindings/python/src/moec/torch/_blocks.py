# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A model and the spec of one of its layers -> the module that computes the layer.

Nothing here knows a model. The spec names the tensors that experts and router have in a published checkpoint; the block
is the smallest module whose parameters have these names. A shared expert whose parameters lie outside of that module is
computed outside of it too, so its spec leaves it out.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Callable, Dict, FrozenSet, List, Sequence, Tuple

import torch

from ._import import Spec
from ._publish import NAMINGS, Naming, Tensors, common_prefixes, numbered, tensors_of


Slot = Tuple[torch.nn.Module, str]  # a tensor's place in a model


@dataclass
class Block:
    """A module that computes one layer of experts."""

    layer: int
    name: str  # its path in the model
    module: torch.nn.Module
    spec: Spec  # without the shared expert if that lies outside
    prefix: str  # of its tensors, as `naming` names them
    naming: Naming

    def tensors(self, model: torch.nn.Module) -> Tensors:
        """What the spec's `weights` take, with `prefix` before every name.

        Tensors of experts that the spec does not count are left out: some modules have room for experts without
        parameters too.
        """
        tensors = self.naming(model, tensors_of(self.name, self.module))
        count = self.spec["experts"]["count"]
        wanted = [name for _, pattern in _tensors(self.spec) for name in numbered(pattern, count)]
        return {self.prefix + name: tensors[self.prefix + name] for name in wanted if self.prefix + name in tensors}


    def slots(self, model: torch.nn.Module, names: Sequence[str]) -> List[Slot]:
        """Where the tensors lie that a spec's `weights` call `names`: `naming` gives the module's own."""
        places: Dict[Tuple[int, torch.Size], Slot] = {}
        for part in self.module.modules():
            for table in (part._parameters, part._buffers):
                for key, tensor in table.items():
                    if tensor is not None:
                        places[tensor.data_ptr(), tensor.shape] = (part, key)
        tensors = self.naming(model, tensors_of(self.name, self.module))
        found = [tensors[self.prefix + name] for name in names]
        return [places[tensor.data_ptr(), tensor.shape] for tensor in found]


class Finder:
    """Finds blocks of one model; keeps the names of the tensors of modules that it has looked at."""

    def __init__(self, model: torch.nn.Module):
        self._model = model
        self._lists = _layers_of_lists(model)
        self._names: Dict[Tuple[str, Naming], FrozenSet[str]] = {}

    def find(
        self,
        layer: int,
        spec_of: Callable[[torch.dtype], Spec],
        prefix: str,
        namings: Tuple[Naming, ...] = NAMINGS,
    ) -> List[Block]:
        """The blocks that a spec, made for the type of a block's weights, may describe; most likely first. `prefix` is
        what the importer expects before the names of their tensors, which are named by one of `namings`."""
        spec = spec_of(torch.float32)
        routed = [tensor for role, tensor in _tensors(spec) if not role.startswith("shared.")]
        shared = [tensor for role, tensor in _tensors(spec) if role.startswith("shared.")]
        found = []
        for naming in namings:
            for name, module in self._lists.get(layer, []):
                for at in common_prefixes(self._names_of(name, module, naming), routed, prefix):
                    block = Block(layer, name, module, spec, at, naming)
                    if not self._has(block, name, module, shared):
                        continue
                    self._narrow(block, routed)
                    block.spec = spec_of(dtype_of(block.module))
                    if not self._has(block, block.name, block.module, shared):
                        block.spec = _without_shared(block.spec)
                    found.append(block)
        return sorted(found, key=lambda block: block.prefix != prefix)

    def _names_of(self, name: str, module: torch.nn.Module, naming: Naming) -> FrozenSet[str]:
        key = (name, naming)
        if key not in self._names:
            shapes = {n: torch.empty_like(t, device="meta") for n, t in tensors_of(name, module).items()}
            self._names[key] = frozenset(naming(self._model, shapes))
        return self._names[key]

    def _has(self, block: Block, name: str, module: torch.nn.Module, wanted: List[str]) -> bool:
        names = self._names_of(name, module, block.naming)
        return not wanted or block.prefix in common_prefixes(names, wanted, block.prefix)

    def _narrow(self, block: Block, routed: List[str]) -> None:
        """Goes down to the smallest module that has all of `routed`."""
        while True:
            children = ((f"{block.name}.{n}", c) for n, c in block.module.named_children())
            smaller = next(((n, c) for n, c in children if self._has(block, n, c, routed)), None)
            if smaller is None:
                return
            block.name, block.module = smaller


def dtype_of(module: torch.nn.Module) -> torch.dtype:
    """The type of most of its weights."""
    elements: Dict[torch.dtype, int] = {}
    for parameter in module.parameters():
        elements[parameter.dtype] = elements.get(parameter.dtype, 0) + parameter.numel()
    return max(elements, key=lambda dtype: elements[dtype])


def _tensors(spec: Spec) -> List[Tuple[str, str]]:
    """Role, name of its tensor."""
    return [(role, storage["tensor"]) for role, storage in spec["weights"].items()]


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


def _without_shared(spec: Spec) -> Spec:
    rest = copy.deepcopy(spec)
    rest.pop("shared", None)
    rest["weights"] = {role: w for role, w in rest["weights"].items() if not role.startswith("shared.")}
    return rest
