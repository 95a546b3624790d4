# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rules between training steps, on counts per expert (moec.h)."""

from __future__ import annotations

import ctypes
import numbers
from ctypes import POINTER, byref, c_double, c_float, c_int32
from typing import Any, NamedTuple

from . import _errors, _native
from ._arrays import CPU, kind_of
from ._native import check, lib


class Load(NamedTuple):
    """Statistics of the load f_e = counts_e / sum.

    total, dead_experts  sum of the counts; experts with count 0
    entropy              -sum f ln f, in nats; ln E if all counts are equal
    variation            standard deviation (population) of the counts over their mean
    max_share            the largest f
    """

    total: int
    dead_experts: int
    entropy: float
    variation: float
    max_share: float


def _vector(array: Any, name: str, dtype: str) -> int:
    kind = kind_of(array, name)
    if len(array.shape) != 1:
        raise _errors.error("MOEC_SHAPE", f"{name} has shape {tuple(array.shape)}, expected [E]")
    return kind.address(array, name, dtype, CPU, None)


def load_of_counts(counts: Any) -> Load:
    """counts [E] int32 on the CPU, rows or choices per expert -> their statistics; all zeros if the sum is 0.

    >>> moec.load_of_counts(numpy.array([4, 0, 2, 2], "int32"))[:2]
    (8, 1)
    """
    address, result = ctypes.cast(_vector(counts, "counts", "int32"), POINTER(c_int32)), _native.Load()
    check(lib.moec_load_of_counts(address, counts.shape[0], byref(result)))
    return Load(result.total, result.dead_experts, result.entropy, result.variation, result.max_share)


def update_choice_bias(bias: Any, counts: Any, rate: float, *, centre: bool = False) -> None:
    """Updates a router's choice bias [E] float32 in place: b_e += rate * sign(mean(counts) - counts_e), then, with
    centre, b_e -= mean(b). counts [E] int32 are the whole batch's choices before drops. Pack the weights again to use
    it.

    >>> bias = numpy.zeros(3, "float32")
    >>> moec.update_choice_bias(bias, numpy.array([3, 1, 2], "int32"), 0.5)
    >>> bias.tolist()
    [-0.5, 0.5, 0.0]
    """
    kind_of(bias, "bias").check_writable(bias, "bias")
    target = ctypes.cast(_vector(bias, "bias", "float32"), POINTER(c_float))
    source = ctypes.cast(_vector(counts, "counts", "int32"), POINTER(c_int32))
    if bias.shape[0] != counts.shape[0]:
        text = f"bias has {bias.shape[0]} elements and counts has {counts.shape[0]}, expected as many"
        raise _errors.error("MOEC_SHAPE", text)
    if not isinstance(rate, numbers.Real):
        raise _errors.error("MOEC_DTYPE", f"rate is of type {type(rate).__name__}, expected a float")
    check(lib.moec_update_choice_bias(target, source, counts.shape[0], float(rate), int(centre)))


def next_capacity_factor(counts: Any, factor: float) -> float:
    """The capacity factor of the next step, from the variation v of the load: v < 0.1 gives max(1.1, factor - 0.1),
    v > 0.5 gives min(3.0, factor + 0.1), anything else leaves it.

    >>> round(moec.next_capacity_factor(numpy.array([9, 0, 0], "int32"), 1.5), 3)
    1.6
    """
    result = c_double(factor)
    address = ctypes.cast(_vector(counts, "counts", "int32"), POINTER(c_int32))
    check(lib.moec_next_capacity_factor(address, counts.shape[0], byref(result)))
    return result.value
