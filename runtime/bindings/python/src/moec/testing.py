# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A layer beside a function that somebody else wrote."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Union

from . import _errors
from ._arrays import kind_of
from ._inputs import Maker, unit
from ._layer import Layer
from ._weights import Weights

__all__ = ["Comparison", "Row", "compare"]

_TRIES = 4  # calls with the last bits of x and of the router changed, to find tokens whose choice is a tie


class Row(NamedTuple):
    """tokens  T of the call
    error   the largest error of a row, |y - function's y| over the row's largest |function's y|
    ties    rows that were left out, because their choice of experts changes with the last bits of x and of the router
    """

    tokens: int
    error: float
    ties: int


class Comparison(NamedTuple):
    """rows   one for each number of tokens
    bound  what error is allowed
    error  the largest error
    """

    rows: List[Row]
    bound: float
    error: float

    def __str__(self) -> str:
        calls = "; ".join(f"T {r.tokens}: {r.error:.2g}" + (f", {r.ties} ties" if r.ties else "") for r in self.rows)
        return f"error {self.error:.2g} of at most {self.bound:.2g} ({calls})"


def compare(
    layer: Layer,
    function: Callable[..., Any],
    *,
    tokens: Sequence[int] = (1, 7, 64),
    weights: Union[None, Weights, Mapping[str, Any]] = None,
    inputs: Optional[Callable[[int], Mapping[str, Any]]] = None,
    bound: Optional[float] = None,
    arrays: str = "numpy",
    seed: int = 0,
) -> Comparison:
    """Calls the layer and a function with the same random x, and compares every row of y.

    function  function(x, tensors, **inputs) -> y [T, H]: tensors is {role: array}. With weights that are moec.Weights
              already it is called without tensors: function(x, **inputs)
    tokens    numbers of tokens T
    weights   {role: array}, or moec.Weights. None: random ones
    inputs    inputs(T) -> {name: array} for the layer's inputs besides x. None: random ones
    bound     the largest error of a row, relative to the largest |y| of the function's row. None:
              8 * (u + sqrt(H) * 2^-24), u the relative error of rounding to the type of x: 2^-8 for bfloat16, 2^-11 for
              float16, 2^-24 for float32
    arrays    "numpy": the function gets float32 arrays, which hold values of the layer's type exactly;
              "torch": tensors of the layer's type, on its device

    A row whose choice of experts changes with the last bits of x and of the router's tensors is a tie and is not
    compared, if the layer can say its choice (output "ids"); if only ties are left, the comparison fails. With
    moec.Weights only x can be changed. y is full of NaN before the call, so that a
    value that was not written is found. Raises AssertionError with the place of the largest error.

    >>> def dense(x, tensors):
    ...     scores = x @ tensors["router.weight"].T
    ...     first = numpy.argsort(-scores, axis=1)[:, :2]
    ...     chosen = numpy.exp(numpy.take_along_axis(scores, first, 1))
    ...     chosen /= chosen.sum(axis=1, keepdims=True)
    ...     gate, up, down = (tensors["experts." + role] for role in ("gate", "up", "down"))
    ...     y = numpy.zeros_like(x)
    ...     for t, k in numpy.ndindex(first.shape):
    ...         e = first[t, k]
    ...         g = gate[e] @ x[t]
    ...         y[t] += chosen[t, k] * (down[e] @ (g / (1 + numpy.exp(-g)) * (up[e] @ x[t])))
    ...     return y
    >>> moec.testing.compare(layer, dense).error < 1e-5
    True
    """
    if not tokens:
        raise _errors.error("MOEC_INVALID_ARGUMENT", f"tokens is {tokens!r}, expected numbers of tokens")
    maker = Maker(layer, arrays, seed)
    np = maker.np
    if bound is None:
        bound = 8 * (unit(layer.x_dtype) + math.sqrt(layer.hidden) * 2.0**-24)
    arguments: List[Any] = []
    tensors: Mapping[str, Any] = {}
    if isinstance(weights, Weights):
        packed, others = weights, [weights] * _TRIES
    else:
        tensors = dict(weights) if weights is not None else maker.tensors()
        packed = layer.pack(tensors)
        others = [layer.pack(_moved_router(maker, tensors)) for _ in range(_TRIES)] if "ids" in layer.outputs else []
        arguments = [tensors if arrays == "numpy" else {role: _tensor(maker, tensors[role]) for role in tensors}]
    rows = []
    for count in tokens:
        values = maker.rounded(maker.normal(count, layer.hidden))
        given = dict(inputs(count)) if inputs is not None else maker.inputs(count)
        x = maker.native(values)
        found = _poisoned_call(layer, packed, x, given)
        expected = _float64(maker, function(values if arrays == "numpy" else x, *arguments, **given))
        if expected.shape != found.shape:
            raise AssertionError(f"T {count}: the function returned shape {expected.shape}, expected {found.shape}")
        ties = _ties(maker, packed, others, values, given)
        rows.append(_compare(np, count, found, expected, ties, bound))
    return Comparison(rows, bound, max(row.error for row in rows))


def _tensor(maker: Maker, values: Any) -> Any:
    if maker.torch is None or not isinstance(values, maker.np.ndarray):
        return values
    tensor = maker.torch.from_numpy(values).to(maker.layer.device)
    return tensor.to(getattr(maker.torch, maker.layer.x_dtype)) if values.dtype.kind == "f" else tensor


def _float64(maker: Maker, array: Any) -> Any:
    if maker.torch is not None and isinstance(array, maker.torch.Tensor):
        array = array.detach().to("cpu", maker.torch.float64).numpy()
    return maker.np.asarray(array).astype("float64")


def _poisoned_call(layer: Layer, packed: Weights, x: Any, given: Mapping[str, Any]) -> Any:
    kind = kind_of(x, "x")
    y = kind.empty(tuple(x.shape), layer.y_dtype, x, None)
    kind.fill(y, float("nan"))
    layer(x, packed, out=y, **given)
    return _host(y)


def _host(array: Any) -> Any:
    """Any array that a layer returned -> float64 of NumPy."""
    import numpy

    if hasattr(array, "detach"):
        array = array.detach().cpu()
        return array.double().numpy() if array.is_floating_point() else array.numpy()
    return numpy.asarray(array).astype("float64")


def _moved(maker: Maker, values: Any) -> Any:
    """float32 values, each changed by some units in the last place of x's type."""
    dtype = maker.layer.x_dtype
    step = maker.np.float32(4 * unit(dtype) if dtype == "float32" else unit(dtype))
    return (values * (1 + step * maker.random.choice([-1.0, 1.0], values.shape))).astype("float32")


def _moved_router(maker: Maker, tensors: Mapping[str, Any]) -> Dict[str, Any]:
    """The tensors, those of the router changed in their last bits."""
    result = dict(tensors)
    for role, values in tensors.items():
        if role.startswith("router.") and isinstance(values, maker.np.ndarray) and values.dtype == "float32":
            result[role] = _moved(maker, values)
    return result


def _ties(maker: Maker, packed: Weights, others: List[Weights], values: Any, given: Mapping[str, Any]) -> Any:
    """Whether each row's choice of experts changes with the last bits of its numbers."""
    layer, np = maker.layer, maker.np
    result = np.zeros(len(values), bool)
    if "ids" not in layer.outputs:
        return result
    chosen = np.sort(_host(layer(maker.native(values), packed, want="ids", **given)[1]), axis=1)
    for other in others:
        moved = maker.native(maker.rounded(_moved(maker, values)))
        again = np.sort(_host(layer(moved, other, want="ids", **given)[1]), axis=1)
        result |= (again != chosen).any(axis=1)
    return result


def _compare(np: Any, count: int, found: Any, expected: Any, ties: Any, bound: float) -> Row:
    compared = ~ties[:, None]
    for bad in (np.isfinite(expected) & ~np.isfinite(found) & compared, ~np.isfinite(found) & compared):
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise AssertionError(
                f"T {count}: y[{row}, {column}] is {found[row, column]}, or was not written; "
                f"the function has {expected[row, column]:.6g}"
            )
    bad = ~np.isfinite(expected) & compared
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise AssertionError(
            f"T {count}: y[{row}, {column}] is {found[row, column]:.6g}, the function has {expected[row, column]}"
        )
    size = np.abs(expected).max(axis=1, keepdims=True)
    errors = np.abs(found - expected) / np.where(size > 0, size, 1)
    errors[ties] = 0
    if count and ties.all():
        raise AssertionError(f"T {count}: nothing was compared, the choice of every token is a tie")
    worst = float(errors.max()) if errors.size else 0.0
    if not worst <= bound:
        row, column = np.unravel_index(int(np.nanargmax(errors)), errors.shape)
        raise AssertionError(
            f"T {count}: y[{row}, {column}] is {found[row, column]:.6g}, the function has {expected[row, column]:.6g}; "
            f"error {worst:.3g} of the row's largest |y|, at most {bound:.3g}"
        )
    return Row(count, worst, int(ties.sum()))
