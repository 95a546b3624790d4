# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Random arguments of a layer's calls, from a seed. Needs NumPy."""

from __future__ import annotations

from typing import Any, Dict

from . import _errors
from ._layer import Layer

_UNITS = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


def unit(dtype: str) -> float:
    """The relative error of rounding to a type."""
    return _UNITS[dtype]


class Maker:
    """arrays  "numpy": float32 arrays for functions, and what the layer takes for the layer; "torch": tensors"""

    def __init__(self, layer: Layer, arrays: str, seed: int) -> None:
        if arrays not in ("numpy", "torch"):
            raise _errors.error("MOEC_INVALID_ARGUMENT", f'arrays is {arrays!r}, expected "numpy" or "torch"')
        import numpy

        self.np, self.layer, self.arrays = numpy, layer, arrays
        self.random = numpy.random.default_rng(seed)
        self.torch: Any = None
        if arrays == "torch" or layer.device != "cpu":
            import torch

            self.torch = torch

    def rounded(self, values: Any) -> Any:
        """float32 values that x's type has exactly."""
        if self.layer.x_dtype == "bfloat16":
            bits = values.view("uint32")
            return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype("uint32").view("float32")
        return values.astype(self.layer.x_dtype).astype("float32")

    def native(self, values: Any) -> Any:
        """float32 values -> an array that the layer takes as x."""
        dtype = self.layer.x_dtype
        if self.torch is not None:
            return self.torch.from_numpy(values).to(self.layer.device, getattr(self.torch, dtype))
        if dtype == "bfloat16":
            return (values.view("uint32") >> 16).astype("uint16").view(_bfloat16())
        return values.astype(dtype)

    def normal(self, *shape: int) -> Any:
        return self.random.standard_normal(shape, "float32")

    def x(self, tokens: int) -> Any:
        return self.native(self.rounded(self.normal(tokens, self.layer.hidden)))

    def tensors(self) -> Dict[str, Any]:
        """A value for every role: standard normal over the square root of its last dimension; tables count upwards."""
        result: Dict[str, Any] = {}
        for role, shape in self.layer.roles.items():
            if role == "router.table":
                result[role] = self.random.integers(0, self.layer.num_experts, shape).astype("int32")
            else:
                result[role] = self.rounded(self.normal(*shape) / self.np.float32(max(shape[-1], 1)) ** 0.5)
        return result

    def inputs(self, tokens: int) -> Dict[str, Any]:
        """A value for every input of the layer besides x, whose tokens are one sequence."""
        layer, np, random = self.layer, self.np, self.random
        result: Dict[str, Any] = {}
        for name in layer.inputs:
            columns = layer.columns(name)
            if name == "residual":
                result[name] = self.native(self.rounded(self.normal(tokens, layer.hidden)))
            elif name == "noise":
                result[name] = self.normal(tokens, columns)
            elif name in ("hidden_mask", "output_mask"):  # dropout of one in two
                result[name] = (random.random(layer.input_shape(name, tokens), "float32") < 0.5).astype("float32") * 2
            elif name in ("expert_mask", "midpoint_mask"):
                result[name] = (random.random((tokens, columns), "float32") < 0.8).astype("float32")
            elif name in ("jitter", "replace"):
                result[name] = random.random((tokens, columns), "float32")
            elif name == "replace_ids":
                result[name] = random.integers(0, layer.num_experts, (tokens, columns)).astype("int32")
            elif name in ("uniform", "priority"):
                result[name] = random.random(tokens, "float32")
            elif name == "expert_weights":
                result[name] = random.random((tokens, columns), "float32")
            elif name == "expert_ids":
                order = random.random((tokens, max(layer.num_experts, columns))).argsort(axis=1)
                result[name] = order[:, :columns].astype("int32")
            elif name == "token_ids":
                rows = layer.roles.get("router.table", (1,))[0]
                result[name] = random.integers(0, rows, tokens).astype("int32")
            elif name == "group_ids":
                result[name] = np.zeros(tokens, "int32")
            elif name == "top_k":
                result[name] = layer.top_k
            else:
                result[name] = max(1, -(-tokens * layer.top_k // max(layer.num_experts, 1)))
        if self.torch is None:
            return result
        to = self.torch.as_tensor
        return {k: v if isinstance(v, int) else to(v).to(layer.device) for k, v in result.items()}

    def wait(self) -> None:
        """Until the device is done."""
        if self.layer.device != "cpu":
            self.torch.cuda.synchronize(self.layer.device)


def _bfloat16() -> Any:
    try:
        import ml_dtypes
    except ImportError:
        raise _errors.error(
            "MOEC_DTYPE", 'the layer is of bfloat16: install ml_dtypes, or use arrays="torch"'
        ) from None
    return ml_dtypes.bfloat16
