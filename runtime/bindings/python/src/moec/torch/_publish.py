# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Parameters of modules -> tensors under the names of published checkpoints -> a safetensors image in memory.

transformers loads a checkpoint into modules of another shape (experts stacked, halves joined) and undoes that when it
saves. The same reverse conversion gives every tensor its published name here, so that each storage form that a spec's
`weights` can describe is read by the runtime as from the published file.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Tuple

import torch

_SAFETENSORS = {
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int64: "I64",
    torch.int32: "I32",
}

Tensors = Dict[str, torch.Tensor]
Naming = Callable[[torch.nn.Module, Mapping[str, torch.Tensor]], Tensors]


def tensors_of(name: str, module: torch.nn.Module) -> Tensors:
    """Parameters and buffers of `module` that a checkpoint has, by their names in the whole model."""
    return module.state_dict(prefix=name + "." if name else "")


def published(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """`tensors` of `model`, named as modules -> the same as the published checkpoint names and shapes them.

    A model that is not of transformers, or of a version that loads checkpoints as they are, keeps its names.
    """
    try:
        from transformers.core_model_loading import revert_weight_conversion
    except ImportError:
        return dict(tensors)
    if not hasattr(model, "config"):
        return dict(tensors)
    return revert_weight_conversion(model, dict(tensors))


def as_modules(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """`tensors` of `model` as its modules name and shape them, which some checkpoints do too."""
    return dict(tensors)


def renamed(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """`tensors` of `model` as its modules shape them, under their published names where publishing does no more than
    rename them."""
    own = {id(tensor): name for name, tensor in tensors.items()}
    found = {name: tensor for name, tensor in published(model, tensors).items() if id(tensor) in own}
    moved = {own[id(tensor)] for tensor in found.values()}
    return {**{name: tensor for name, tensor in tensors.items() if name not in moved}, **found}


NAMINGS: Tuple[Naming, ...] = (published, as_modules)
IN_PLACE: Tuple[Naming, ...] = (as_modules, renamed)  # those that give the tensors of modules, not others made of them


def numbered(wanted: str, count: int) -> List[str]:
    """The names of `count` tensors if `{e}` stands for their number, else the one name."""
    return [wanted.replace("{e}", str(e)) for e in range(count)] if "{e}" in wanted else [wanted]


def common_prefixes(names: Iterable[str], wanted: Iterable[str], prefer: str) -> Tuple[str, ...]:
    """Every text P such that P + w is among `names` for each w of `wanted`; `prefer` comes first if it is one."""
    names = list(names)
    found = None
    for pattern in map(_pattern, dict.fromkeys(wanted)):
        here = {m.group(1) for m in map(pattern.fullmatch, names) if m}
        found = here if found is None else found & here
        if not found:
            return ()
    return tuple(sorted(found or (), key=lambda p: (p != prefer, p)))


def _pattern(wanted: str) -> "re.Pattern[str]":
    return re.compile(r"((?:.*\.)?)" + re.escape(wanted).replace(re.escape("{e}"), r"\d+"))


@contextlib.contextmanager
def safetensors_image(tensors: Mapping[str, torch.Tensor]) -> Iterator[str]:
    """The path of a safetensors file that lives in memory until the block ends."""
    header, begin = {}, 0
    for name, tensor in tensors.items():
        if tensor.dtype not in _SAFETENSORS:
            raise TypeError(f"{name} has type {tensor.dtype}; moec reads f32, bf16, f16, i32 and i64")
        end = begin + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _SAFETENSORS[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file = os.memfd_create("moec-weights", os.MFD_CLOEXEC)
    try:
        _write(file, len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            host = tensor.detach().to("cpu").resolve_neg().contiguous()
            if host.numel():
                _write(file, host.view(-1).view(torch.uint8).numpy())
        yield f"/proc/self/fd/{file}"
    finally:
        os.close(file)


def _write(file: int, data: Any) -> None:
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(file, view[: 1 << 30]) :]
