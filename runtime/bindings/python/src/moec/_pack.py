# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""{role: array} -> the moec_tensor structs that moec_weights_pack takes."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Tuple

from . import _errors, _native
from ._arrays import CPU, FLOATS, Device, kind_of, wrong_dtype

_FLOAT_TYPES = ("float32", "bfloat16", "float16")
_TABLE_TYPES = ("int32", "int64")


def tensor_structs(
    tensors: Mapping[str, Any], dtype: Optional[str], roles: Mapping[str, Tuple[int, ...]], device_of_layer: Device
) -> Tuple[Any, List[Any]]:
    """The structs, and the arrays that they point into. `dtype` is what arrays of uint16 hold."""
    if not isinstance(tensors, Mapping):
        raise _errors.error("MOEC_DTYPE", f"tensors is of type {type(tensors).__name__}, expected {{role: array}}")
    parts: List[Tuple[str, Any]] = []
    for role, array in tensors.items():
        _native.string("a role", role)
        if isinstance(array, (list, tuple)):
            parts += [(f"{role}.{expert}", part) for expert, part in enumerate(array)]
        else:
            parts.append((role, array))
    structs = (_native.Tensor * len(parts))()
    keeps: List[Any] = []  # copies, until they are packed
    for struct, (role, array) in zip(structs, parts):
        kind = kind_of(array, role)
        kind.check_readable(array, role)
        array = kind.contiguous(array)
        keeps.append(array)
        element, device, shape = kind.element(array, role, dtype), kind.device(array), tuple(array.shape)
        if role in roles and element not in (_TABLE_TYPES if role == "router.table" else _FLOAT_TYPES):
            expected, wanted = ("int32 or int64", "int32") if role == "router.table" else (FLOATS, "float32")
            raise wrong_dtype(role, element, expected, f"; pass {kind.conversion(role, wanted)}")
        if len(shape) > 4:
            raise _errors.error("MOEC_SHAPE", f"{role} has shape {shape}, expected at most 4 dimensions")
        if device not in (CPU, device_of_layer):
            kind.address(array, role, element, device_of_layer, dtype)
        struct.role = _native.text("role", role.encode())
        struct.dtype, struct.rank = _native.dtype_number(role, element), len(shape)
        struct.data = kind.address(array, role, element, device, dtype)
        struct.dims[: len(shape)] = shape
    return structs, keeps
