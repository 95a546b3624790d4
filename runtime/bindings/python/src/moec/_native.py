# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""libmoec.so -> its functions with types (moec.h), and the structs that they take."""

from __future__ import annotations

import ctypes
import os
import pathlib
from ctypes import POINTER, Structure, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from typing import List, Optional

from . import _errors
from ._version import VERSION

DEVICE_CPU, DEVICE_CUDA = 0, 1
MAP_VERIFY = 1
DTYPES = (
    "float32",
    "bfloat16",
    "float16",
    "int32",
    "fp8e4m3",
    "fp8e5m2",
    "int8",
    "int4",
    "mxfp4",
    "uint8",
    "int64",
    "float64",
)
DTYPE_NUMBERS = {name: number for number, name in enumerate(DTYPES)}
ISAS = ("baseline", "avx2", "avx512", "avx512_bf16", "amx")


REPORTS = ("probabilities", "choice_counts", "losses", "logit_mean", "logit_max", "diversity", "dropped_tokens")


class PoolOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("threads", c_int32),
        ("spin_us", c_int32),
        ("when_busy", c_int32),
        ("reserved", c_int32),
        ("on_thread_start", c_void_p),
        ("on_thread_start_context", c_void_p),
    ]


class LayerOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("max_threads", c_int32),
        ("max_isa", c_int32),
        ("parallel_for", c_void_p),
        ("parallel_for_context", c_void_p),
        ("spin_us", c_int32),
        ("reserved", c_int32),
        ("device", c_int32),
        ("cuda_device", c_int32),
        ("cuda_driver", c_void_p),
        ("pool", c_void_p),
    ]


class Tensor(Structure):
    _fields_ = [
        ("role", c_char_p),
        ("data", c_void_p),
        ("dtype", c_int32),
        ("rank", c_int32),
        ("dims", c_int64 * 4),
    ]


class ForwardArgs(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("num_tokens", c_int64),
        ("x", c_void_p),
        ("y", c_void_p),
        ("workspace", c_void_p),
        ("workspace_bytes", c_size_t),
        ("out_logits", c_void_p),
        ("out_ids", c_void_p),
        ("out_weights", c_void_p),
        ("out_counts", c_void_p),
        ("stream", c_void_p),
        ("tokens_per_sequence", c_int64),
        ("residual", c_void_p),
        ("noise", c_void_p),
        ("uniform", c_void_p),
        ("token_ids", c_void_p),
        ("expert_ids", c_void_p),
        ("expert_weights", c_void_p),
        ("group_ids", c_void_p),
        ("priority", c_void_p),
        ("capacity", c_void_p),
        ("top_k", c_void_p),
        ("out_probabilities", c_void_p),
        ("out_choice_counts", c_void_p),
        ("out_losses", c_void_p),
        ("out_logit_mean", c_void_p),
        ("out_logit_max", c_void_p),
        ("out_diversity", c_void_p),
        ("out_dropped_tokens", c_void_p),
        ("probe", c_void_p),
        ("saved", c_void_p),
        ("saved_bytes", c_size_t),
        ("jitter", c_void_p),
        ("replace", c_void_p),
        ("replace_ids", c_void_p),
        ("hidden_mask", c_void_p),
        ("output_mask", c_void_p),
        ("expert_mask", c_void_p),
        ("midpoint_mask", c_void_p),
    ]


class BackwardArgs(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("num_tokens", c_int64),
        ("tokens_per_sequence", c_int64),
        ("x", c_void_p),
        ("grad_y", c_void_p),
        ("grad_losses", c_void_p),
        ("saved", c_void_p),
        ("saved_bytes", c_size_t),
        ("workspace", c_void_p),
        ("workspace_bytes", c_size_t),
        ("grad_x", c_void_p),
        ("grad_residual", c_void_p),
        ("grad_expert_weights", c_void_p),
        ("grad_parameters", POINTER(c_void_p)),
        ("grad_dtype", c_int32),
        ("accumulate", c_int32),
        ("stream", c_void_p),
        ("residual", c_void_p),
        ("noise", c_void_p),
        ("uniform", c_void_p),
        ("token_ids", c_void_p),
        ("expert_ids", c_void_p),
        ("expert_weights", c_void_p),
        ("group_ids", c_void_p),
        ("priority", c_void_p),
        ("capacity", c_void_p),
        ("top_k", c_void_p),
        ("probe", c_void_p),
        ("jitter", c_void_p),
        ("replace", c_void_p),
        ("replace_ids", c_void_p),
        ("hidden_mask", c_void_p),
        ("output_mask", c_void_p),
        ("expert_mask", c_void_p),
        ("midpoint_mask", c_void_p),
    ]


class LayerInfo(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("name", c_char_p),
        ("hidden", c_int64),
        ("num_experts", c_int64),
        ("top_k", c_int64),
        ("max_tokens", c_int64),
        ("num_logits", c_int64),
        ("x_dtype", c_int32),
        ("y_dtype", c_int32),
        ("isa", c_int32),
        ("isa_name", c_char_p),
        ("determinism", c_int32),
        ("max_threads", c_int32),
        ("num_roles", c_int32),
        ("device", c_int32),
        ("cuda_sm", c_int32),
        ("num_losses", c_int32),
        ("num_choice_counts", c_int32),
        ("reports", c_uint32),
        ("trains", c_int32),
    ]


class WeightsSource(Structure):
    _fields_ = [("path", c_char_p), ("prefix", c_char_p)]


class Load(Structure):
    _fields_ = [
        ("total", c_int64),
        ("dead_experts", c_int64),
        ("entropy", c_double),
        ("variation", c_double),
        ("max_share", c_double),
    ]


def _candidates() -> List[pathlib.Path]:
    """Where libmoec.so may be: beside this file (a wheel), or in the build folder of a checkout."""
    here = pathlib.Path(__file__).resolve()
    found = [here.parent / "libmoec.so"]
    if len(here.parents) > 5 and (here.parents[5] / "runtime" / "moec.h").is_file():
        found.append(here.parents[5] / "build" / "lib" / "libmoec.so")
    return found


def _find() -> str:
    named = os.environ.get("MOEC_LIBRARY")
    if named:
        return named
    candidates = _candidates()
    for path in candidates:
        if path.is_file():
            return str(path)
    raise ImportError(
        "moec: libmoec.so is neither of "
        + ", ".join(str(path) for path in candidates)
        + "; install the wheel, build the target moec_runtime_shared, or name the library in MOEC_LIBRARY"
    )


def _open() -> ctypes.CDLL:
    path = _find()
    try:
        library = ctypes.CDLL(path)
    except OSError as reason:
        raise ImportError(f"moec: cannot open the runtime: {reason}") from None
    if not hasattr(library, "moec_version"):
        raise ImportError(f"moec: {path} is not a moec runtime")
    library.moec_version.restype = c_char_p
    version = library.moec_version().decode()
    if version != VERSION:
        raise ImportError(f"moec: {path} is version {version} of the runtime, this package needs {VERSION}")
    return library


lib = _open()

_SIGNATURES = {
    "moec_pool_create": [POINTER(PoolOptions), POINTER(c_void_p)],
    "moec_layer_create": [c_void_p, POINTER(LayerOptions), POINTER(c_void_p)],
    "moec_layer_get_info": [c_void_p, POINTER(LayerInfo)],
    "moec_layer_role": [c_void_p, c_int32, POINTER(c_char_p), POINTER(c_int32), POINTER(c_int64 * 4)],
    "moec_layer_weights_bytes": [c_void_p, POINTER(c_size_t)],
    "moec_weights_pack": [c_void_p, POINTER(Tensor), c_size_t, c_void_p, c_size_t, POINTER(c_void_p)],
    "moec_weights_load_sources": [
        c_void_p,
        POINTER(WeightsSource),
        c_size_t,
        c_void_p,
        c_size_t,
        POINTER(c_void_p),
    ],
    "moec_weights_map": [c_void_p, c_void_p, c_size_t, c_uint32, POINTER(c_void_p)],
    "moec_layer_workspace_bytes_for": [c_void_p, c_int64, c_int64, POINTER(c_size_t)],
    "moec_layer_workspace_bytes_call": [c_void_p, POINTER(ForwardArgs), POINTER(c_size_t)],
    "moec_layer_saved_bytes": [c_void_p, c_int64, c_int64, POINTER(c_size_t)],
    "moec_layer_backward_workspace_bytes": [c_void_p, c_int64, c_int64, POINTER(c_size_t)],
    "moec_layer_role_gradient": [c_void_p, c_int32, POINTER(c_int32)],
    "moec_load_of_counts": [POINTER(c_int32), c_int64, POINTER(Load)],
    "moec_update_choice_bias": [POINTER(c_float), POINTER(c_int32), c_int64, c_float, c_int32],
    "moec_next_capacity_factor": [POINTER(c_int32), c_int64, POINTER(c_double)],
}
for _name, _arguments in _SIGNATURES.items():
    _function = getattr(lib, _name)
    _function.argtypes = _arguments
    _function.restype = c_int32
for _name in ("moec_pool_destroy", "moec_layer_destroy", "moec_weights_destroy"):
    _function = getattr(lib, _name)
    _function.argtypes = [c_void_p]
    _function.restype = None
lib.moec_last_error.argtypes = [c_char_p, c_size_t]
lib.moec_status_name.restype = c_char_p
lib.moec_last_error.restype = c_size_t
lib.moec_cpu_isa.restype = c_int32
# Every call of a layer: without argtypes ctypes takes the prebuilt arguments as they are.
forward, backward = lib.moec_layer_forward, lib.moec_layer_backward
forward.restype = backward.restype = c_int32


def version() -> str:
    """The version of the runtime, "0.1.0"."""
    found: bytes = lib.moec_version()
    return found.decode()


def last_error() -> str:
    """The text of this thread's last error."""
    length = lib.moec_last_error(None, 0)
    text = ctypes.create_string_buffer(length + 1)
    lib.moec_last_error(text, length + 1)
    return text.value.decode("utf-8", "replace")


def status_name(status: int) -> str:
    """ "MOEC_SHAPE" for 3, as the runtime calls it."""
    found: bytes = lib.moec_status_name(status)
    return found.decode()


def check(status: int, context: Optional[str] = None) -> None:
    """Raises the error of a status other than MOEC_OK; `context` goes before its text."""
    if status:
        name, text = status_name(status), last_error()
        if name == "MOEC_ALIGNMENT":
            text += "; a copy of it is"
        raise _errors.error(name, f"{context}: {text}" if context else text)


def count(name: str, value: Optional[int]) -> int:
    """A number of 0 .. 2^31-1 as an option has it; None: 0, the default."""
    if value is None:
        return 0
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise _errors.error("MOEC_DTYPE", f"{name} is of type {type(value).__name__}, expected an int")
    number = value.__index__()
    if not 0 <= number < 1 << 31:
        raise _errors.error("MOEC_INVALID_ARGUMENT", f"{name} is {number}, expected 0 to {(1 << 31) - 1}")
    return number


def string(name: str, value: object) -> str:
    """An argument that is a str."""
    if not isinstance(value, str):
        raise _errors.error("MOEC_DTYPE", f"{name} is of type {type(value).__name__}, expected a str")
    return value


def text(name: str, value: bytes) -> bytes:
    """A text for the runtime, which ends at its first NUL."""
    if b"\0" in value:
        raise _errors.error("MOEC_INVALID_ARGUMENT", f"{name} has a NUL character: {value!r}")
    return value


def dtype_number(name: str, dtype: str) -> int:
    if dtype not in DTYPE_NUMBERS:
        raise _errors.error("MOEC_DTYPE", f"{name} is stated to be of {dtype!r}, expected one of {', '.join(DTYPES)}")
    return DTYPE_NUMBERS[dtype]
