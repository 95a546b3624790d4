# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A model's config -> the specs of its layers of experts, by `moec import hf`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

import torch

from .. import _errors, _program

Spec = Dict[str, Any]  # the JSON of a layer

_DTYPES = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}


@dataclass
class Group:
    """Layers that the config describes in the same words, so that they share a spec."""

    layers: List[int]
    prefix: str  # of the first layer's tensors in the published checkpoint
    decoder: bool  # of a model that has an encoder too

    def prefix_of(self, layer: int) -> str:
        """The same for another layer of the group."""
        return re.sub(rf"(?<![^.]){self.layers[0]}(?![^.])", str(layer), self.prefix, count=1)


class Importer:
    """The config of one model; specs are made once per layer and type."""

    def __init__(self, config: Any):
        self._text = config.to_json_string(use_diff=False)
        self._name = re.sub(r"[^a-z0-9_]", "_", str(getattr(config, "model_type", "") or "layer").lower())
        self._halves = (False, True) if getattr(config, "is_encoder_decoder", False) else (False,)
        self._specs: Dict[Tuple[int, bool, str, bool], Spec] = {}

    def groups(self) -> List[Group]:
        """The layers with experts; MoecError if the importer does not know the model or refuses its config."""
        found = []
        for decoder in self._halves:
            for group in json.loads(self._run(decoder, "--layers", "--json"))["groups"]:
                if group["experts"]:
                    found.append(Group(group["layers"], group["prefix"], decoder))
        return found

    def spec(self, group: Group, dtype: torch.dtype, stacked: bool) -> Spec:
        """The spec of a group's layers if weights and hidden states are of `dtype`; `stacked`: with the experts'
        weights as modules keep them, not as they are published."""
        if dtype not in _DTYPES:
            raise _errors.MoecError(f"its weights are of {dtype}; moec computes in f32, bf16 and f16")
        key = (group.layers[0], group.decoder, _DTYPES[dtype], stacked)
        if key not in self._specs:
            options = ["--layer", str(key[0]), "--dtype", key[2], "--name", self._name, "-o", "-"]
            self._specs[key] = json.loads(self._run(group.decoder, *options, *(["--stacked"] if stacked else [])))
        return self._specs[key]

    def _run(self, decoder: bool, *options: str) -> str:
        half = ["--decoder"] if decoder else []
        try:
            return _program.run(["-q", "import", "hf", "-", *options, *half], self._text)
        except _errors.MoecError as reason:
            lines = str(reason).splitlines()
            first = next((line for line in lines if "error[" in line), lines[0])
            raise _errors.MoecError(first, code=reason.code, exit=reason.exit) from None
