# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Layers of experts of PyTorch models, run as compiled packages.

    report = moec.torch.accelerate(model)     # a model of transformers; print(report) names every layer
    model.generate(...)
    moec.torch.restore(model)

    layer = moec.torch.Layer(package, "checkpoint", "model.layers.3.")     # one layer, as a module
    y = layer(x)

    moe = moec.torch.MoE(package)             # of a spec with "passes": ["forward", "backward"]: a module that trains
    y, losses = moe(x)
"""

from ._accelerate import accelerate, restore
from ._check import BOUNDS, Agreement
from ._module import Layer
from ._moe import MoE
from ._report import BlockReport, Report

__all__ = ["BOUNDS", "Agreement", "BlockReport", "Layer", "MoE", "Report", "accelerate", "restore"]
