# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Gradients of a block beside those of the layer that replaces it, for random dy.

Each gradient, of the hidden states and of every parameter, is compared as a whole: |g - r| <= bound * |r|. Backward
rounds about as often as forward on its way back through the same matrices, so the bound is twice that of values
(_check.BOUNDS). Tokens whose values differ chose other experts, because theirs are equally good up to rounding: their
dy is 0.
"""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Sequence, Tuple

import torch

from .. import _errors
from ._record import hidden_of

_TINY = 1e-30


def compare(
    module: torch.nn.Module,
    call: Callable[[torch.Tensor, int], torch.Tensor],
    x: torch.Tensor,
    sequence: int,
    slots: Sequence[Tuple[torch.nn.Module, str]],
    bound: float,
) -> float:
    """The largest |g - r| / |r|; MoecError if one is beyond the bound, or a parameter is missing in the layer."""
    taken = {id(getattr(owner, key)) for owner, key in slots}
    names: List[str] = ["hidden states"]
    parameters: List[torch.Tensor] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            names.append(name)
            parameters.append(parameter)
    with torch.enable_grad():
        own, other = (x.detach().clone().requires_grad_() for _ in range(2))
        expected = hidden_of(module(own), own).reshape(-1, x.shape[-1])
        found = call(other.reshape(-1, x.shape[-1]), sequence)
        dy = _random_like(expected)
        with torch.no_grad():
            apart = (found - expected).double().norm(dim=-1) > bound * expected.double().norm(dim=-1)
            dy[apart] = 0
        wanted = torch.autograd.grad(expected, [own, *parameters], dy, allow_unused=True)
        given = torch.autograd.grad(found, [other, *parameters], dy, allow_unused=True)
    worst: Dict[str, float] = {}
    for name, g, r, parameter in zip(names, given, wanted, [None, *parameters]):
        worst[name] = _distance(g, r)
        if parameter is not None and id(parameter) not in taken and worst[name] > 0:
            raise _errors.MoecError(f"its compiled form has no gradient of {name}")
        if not worst[name] <= bound:
            raise _errors.MoecError(
                f"its compiled form has other gradients: that of {name} differs by {worst[name]:.2g} of its norm; the "
                f"bound is {bound:.2g}"
            )
    return max(worst.values())


def _random_like(y: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(y.shape, generator=generator).to(device=y.device, dtype=y.dtype)


def _distance(g: Optional[torch.Tensor], r: Optional[torch.Tensor]) -> float:
    if g is None or r is None:
        rest = g if r is None else r
        return 0.0 if rest is None or not rest.any() else float("inf")
    r64 = r.double()
    return float((g.double() - r64).norm() / r64.norm().clamp_min(_TINY))
