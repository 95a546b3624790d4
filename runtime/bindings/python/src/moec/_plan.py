# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""An open package -> the inputs, outputs and gradients that its calls have (runtime/moec_abi.h).

Read after moec_layer_create has checked the plan: sizes of structs, offsets and counts are those of this runtime.
"""

from __future__ import annotations

import ctypes
from ctypes import Structure, c_char, c_int64, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from typing import Dict, List, Optional, Tuple

from ._stored import Stored, stored

# moec_buffer_role, from 0. Outputs besides y, and inputs besides x, by their names in moec.h.
_ROLES = (
    *("", "x", "y", "logits", "ids", "weights", "counts", "residual", "noise", "uniform", "token_ids", "expert_ids"),
    *("expert_weights", "group_ids", "priority", "capacity", "top_k", "probabilities", "choice_counts", "losses"),
    *("logit_mean", "logit_max", "diversity", "dropped_tokens", "jitter", "replace", "replace_ids", "hidden_mask"),
    *("output_mask", "expert_mask", "midpoint_mask"),
)
_GRADIENTS = {58: "x", 59: "residual", 60: "expert_weights"}  # of backward plans
_INPUT, _OPT_OUTPUT = 0, 4
_PANELS = 1  # moec_layout of matrices
_SAVED, _SAVED_ALIGN = 64, 256  # the first role of values that forward saves; each is rounded up to so many bytes


class _Span(Structure):
    _fields_ = [("offset", c_uint32), ("count", c_uint32)]


class _Extent(Structure):
    _fields_ = [("per_token", c_int64), ("fixed", c_int64), ("per_sequence", c_int64)]


class _Buffer(Structure):
    _fields_ = [
        *((name, c_uint16) for name in ("kind", "role", "slot", "route", "dtype")),
        ("reserved", c_uint16 * 3),
        ("bytes", _Extent),
        ("name", c_uint32),
        ("row_stride", c_uint32),
    ]


class _Header(Structure):
    _fields_ = [
        ("magic", c_uint32),
        ("abi_major", c_uint16),
        ("abi_minor", c_uint16),
        *((name, c_uint32) for name in ("header_bytes", "buffer_bytes", "step_bytes", "role_bytes", "weight_bytes")),
        *((name, c_uint32) for name in ("features", "isa_mask", "determinism")),
        ("spec_hash", c_uint8 * 32),
        *((name, c_uint32) for name in ("name", "x_dtype", "y_dtype", "num_experts", "top_k")),
        ("hidden", c_int64),
        ("max_tokens", c_int64),
        ("num_slots", c_uint32),
        ("scratch_bytes", c_uint32),
        ("packed_bytes", c_uint64),
        ("items", _Extent),
        *((name, _Span) for name in ("buffers", "steps", "args", "covers", "roles", "weights", "strings")),
        ("total_bytes", c_uint32),
        ("num_report_slots", c_uint32),
        ("chunk_tokens", c_int64),
        ("dot_vendor", c_char * 16),
        ("dot_family", c_uint32),
        ("dot_model", c_uint32),
        ("pass_", c_uint32),
        ("reserved", c_uint32),
    ]


class _Role(Structure):
    _fields_ = [
        ("name", c_uint32),
        ("tensor", c_uint32),
        *((name, c_uint16) for name in ("rank", "stack", "axes", "part", "expert_axis", "matrix")),
        ("reserved", c_uint32),
        ("dims", c_int64 * 3),
    ]


class _Weight(Structure):
    _fields_ = [("layout", c_uint16), ("dtype", c_uint16), ("rest", c_uint8 * 52)]


class _Package(Structure):
    _fields_ = [
        ("magic", c_uint32),
        ("abi_major", c_uint16),
        ("abi_minor", c_uint16),
        ("plan", c_void_p),
        ("plan_bytes", c_uint64),
        *((name, c_void_p) for name in ("functions", "num_functions", "cuda_plan", "cuda_plan_bytes")),
        *((name, c_void_p) for name in ("images", "num_images", "backward")),
    ]


class Plan:
    """inputs, outputs
               names besides x and y, in the order of moec.h
    row_bytes  bytes that an input or output has per token, 0 if it has no row per token
    slots      of masks with a row for each slot: rows of the whole call, rows of each sequence (one of both is 0),
               columns
    gradients  what backward calls can give besides gradients of parameters: ("x", "residual", "expert_weights")
    matrices   whether each role's last two dimensions are a matrix [out, in]: the others are vectors of float32
    weight_dtype
               the moec_dtype of packed matrices; None: there are none
    stored     how a checkpoint stores each role
    saved      bytes that forward saves at most: per token, per sequence, and besides
    """

    def __init__(self, package: int) -> None:
        found = _Package.from_address(package)
        header, buffers = _buffers(found)
        self.row_bytes: Dict[str, int] = {}
        self.slots: Dict[str, Tuple[int, int, int]] = {}
        kinds: Dict[int, int] = {}
        for buffer in buffers:
            if buffer.kind in (_INPUT, _OPT_OUTPUT) and 2 < buffer.role < len(_ROLES):
                kinds[buffer.role] = buffer.kind
                name, size, stride = _ROLES[buffer.role], buffer.bytes, buffer.row_stride
                self.row_bytes[name] = size.per_token
                if name in ("hidden_mask", "output_mask") and not size.per_token:
                    self.slots[name] = (size.fixed // stride, size.per_sequence // stride, stride // 4)
        self.inputs: Tuple[str, ...] = tuple(_ROLES[role] for role in sorted(kinds) if kinds[role] == _INPUT)
        self.outputs: Tuple[str, ...] = tuple(_ROLES[role] for role in sorted(kinds) if kinds[role] == _OPT_OUTPUT)
        strings = found.plan + header.strings.offset
        roles = (_Role * header.roles.count).from_address(found.plan + header.roles.offset)
        self.matrices: List[bool] = [bool(role.matrix) for role in roles]
        self.stored: List[Stored] = [_stored(role, strings) for role in roles]
        saves = [buffer.bytes for buffer in buffers if buffer.role >= _SAVED]
        self.saved: Tuple[int, int, int] = (
            sum(extent.per_token for extent in saves),
            sum(extent.per_sequence for extent in saves),
            sum(extent.fixed + _SAVED_ALIGN for extent in saves),
        )
        weights = (_Weight * header.weights.count).from_address(found.plan + header.weights.offset)
        self.weight_dtype: Optional[int] = next((w.dtype for w in weights if w.layout == _PANELS), None)
        self.gradients: Tuple[str, ...] = ()
        if found.backward:
            _, buffers = _buffers(_Package.from_address(found.backward))
            roles_made = {buffer.role for buffer in buffers}
            self.gradients = tuple(name for role, name in _GRADIENTS.items() if role in roles_made)


def _stored(role: _Role, strings: int) -> Stored:
    name, tensor = (ctypes.string_at(strings + at).decode() for at in (role.name, role.tensor))
    dims = tuple(role.dims[: role.rank])
    return stored(dims, tensor or name, role.stack, role.axes, role.part, bool(role.expert_axis), bool(role.matrix))


def _buffers(package: _Package) -> Tuple[_Header, "ctypes.Array[_Buffer]"]:
    header = _Header.from_address(package.plan)
    assert header.header_bytes == ctypes.sizeof(_Header) and header.buffer_bytes == ctypes.sizeof(_Buffer)
    assert header.role_bytes == ctypes.sizeof(_Role) and header.weight_bytes == ctypes.sizeof(_Weight)
    return header, (_Buffer * header.buffers.count).from_address(package.plan + header.buffers.offset)
