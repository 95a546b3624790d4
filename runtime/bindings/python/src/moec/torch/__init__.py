# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Models of transformers whose layers of experts run as compiled packages.

    import moec.torch
    print(moec.torch.accelerate(model))
    model.generate(...)
"""

from ._accelerate import accelerate, restore
from ._check import BOUNDS, Agreement
from ._report import BlockReport, Report

__all__ = ["BOUNDS", "Agreement", "BlockReport", "Report", "accelerate", "restore"]
