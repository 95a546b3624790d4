# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What accelerate did with each layer of experts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Optional

from ._check import Agreement


@dataclass
class BlockReport:
    """One layer of experts: replaced, or why not."""

    name: str  # the block's path in the model, or "layer 3" if no module was found
    layer: int
    replaced: bool
    reason: str = ""  # why it stays as it was
    package: str = ""  # the folder of its compiled layer
    agreement: Optional[Agreement] = None  # of the last comparison with the model's own block
    weights_bytes: int = 0
    gradients: Optional[float] = None  # of a layer that trains: the largest |g - r| / |r| of a gradient

    def __str__(self) -> str:
        if not self.replaced:
            return f"{self.name}: stays as it was: {self.reason}"
        checked = self.agreement
        assert checked is not None
        ties = f", {checked.ties} of them ties" if checked.ties else ""
        trains = f"; gradients differ by at most {self.gradients:.1e}" if self.gradients is not None else ""
        return f"{self.name}: replaced; {checked.tokens} tokens differ by at most {checked.worst:.1e}{ties}{trains}"


@dataclass
class Report:
    """All layers of experts of a model. `print(report)` names each."""

    blocks: List[BlockReport] = field(default_factory=list)
    problem: str = ""  # why no layer could be looked at

    @property
    def replaced(self) -> List[BlockReport]:
        return [b for b in self.blocks if b.replaced]

    @property
    def kept(self) -> List[BlockReport]:
        return [b for b in self.blocks if not b.replaced]

    def __str__(self) -> str:
        if self.problem:
            return f"moec: nothing replaced: {self.problem}"
        head = f"moec: {len(self.replaced)} of {len(self.blocks)} layers of experts replaced"
        return "\n".join([head, *(f"  {b}" for b in self.blocks)])
