# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A package with a backward pass as a module that trains."""

from __future__ import annotations

import os
import weakref
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import torch

from .. import _errors
from .._package import Package
from . import _ops, _train_ops
from ._draws import INTS, Draws
from ._train import Trainable


class MoE(torch.nn.Module):
    """y = moe(x), x [T, H] or [..., S, H] for sequences of S tokens; with losses in the spec: y, losses = moe(x).

    package  what moec.compile returned for a spec with "passes": ["forward", "backward"], or its folder
    source   {name: tensor} with `prefix` before the names, such as the state_dict of a whole model; None: random
             parameters, each element uniform within 1 / sqrt(columns)
    device   where x is: "cpu", "cuda:0", a torch.device
    dtype    of the parameters: that of the packed weights (None), or torch.float32 beside a package of bfloat16
    threads  of a call on the CPU; None: torch.get_num_threads() at each call
    want     names of moec.Layer.outputs, returned as a dict behind y and losses: ("counts", "ids")

    Parameters have the names and shapes of the checkpoint that the spec's `weights` describe, so load_state_dict takes
    the layer's part of it, and state_dict gives it back. Those without a gradient (frozen ones, a choice bias) do not
    require one. They are packed again when a call finds that one was written.

    losses [n] float32 are the values of the spec's losses, in its order; d(total)/d(loss) is the coefficient:

    >>> moe = moec.torch.MoE(trained)
    >>> y, losses = moe(torch.randn(5, moe.hidden))
    >>> total = y.square().mean() + 0.01 * losses[0] + 0.001 * losses[1]
    >>> total.backward()
    >>> sorted(name for name, p in moe.named_parameters() if p.grad is not None)[-1]
    'router.weight'

    Inputs of the layer besides x are given by name, as to moec.Layer. What is random in training (noise, jitter, the
    masks of dropout, ...) is drawn from torch's generator in training mode, and changes nothing in evaluation, unless
    a call gives it; of a shared library without its folder calls in training give noise and masks. Second derivatives
    are refused.
    """

    def __init__(
        self,
        package: Union[Package, str, "os.PathLike[str]"],
        source: Optional[Mapping[str, torch.Tensor]] = None,
        prefix: str = "",
        *,
        device: Union[str, torch.device] = "cpu",
        dtype: Optional[torch.dtype] = None,
        threads: Optional[int] = None,
        want: Sequence[str] = (),
    ):
        super().__init__()
        made = package if isinstance(package, Package) else Package(package)
        place = torch.device(device)
        kernels = _ops.Kernels(made, place)
        layer = kernels.layer(threads or torch.get_num_threads())
        self._own(Trainable(kernels, layer.name, threads, (want,) if isinstance(want, str) else want))
        self._text, self.hidden, self.num_losses = repr(layer), layer.hidden, self._trainable.num_losses
        self._name, self._input_names = layer.name, layer.inputs
        columns = {name: self.hidden if name == "residual" else layer.columns(name) for name in layer.inputs}
        self._draws = Draws(Draws.spec_of(made), columns, layer._plan.slots)
        self._x_dtype: torch.dtype = getattr(torch, layer.x_dtype)
        short: torch.dtype = getattr(torch, layer._backward.weight_dtype)
        if dtype not in (None, short, torch.float32):
            text = f"dtype is {dtype}, expected torch.float32" + (f" or {short}" if short is not torch.float32 else "")
            raise _errors.error("MOEC_DTYPE", text)
        for name, shape in self._trainable.shapes.items():
            self._add(name, self._first_value(name, shape, dtype or short, place))
        if source is not None:
            self._take(source, prefix)

    def _own(self, trainable: Trainable) -> None:
        self._trainable = trainable
        self._handle = _train_ops.register(trainable)
        weakref.finalize(self, _train_ops.release, self._handle).atexit = False

    def _first_value(
        self, name: str, shape: Tuple[int, ...], dtype: torch.dtype, device: torch.device
    ) -> torch.Tensor:
        if self._ids(name):
            return torch.zeros(shape, dtype=torch.int64, device=device)
        if not self._trainable.trained[name] and len(shape) == 1:
            return torch.zeros(shape, dtype=torch.float32, device=device)
        bound = max(shape[-1] if shape else 1, 1) ** -0.5
        return torch.empty(shape, dtype=torch.float32, device=device).uniform_(-bound, bound).to(dtype)

    def _ids(self, name: str) -> bool:
        index = list(self._trainable.roles).index("router.table") if "router.table" in self._trainable.roles else -1
        return index >= 0 and name in self._trainable.plan.stored[index].names

    def _add(self, name: str, value: torch.Tensor) -> None:
        """A parameter (a buffer for ids) under a name with dots: in modules that are named by its parts."""
        *path, key = name.split(".")
        module: torch.nn.Module = self
        try:
            for part in path:
                if part not in module._modules:
                    module.add_module(part, torch.nn.Module())
                child: Any = module._modules[part]
                module = child
            if value.is_floating_point():
                module.register_parameter(key, torch.nn.Parameter(value, requires_grad=self._trainable.trained[name]))
            else:
                module.register_buffer(key, value)
        except KeyError as reason:
            text = f"no module can have a parameter {name}: {reason.args[0]}; name the tensor otherwise in the spec"
            raise _errors.error("MOEC_INVALID_ARGUMENT", text) from None

    def _take(self, source: Mapping[str, torch.Tensor], prefix: str) -> None:
        found = {name: source[prefix + name] for name in self._trainable.names if prefix + name in source}
        missing = [prefix + name for name in self._trainable.names if name not in found]
        if missing:
            more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise _errors.error("MOEC_MISSING_WEIGHT", f"source has no tensor {missing[0]}{more}")
        for name, tensor in found.items():
            if tuple(tensor.shape) != self._trainable.shapes[name]:
                text = f"{prefix}{name} has shape {tuple(tensor.shape)}, expected {self._trainable.shapes[name]}"
                raise _errors.error("MOEC_SHAPE", text)
        self.load_state_dict(found)

    def _tensors(self) -> List[torch.Tensor]:
        result = []
        for name in self._trainable.names:
            value: Any = self
            for part in name.split("."):
                value = getattr(value, part)
            result.append(value)
        return result

    def _inputs(self, x: torch.Tensor, given: Dict[str, Any], sequence: int) -> List[torch.Tensor]:
        """The layer's inputs in order, of T = all tokens of x."""
        tokens = x.shape[0]
        for name in given:
            if name not in self._input_names:
                takes = ", ".join(self._input_names) or "no inputs besides x"
                text = f"{name} is not an input of {self._name}, which takes {takes}"
                raise _errors.error("MOEC_INVALID_ARGUMENT", text)
        result = []
        for name in self._input_names:
            shape = self._draws.shape(name, tokens, sequence)
            dtype = torch.int32 if name in INTS else x.dtype if name == "residual" else torch.float32
            value = given.get(name)
            if value is None:
                value = self._draws.value(name, tokens, x.device, self.training, sequence)
            elif isinstance(value, int):
                value = torch.full((1,), value, dtype=torch.int32, device=x.device)
            size = 1
            for length in shape:
                size = size * length
            if value.numel() != size:
                text = f"{name} has shape {tuple(value.shape)}, expected {shape} for {tokens} tokens"
                raise _errors.error("MOEC_SHAPE", text)
            result.append(value.reshape(shape).to(dtype))
        return result

    def forward(self, x: torch.Tensor, *, tokens_per_sequence: Optional[int] = None, **inputs: Any) -> Any:
        if x.dtype is not self._x_dtype and torch.is_autocast_enabled(x.device.type):
            x = x.to(self._x_dtype)
        if x.dtype is not self._x_dtype:
            raise _errors.error(
                "MOEC_DTYPE", f"x is of {x.dtype}, expected {self._x_dtype}; pass x.to({self._x_dtype})"
            )
        if x.dim() < 2 or x.shape[-1] != self.hidden:
            raise _errors.error("MOEC_SHAPE", f"x has shape {tuple(x.shape)}, expected [..., {self.hidden}]")
        sequence = tokens_per_sequence or (x.shape[-2] if x.dim() > 2 else 0)
        rows = x.reshape(-1, self.hidden)
        given = self._inputs(rows, inputs, sequence)
        results = torch.ops.moec.train(rows, self._tensors(), given, self._handle, sequence)
        y = results[0].view(x.shape)
        if not self.num_losses and not self._trainable.want:
            return y
        found: List[Any] = [y]
        if self.num_losses:
            found.append(results[1])
        if self._trainable.want:
            found.append(dict(zip(self._trainable.want, results[3:])))
        return tuple(found)

    def extra_repr(self) -> str:
        return self._text

    def __deepcopy__(self, memo: Dict[int, Any]) -> "MoE":
        """Parameters of its own, the same package."""
        import copy

        made = MoE.__new__(MoE)
        memo[id(self)] = made
        torch.nn.Module.__init__(made)
        for name, value in self.__dict__.items():
            if name not in ("_trainable", "_handle"):
                made.__dict__[name] = copy.deepcopy(value, memo)
        old = self._trainable
        made._own(Trainable(old.kernels, old.name, old._threads, old.want))
        return made

    def __reduce__(self) -> Any:
        raise TypeError("a moec.torch.MoE is not pickled; save its state_dict, and make it again from its package")
