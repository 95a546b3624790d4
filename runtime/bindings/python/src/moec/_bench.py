# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times of calls on this machine's clock."""

from __future__ import annotations

import functools
import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

from . import _errors
from ._inputs import Maker
from ._layer import Layer
from ._weights import Weights

_ROUND_S = 0.02  # a round lasts about as long: far above the clock's resolution, short beside a disturbance


class Timing(NamedTuple):
    """name     "moec", or the name of a function of `against`
    tokens   T
    median   seconds of one call: the median of the rounds
    low, high
             the middle half of the rounds (quartiles), in seconds
    rounds   measurements, each the mean of `calls` calls
    """

    name: str
    tokens: int
    median: float
    low: float
    high: float
    rounds: int
    calls: int

    def __str__(self) -> str:
        times = [f"{1e6 * seconds:.1f}" for seconds in (self.median, self.low, self.high)]
        return f"{self.name:12} T {self.tokens:6}  {times[0]:>10} us  ({times[1]} .. {times[2]}, {self.rounds} rounds)"


def bench(
    layer: Layer,
    w: Weights,
    *,
    tokens: Sequence[int] = (1, 32, 512),
    against: Optional[Mapping[str, Callable[[Any], Any]]] = None,
    arrays: str = "numpy",
    seconds: float = 1.0,
    seed: int = 0,
) -> List[Timing]:
    """Times layer(x, w), and functions of x beside it, in turns.

    tokens   numbers of tokens T; x is standard normal, a new one for each T
    against  {name: function(x)}: other implementations of the layer, with weights of their own
    arrays   "numpy" or "torch": the kind of x. On a GPU every round ends when the device is done
    seconds  how long to measure each call in all

    The rounds of all calls take turns, so that a disturbance of the machine meets all of them. The time is that of a
    whole call from Python, with the new y. `moec bench` measures the kernels against the machine's ceilings.

    >>> [timing.tokens for timing in moec.bench(layer, w, tokens=(1, 8), seconds=0.01)]
    [1, 8]
    """
    if not tokens or any(count < 1 for count in tokens):
        raise _errors.error("MOEC_INVALID_ARGUMENT", f"tokens is {tuple(tokens)}, expected numbers of at least 1")
    maker = Maker(layer, arrays, seed)
    runs: Dict[Any, Callable[[], Any]] = {}
    for count in tokens:
        x, inputs = maker.x(count), maker.inputs(count)
        runs["moec", count] = functools.partial(layer, x, w, **inputs)
        for name, function in (against or {}).items():
            runs[name, count] = functools.partial(function, x)
    clock, wait = time.perf_counter, maker.wait
    calls: Dict[Any, int] = {}
    for key, run in runs.items():
        run()
        wait()
        start = clock()
        run()
        wait()
        calls[key] = max(1, int(_ROUND_S / max(clock() - start, 1e-7)))
    rounds: Dict[Any, List[float]] = {key: [] for key in runs}
    end = clock() + seconds * len(runs)
    while clock() < end or len(rounds[next(iter(rounds))]) < 3:
        for key, run in runs.items():
            repeat = range(calls[key])
            start = clock()
            for _ in repeat:
                run()
            wait()
            rounds[key].append((clock() - start) / calls[key])
    return [_timing(key, times, calls[key]) for key, times in rounds.items()]


def _timing(key: Any, times: List[float], calls: int) -> Timing:
    ordered = sorted(times)
    last = len(ordered) - 1
    low, median, high = (ordered[round(last * share)] for share in (0.25, 0.5, 0.75))
    return Timing(key[0], key[1], median, low, high, len(ordered), calls)
