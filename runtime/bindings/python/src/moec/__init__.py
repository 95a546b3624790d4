# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled Mixture-of-Experts layers, called from Python.

    package = moec.compile("layer.json")                 # or a dict, or a preset's name; needs the program moec
    layer = moec.load(package)
    w = layer.load("checkpoint", "model.layers.3.")      # or layer.pack({role: array}), layer.map(file)
    y = layer(x, w)                                      # NumPy, torch, JAX, CuPy
    y, saved = layer.forward_saved(x, w)                 # a spec with "passes": ["forward", "backward"] trains:
    gradients = layer.backward(grad_y, saved)            # {"x": ..., "experts.gate": ...}

Errors are moec.MoecError, with a sentence, and the runtime's status or the compiler's code.
"""

from . import testing
from ._backward import Saved
from ._balance import Load, load_of_counts, next_capacity_factor, update_choice_bias
from ._bench import Timing, bench
from ._compile import compile
from ._errors import MoecError, MoecTypeError, MoecValueError
from ._layer import Layer
from ._load import load
from ._native import version
from ._package import Package
from ._pool import Pool
from ._program import program
from ._version import VERSION as __version__
from ._weights import Weights

__all__ = [
    "Layer",
    "Load",
    "MoecError",
    "MoecTypeError",
    "MoecValueError",
    "Package",
    "Pool",
    "Saved",
    "Timing",
    "Weights",
    "__version__",
    "bench",
    "compile",
    "load",
    "load_of_counts",
    "next_capacity_factor",
    "program",
    "testing",
    "update_choice_bias",
    "version",
]
