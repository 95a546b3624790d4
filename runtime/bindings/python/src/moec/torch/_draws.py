# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Inputs of a layer in training that a call does not give: what is random there, drawn from torch's generator, or the
values that change nothing outside of training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import torch

from .. import _errors
from .._package import Package

INTS = ("token_ids", "expert_ids", "group_ids", "capacity", "top_k", "replace_ids")
_NUMBERS = ("capacity", "top_k")  # [1]
_OF_TOKENS = ("token_ids", "group_ids", "uniform", "priority")  # [T]; others are [T, n]
_NEUTRAL: Dict[str, float] = {
    "noise": 0,
    "uniform": 0,
    "jitter": 0.5,
    "replace": 1,
    "replace_ids": 0,
    "expert_mask": 1,
    "hidden_mask": 1,
    "output_mask": 1,
}
_UNIFORM = ("uniform", "jitter", "replace")  # of [0,1), whatever the spec says
_DROPOUT = {
    "expert_mask": ("router", "expert_dropout"),
    "hidden_mask": ("experts", "hidden_dropout"),
    "output_mask": ("experts", "output_dropout"),
}


class Draws:
    """
    spec     the layer's spec; {}: of a shared library alone, which does not say how noise and masks are distributed:
             every call in training gives them
    columns  {name: n} of the layer's inputs
    slots    of masks with a row for each slot: rows of a call, rows of each sequence (one of both is 0), columns
    """

    def __init__(
        self, spec: Mapping[str, Any], columns: Mapping[str, int], slots: Mapping[str, Tuple[int, int, int]]
    ) -> None:
        self._spec, self._columns, self._slots = spec, columns, slots

    @staticmethod
    def spec_of(package: Package) -> Mapping[str, Any]:
        file = Path(package) / "share" / package.name / "spec.json"
        if not file.is_file():  # a shared library, or a layer that was written in the moe dialect
            return {}
        spec: Mapping[str, Any] = json.loads(file.read_text("utf-8"))
        return spec

    def shape(self, name: str, tokens: int, sequence: int) -> Tuple[int, ...]:
        """As the runtime reads it, of tokens in sequences of `sequence` (0: one)."""
        if name in _NUMBERS:
            return (1,)
        if name in self._slots:
            fixed, per_sequence, columns = self._slots[name]
            sequences = 0 if not tokens else tokens // sequence if sequence else 1
            return (fixed + per_sequence * sequences, columns)
        return (tokens,) if name in _OF_TOKENS else (tokens, self._columns[name])

    def values(
        self, names: Sequence[str], tokens: int, device: torch.device, training: bool, sequence: int
    ) -> List[torch.Tensor]:
        return [self.value(name, tokens, device, training, sequence) for name in names]

    def value(
        self, name: str, tokens: int, device: torch.device, training: bool, sequence: int = 0
    ) -> torch.Tensor:
        """MOEC_NULL_POINTER: an input that is not random, or whose distribution is not known."""
        shape = self.shape(name, tokens, sequence)
        if name not in _NEUTRAL or (training and not self._spec and name not in _UNIFORM):
            text = f"the layer needs the input {name}, which was not given"
            raise _errors.error("MOEC_NULL_POINTER", text)
        if not training:
            dtype = torch.int32 if name in INTS else torch.float32
            return torch.full(shape, _NEUTRAL[name], dtype=dtype, device=device)
        if name == "replace_ids":
            return torch.randint(0, self._router_rows(), shape, dtype=torch.int32, device=device)
        gumbel = "gumbel" in (self._key("router", "noise", "kind"), self._key("router", "select", "second"))
        if name == "noise" and not gumbel:
            return torch.randn(shape, device=device)
        uniform = torch.rand(shape, device=device)
        if name == "noise":
            tiny = torch.finfo(torch.float32).tiny
            return -(-uniform.clamp_min(tiny).log()).clamp_min(tiny).log()
        if name not in _DROPOUT:
            return uniform
        p = float(self._key(*_DROPOUT[name], "p") or 0)
        kept = (uniform >= p).to(torch.float32)
        return kept if name == "expert_mask" or p == 1 else kept / (1 - p)

    def _key(self, *path: str) -> Any:
        value: Any = self._spec
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def _router_rows(self) -> int:
        return int(self._key("experts", "count")) + int(self._key("experts", "zero", "count") or 0)
