# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""accelerate(model) and restore(model): a model's layers of experts run by compiled packages, and as before."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import os
import pathlib
import tempfile
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple, Union

import torch

from .. import _errors, _program
from .._compile import compile as compile_spec
from .._package import Package
from . import _check, _check_gradients, _ops, _replace, _train_ops
from ._blocks import Block, Finder, dtype_of
from ._draws import Draws
from ._import import Group, Importer, Spec
from ._publish import IN_PLACE, NAMINGS, safetensors_image
from ._record import CannotReplace, hidden_of, record
from ._report import BlockReport, Report
from ._train import Trainable


def accelerate(
    model: torch.nn.Module,
    *,
    packages: Union[None, str, "os.PathLike[str]"] = None,
    threads: Optional[int] = None,
    tolerance: Optional[Mapping[torch.dtype, float]] = None,
    strict: bool = False,
    release_weights: bool = False,
    train: bool = False,
) -> Report:
    """Replaces the layers of experts of a transformers model by compiled ones, and says what it did.

    Each layer's spec comes from `model.config` (`moec import hf`); equal specs are compiled once. Every block is
    compared with what replaces it, on random tokens; one that differs, or that moec cannot compile, stays as it was,
    and the report says why. Autocast, other types and, without `train`, training and gradients run as before too, call
    by call.

    packages         a folder for the compiled packages; None: that of moec.compile
    threads          of a call; None: torch.get_num_threads() at each call
    tolerance        type -> largest |y - r| / |r| of a token, in place of moec.torch.BOUNDS
    strict           raise MoecError instead of leaving a block as it was; the model is then as before
    release_weights  give back the memory of the weights that were packed, block by block, with strict at the end. The
                     model can then neither be restored nor saved, nor run without moec.
    train            layers that train: gradients of hidden states and parameters, which are compared too. Parameters
                     stay where they are, for any optimizer, and are packed again at the first call after a step
    """
    report = Report()
    try:
        if not isinstance(model, torch.nn.Module):
            raise _errors.error("MOEC_DTYPE", f"model is of type {type(model).__name__}, expected a torch.nn.Module")
        if train and release_weights:
            text = "train needs the weights that release_weights would give back; choose one of them"
            raise _errors.error("MOEC_INVALID_ARGUMENT", text)
        restore(model)
        if model.training and not train:
            hint = "call model.eval() first, or pass train=True"
            raise _errors.MoecError(f"the model is in training mode; {hint}")
        if not hasattr(getattr(model, "config", None), "to_json_string"):
            raise _errors.MoecError("the model has no config of transformers")
        importer = Importer(model.config)
        groups = importer.groups()
        if not groups:
            raise _errors.MoecError("the config says that no layer has experts")
    except _errors.MoecError as reason:
        if strict:
            raise
        report.problem = str(reason)
        return report
    builder = _Builder(model, importer, packages, threads, {**_check.BOUNDS, **(tolerance or {})}, train)
    for group in groups:
        for layer in group.layers:
            report.blocks += builder.layer(group, layer)
            if release_weights and not strict:
                builder.release()
    if strict and report.kept:
        restore(model)
        raise _errors.MoecError("; ".join(map(str, report.kept)))
    if release_weights:
        builder.release()
        builder.refuse_saving()
    return report


def restore(model: torch.nn.Module) -> None:
    """Undoes accelerate. MoecError if weights were released: then only loading the model again brings them back."""
    states = [m.__dict__[_replace.STATE] for m in model.modules() if _replace.STATE in m.__dict__]
    released = next((s for s in states if s.released), None)
    if released is not None:
        raise _errors.MoecError(f"the weights of {released.name} were released; load the model again")
    for module in model.modules():
        _replace.put_back(module)


class _Builder:
    """Replaces one layer after another."""

    def __init__(
        self,
        model: torch.nn.Module,
        importer: Importer,
        packages: Union[None, str, "os.PathLike[str]"],
        threads: Optional[int],
        bounds: Mapping[torch.dtype, float],
        train: bool,
    ):
        self._model = model
        self._importer = importer
        self._finder = Finder(model)
        self._packages = pathlib.Path(packages) if packages is not None else None
        self._threads = threads
        self._bounds = bounds
        self._train = train
        self._kernels: Dict[Tuple[str, torch.device], _ops.Kernels] = {}
        self._packed: List[torch.nn.Module] = []  # blocks that still have their own weights too
        self._released: List[torch.nn.Module] = []  # blocks that have them no more

    def layer(self, group: Group, layer: int) -> List[BlockReport]:
        """One layer's block replaced, or why not."""
        failed: List[BlockReport] = []
        for stacked in (False, True):
            try:
                blocks = self._finder.find(
                    layer,
                    lambda dtype: self._importer.spec(group, dtype, stacked),
                    group.prefix_of(layer),
                    IN_PLACE if self._train else NAMINGS,  # gradients go to the tensors of modules
                )
            except Exception as reason:  # of the importer, or of transformers' conversion of names
                if not stacked:  # not every family has experts that are stacked after loading
                    failed.append(BlockReport(f"layer {layer}", layer, False, _sentence(reason)))
                continue
            for block in blocks:
                if _replace.STATE in block.module.__dict__:
                    continue
                try:
                    return [self._training(block) if self._train else self._replaced(block)]
                except Exception as reason:  # also of the model's code, or of weights that are not in memory
                    failed.append(BlockReport(block.name, layer, False, _sentence(reason)))
        if not failed:
            where = f"layer {layer} of the decoder" if group.decoder else f"layer {layer}"
            failed.append(BlockReport(where, layer, False, "no module has the tensors that its spec names"))
        return failed[:1]

    def _replaced(self, block: Block) -> BlockReport:
        module, spec = block.module, block.spec
        dtype, device, hidden = dtype_of(module), next(module.parameters()).device, spec["hidden"]
        kernels = self._kernels_of(spec, device)
        layer = kernels.layer(self._threads or torch.get_num_threads())
        with safetensors_image(block.tensors(self._model)) as image:
            weights = layer.load(image, block.prefix)
        call = _ops.Call(kernels, weights, block.name, self._threads)
        sequences = _looks_at_sequences(spec)
        x = _check.random_tokens((2, _check.TOKENS // 2, hidden), dtype, device)
        with torch.no_grad():
            recorded = record(module, x)
            checked = self._checked(module, call, x, sequences)
            if sequences and checked:
                self._checked(module, call, _check.repeated_tokens((2, 512, hidden), dtype, device), sequences)
        state = _replace.State(block.name, None, dtype, device, x.dim(), recorded, sequences)
        call.watch = _ops.Watch(module)
        state.handle = _ops.register(call)
        _replace.replace(module, state)
        self._packed.append(module)
        return BlockReport(block.name, block.layer, True, "", os.fspath(kernels.package), checked, weights.nbytes)

    def _training(self, block: Block) -> BlockReport:
        """As _replaced, with a layer that takes the block's tensors at each call, and gives their gradients."""
        module, spec = block.module, {**block.spec, "passes": ["forward", "backward"]}
        dtype, device, hidden = dtype_of(module), next(module.parameters()).device, spec["hidden"]
        kernels = self._kernels_of(spec, device)
        layer = kernels.layer(self._threads or torch.get_num_threads())
        trainable = Trainable(kernels, block.name, self._threads)
        _same_dropout(module, spec)
        columns = {name: layer.columns(name) for name in layer.inputs}
        draws = Draws(spec, columns, layer._plan.slots)
        slots = block.slots(self._model, trainable.names)
        trainable.check({name: getattr(owner, key) for name, (owner, key) in zip(trainable.names, slots)})
        sequences = _looks_at_sequences(spec)
        x = _check.random_tokens((2, _check.TOKENS // 2, hidden), dtype, device)

        def call(flat: torch.Tensor, sequence: int) -> torch.Tensor:
            tensors = [getattr(owner, key) for owner, key in slots]
            drawn = draws.values(layer.inputs, flat.shape[0], flat.device, False, sequence)
            y: torch.Tensor = torch.ops.moec.train(flat, tensors, drawn, handle, sequence)[0]
            return y

        handle = _train_ops.register(trainable)
        try:
            with _in_evaluation(module):  # what is random in training would differ
                with torch.no_grad():
                    recorded = record(module, x)
                    checked = self._checked(module, call, x, sequences)
                gradients = _check_gradients.compare(
                    module, call, x, x.shape[1] if sequences else 0, slots, 2 * self._bounds[dtype]
                )
            state = _replace.State(
                block.name, handle, dtype, device, x.dim(), recorded, sequences, tensors=slots, draws=draws,
                inputs=tuple(layer.inputs)
            )
            _replace.replace(module, state)
        except BaseException:
            _train_ops.release(handle)
            raise
        nbytes, package = trainable.layer().weights_nbytes, os.fspath(trainable.kernels.package)
        return BlockReport(block.name, block.layer, True, "", package, checked, nbytes, gradients)

    def release(self) -> None:
        """Frees the weights that only packed layers need now: not those of parts that may be called again, nor those
        that other modules have too."""
        everywhere = self._model.named_modules(remove_duplicate=False)
        owners = collections.Counter(id(p) for _, module in everywhere for p in module._parameters.values())
        for module in self._packed:
            state: _replace.State = module.__dict__[_replace.STATE]
            needed = {id(p) for part in state.recorded.parts for p in part.module.parameters()}
            for parameter in module.parameters():
                if id(parameter) not in needed and owners[id(parameter)] == 1:
                    parameter.data = parameter.data.new_empty(0)
            state.released = True
            assert state.handle is not None
            _ops.call_of(state.handle).watch = _ops.Watch(module)
            _ops.call_of(state.handle).released = True
            self._released.append(module)
        self._packed.clear()

    def refuse_saving(self) -> None:
        """From here on a state_dict with released weights is refused. Not earlier: the search for blocks reads names by
        it."""
        for module in self._released:
            module.register_state_dict_pre_hook(_replace.refuse_state)

    def _checked(
        self,
        module: torch.nn.Module,
        call: Callable[[torch.Tensor, int], torch.Tensor],
        x: torch.Tensor,
        sequences: bool,
    ) -> _check.Agreement:
        """Compares the block with the call that replaces it; MoecError if they differ."""

        def own(changed: torch.Tensor) -> torch.Tensor:
            return hidden_of(module(changed.reshape(x.shape)), x).reshape(-1, x.shape[-1])

        flat = x.reshape(-1, x.shape[-1])
        found = call(flat, x.shape[1] if sequences else 0)
        checked = _check.agreement(own(x.clone()), found, flat, own, self._bounds[x.dtype])
        if not checked:
            raise _errors.MoecError(f"its compiled form computes something else: {checked.problem}")
        return checked

    def _kernels_of(self, spec: Spec, device: torch.device) -> _ops.Kernels:
        text = json.dumps(spec, sort_keys=True)
        if (text, device) not in self._kernels:
            self._kernels[text, device] = _ops.Kernels(self._package(spec, text, device), device)
        return self._kernels[text, device]

    def _package(self, spec: Spec, text: str, device: torch.device) -> Package:
        target = device.type
        if self._packages is None:
            return compile_spec(spec, target=target)
        key = hashlib.sha256(f"{text} {target} {_program.identity()}".encode()).hexdigest()[:16]
        folder = self._packages / f"{spec['name']}-{key}"
        if not folder.exists():
            self._packages.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._packages) as work:
                made = pathlib.Path(work) / "package"
                compile_spec(spec, made, target=target)
                try:
                    made.rename(folder)
                except OSError:  # another process made the same one meanwhile
                    if not folder.exists():
                        raise
        return Package(folder)


def _sentence(reason: Exception) -> str:
    """What an error says, with its kind if moec did not write it."""
    own = isinstance(reason, (_errors.MoecError, CannotReplace))
    return str(reason) if own else f"{type(reason).__name__}: {reason}"


def _looks_at_sequences(spec: Spec) -> bool:
    """Whether a token's output depends on the other tokens of its sequence."""
    kind = spec["router"].get("kind", "token_choice")
    return "capacity" in spec or kind in ("expert_choice", "soft", "depth")


@contextlib.contextmanager
def _in_evaluation(module: torch.nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _same_dropout(module: torch.nn.Module, spec: Spec) -> None:
    """CannotReplace: the block drops values in training that its compiled form keeps, or the reverse."""
    experts: Mapping[str, Any] = spec["experts"]
    known = {float(experts.get(key, {}).get("p", 0)) for key in ("hidden_dropout", "output_dropout")} - {0.0}
    found = {}
    for name, part in module.named_modules():
        if isinstance(part, torch.nn.modules.dropout._DropoutNd) and part.p > 0:
            found[float(part.p)] = name
    for p, name in found.items():
        if p not in known:
            raise CannotReplace(f"{name} drops values in training, which its compiled form does not")
    if known - set(found):
        raise CannotReplace("its compiled form drops values in training, which the block does not")
