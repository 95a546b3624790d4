# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled Mixture-of-Experts layers, called from Python."""

from ._compile import compile
from ._errors import MoecError, MoecTypeError, MoecValueError
from ._layer import Layer, Weights, load
from ._package import Package
from ._version import VERSION as __version__

__all__ = ["Layer", "MoecError", "MoecTypeError", "MoecValueError", "Package", "Weights", "compile", "load"]
