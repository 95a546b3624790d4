# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A package and its weights as a module for inference."""

from __future__ import annotations

import os
import weakref
from typing import Any, Dict, Mapping, Optional, Union

import torch

from .._package import Package
from . import _ops


class Layer(torch.nn.Module):
    """y = layer(x), x [T, H] or [..., S, H] for sequences of S tokens. Has no parameters and no gradient.

    package  what moec.compile returned, or a package folder
    source   a checkpoint (path, and `prefix` before its tensors' names), or {role: tensor} as moec.Layer.pack takes it
    device   where x is: "cpu", "cuda:0", a torch.device
    threads  of a call on the CPU; None: torch.get_num_threads() at each call

    >>> layer = moec.torch.Layer(package, tensors)
    """

    def __init__(
        self,
        package: Union[Package, str, "os.PathLike[str]"],
        source: Union[str, "os.PathLike[str]", Mapping[str, Any]],
        prefix: str = "",
        *,
        device: Union[str, torch.device] = "cpu",
        threads: Optional[int] = None,
    ):
        super().__init__()
        made = package if isinstance(package, Package) else Package(package)
        kernels = _ops.Kernels(made, torch.device(device))
        layer = kernels.layer(threads or torch.get_num_threads())
        weights = layer.pack(source) if isinstance(source, Mapping) else layer.load(source, prefix)
        self._text = repr(layer)
        self._own(_ops.Call(kernels, weights, layer.name, threads))

    def _own(self, call: _ops.Call) -> None:
        self._call = call
        self._handle = _ops.register(call)
        weakref.finalize(self, _ops.release, self._handle)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.ops.moec.layer(x.reshape(-1, x.shape[-1]), self._handle, x.shape[-2] if x.dim() > 2 else 0)
        return y.view(x.shape)

    def extra_repr(self) -> str:
        return self._text

    def __deepcopy__(self, memo: Dict[int, Any]) -> "Layer":
        """Shares the packed weights, which never change."""
        copy = Layer.__new__(Layer)
        torch.nn.Module.__init__(copy)
        copy._text, copy.training = self._text, self.training
        copy._own(self._call)
        return copy

    def __reduce__(self) -> Any:
        raise TypeError("a moec.torch.Layer is not pickled; keep its package and checkpoint, and make it again")
