# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Two ways to compute a block -> whether they agree, on random tokens.

A token agrees if |y - r| <= bound * |r|, with r what the model's own block gives, and |.| the Euclidean norm over the
token's row. The bounds follow from the block's rounding. In bf16 published code rounds gate, up, their product, down,
the weight, the weighted output and each sum over K choices: 6 + K times, each time by at most 2^-9 of a value. All
errors in one direction make (6 + K) * 2^-9, which is 2^-5 for K = 10, the bound. Errors of many elements are
independent and make about (6 + K)^0.5 * 2^-10, so over all tokens together half of the bound must suffice. f16 has
three more bits: 2^-8. In f32 both ways add the same products in another order: 2^-13.

A choice of experts is not continuous. Where two experts are equally good up to rounding, the block itself chooses one
or the other as its input moves by one rounding step. Such a token is a tie: it counts as agreeing only if the block
gives what was found for one of some inputs that are one rounding step away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional, Sequence

import torch

BOUNDS = {torch.float32: 2.0**-13, torch.bfloat16: 2.0**-5, torch.float16: 2.0**-8}
TOKENS = 48
_SCALES = (1.0, 0.25, 4.0)  # of tokens in turn: small and large ones reach different parts of an activation
_NEIGHBOURS = 24
_MOST_TIES = 1 / 3


@dataclass
class Agreement:
    """worst: the largest |y - r| / |r| among tokens that are not ties."""

    bound: float
    tokens: int
    ties: int
    worst: float
    problem: Optional[str] = None

    def __bool__(self) -> bool:
        return self.problem is None


def random_tokens(shape: Sequence[int], dtype: torch.dtype, device: torch.device, seed: int = 0) -> torch.Tensor:
    """[..., H] of normal numbers; touches no global generator."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator)
    scales = torch.tensor(_SCALES).repeat(x[..., 0].numel() // len(_SCALES) + 1)[: x[..., 0].numel()]
    return (x * scales.view(x.shape[:-1]).unsqueeze(-1)).to(device=device, dtype=dtype)


def repeated_tokens(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """[B, S, H] of two tokens in random order: so many of a kind that experts with limited places run out of them."""
    kinds = random_tokens((2, shape[-1]), dtype, device, seed=1)
    order = torch.randint(2, shape[:-1], generator=torch.Generator().manual_seed(2)).to(device)
    return kinds[order]


def agreement(
    expected: torch.Tensor,
    found: torch.Tensor,
    x: torch.Tensor,
    block: Callable[[torch.Tensor], torch.Tensor],
    bound: float,
) -> Agreement:
    """expected = block(x), found, x: [T, H]."""
    result = Agreement(bound, x.shape[0], 0, 0.0)
    if found.shape != expected.shape or found.dtype != expected.dtype:
        result.problem = f"it gives {_kind(found)} where the block gives {_kind(expected)}"
        return result
    if not torch.isfinite(expected).all():
        result.problem = "the block gives numbers that are not finite for random tokens"
        return result
    far = _distance(found, expected)
    apart = ~(far <= bound)
    for trial in range(_NEIGHBOURS):
        if not 0 < int(apart.sum()) <= _MOST_TIES * x.shape[0]:
            break
        rows = apart.nonzero().squeeze(1)
        near = _distance(found[rows], block(_neighbour(x, trial))[rows]) <= bound
        result.ties += int(near.sum())
        apart[rows[near]] = False
        far[rows[near]] = 0
    result.worst = float(far.max()) if far.numel() else 0.0
    if apart.any():
        result.problem = (
            f"{int(apart.sum())} of {x.shape[0]} random tokens differ from the block by up to {result.worst:.2g} of "
            f"their norm; the bound is {bound:.2g}"
        )
    elif float(far.square().mean().sqrt()) > bound / 2:
        result.problem = f"{x.shape[0]} random tokens together differ from the block by more than {bound / 2:.2g}"
    elif result.ties > _MOST_TIES * x.shape[0]:
        result.problem = f"{result.ties} of {x.shape[0]} random tokens agree only if they move by a rounding step"
    return result


def _distance(y: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    y, r = y.double(), r.double()
    norm = r.norm(dim=-1)
    difference = (y - r).norm(dim=-1)
    return torch.where(difference == 0, difference, difference / norm)


def _neighbour(x: torch.Tensor, seed: int) -> torch.Tensor:
    """Every element moved by at most one rounding step of its type, at random."""
    generator = torch.Generator().manual_seed(1000 + seed)
    step = torch.randint(-1, 2, x.shape, generator=generator).to(x.device)
    return (x.double() * (1 + step * torch.finfo(x.dtype).eps)).to(x.dtype)


def _kind(tensor: torch.Tensor) -> str:
    return f"{list(tensor.shape)} of {tensor.dtype}"
