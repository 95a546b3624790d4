# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# A package's shared library and weights -> calls of the layer on this CPU with the routing given, through the C API of
# runtime/moec.h alone.
import ctypes as c
import json
import os

import torch

ALIGN = 4096


class Options(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("max_threads", c.c_int32), ("max_isa", c.c_int32),
                ("parallel_for", c.c_void_p), ("parallel_for_context", c.c_void_p), ("spin_us", c.c_int32),
                ("reserved", c.c_int32)]  # ends before `device`: the CPU


class Tensor(c.Structure):
    _fields_ = [("role", c.c_char_p), ("data", c.c_void_p), ("dtype", c.c_int), ("rank", c.c_int32),
                ("dims", c.c_int64 * 4)]


class Args(c.Structure):  # ends with top_k
    _fields_ = [("struct_size", c.c_size_t), ("num_tokens", c.c_int64), ("x", c.c_void_p), ("y", c.c_void_p),
                ("workspace", c.c_void_p), ("workspace_bytes", c.c_size_t), ("out_logits", c.c_void_p),
                ("out_ids", c.c_void_p), ("out_weights", c.c_void_p), ("out_counts", c.c_void_p),
                ("stream", c.c_void_p), ("tokens_per_sequence", c.c_int64), ("residual", c.c_void_p),
                ("noise", c.c_void_p), ("uniform", c.c_void_p), ("token_ids", c.c_void_p),
                ("expert_ids", c.c_void_p), ("expert_weights", c.c_void_p), ("group_ids", c.c_void_p),
                ("priority", c.c_void_p), ("capacity", c.c_void_p), ("top_k", c.c_void_p)]


class Info(c.Structure):  # ends with cuda_sm
    _fields_ = [("struct_size", c.c_size_t), ("name", c.c_char_p), ("hidden", c.c_int64), ("num_experts", c.c_int64),
                ("top_k", c.c_int64), ("max_tokens", c.c_int64), ("num_logits", c.c_int64), ("x_dtype", c.c_int),
                ("y_dtype", c.c_int), ("isa", c.c_int32), ("isa_name", c.c_char_p), ("determinism", c.c_int32),
                ("max_threads", c.c_int32), ("num_roles", c.c_int32), ("device", c.c_int32), ("cuda_sm", c.c_int32)]


def buffer(size, value=0):
    """`size` bytes of a tensor that begins at a multiple of a page."""
    memory = torch.full((size + ALIGN,), value, dtype=torch.uint8)
    start = -memory.data_ptr() % ALIGN
    return memory[start:start + size]


def external_spec(preset, name):
    """A preset's JSON -> the spec of its routed experts with the routing given. Refuses experts that peers lack."""
    for key in ("name", "hidden", "router", "experts"):
        if key not in preset:
            raise ValueError(f"the spec has no key '{key}'")
    if "top_k" not in preset["router"]:
        raise ValueError("router.top_k is missing; peers need a number of experts per token")
    unknown = set(preset["experts"]) - {"count", "intermediate"}
    if unknown or preset.get("dtype") != "bf16":
        raise ValueError(f"only bf16 layers of plain SwiGLU experts have peers; found {sorted(unknown) or 'dtype'}")
    return {"moec": 1, "name": name, "hidden": preset["hidden"], "dtype": "bf16", "inputs": {"expert_ids": True},
            "router": {"kind": "external", "top_k": preset["router"]["top_k"]}, "experts": preset["experts"]}


class MoecLayer:
    """runtime: path of libmoec.so; package: path of libNAME.so. weights: role -> bf16 tensor; packed, not kept."""
    name = "moec"

    def __init__(self, runtime, package, weights, threads):
        self.api = c.CDLL(runtime)
        self.library = c.CDLL(package)
        entry = getattr(self.library, os.path.basename(package)[len("lib"):-len(".so")] + "_package")
        entry.restype = c.c_void_p
        options = Options(struct_size=c.sizeof(Options), max_threads=threads)
        self.layer, self.weights = c.c_void_p(), c.c_void_p()
        self.check(self.api.moec_layer_create(c.c_void_p(entry()), c.byref(options), c.byref(self.layer)))
        size = c.c_size_t()
        self.check(self.api.moec_layer_weights_bytes(self.layer, c.byref(size)))
        self.packed = buffer(size.value)
        rows = (Tensor * len(weights))()
        for row, (role, tensor) in zip(rows, weights.items()):
            row.role, row.data, row.dtype, row.rank = role.encode(), tensor.data_ptr(), 1, tensor.dim()
            row.dims[:tensor.dim()] = tensor.shape
        self.check(self.api.moec_weights_pack(self.layer, rows, c.c_size_t(len(rows)),
                                              c.c_void_p(self.packed.data_ptr()), size, c.byref(self.weights)))

    def check(self, status):
        if status:
            text = c.create_string_buffer(512)
            self.api.moec_last_error(text, c.c_size_t(512))
            raise RuntimeError(text.value.decode())

    def facts(self):
        info = Info(struct_size=c.sizeof(Info))
        self.check(self.api.moec_layer_get_info(self.layer, c.byref(info)))
        return {"isa": info.isa_name.decode(), "threads": info.max_threads}

    def prepare(self, call):
        """Everything that a caller makes once per shape: y and the workspace, both poisoned."""
        size = c.c_size_t()
        tokens = call.x.shape[0]
        self.check(self.api.moec_layer_workspace_bytes(self.layer, c.c_int64(tokens), c.byref(size)))
        y, workspace = torch.full_like(call.x, float("nan")), buffer(size.value, 255)
        args = Args(struct_size=c.sizeof(Args), num_tokens=tokens, x=call.x.data_ptr(), y=y.data_ptr(),
                    workspace=workspace.data_ptr(), workspace_bytes=size.value, expert_ids=call.ids.data_ptr(),
                    expert_weights=call.weights.data_ptr())
        return args, y, workspace, call

    def run(self, prepared):
        self.check(self.api.moec_layer_forward(self.layer, self.weights, c.byref(prepared[0])))
        return prepared[1]


def layer_numbers(spec_path):
    """A spec of external_spec -> hidden, intermediate, experts, top_k."""
    with open(spec_path, encoding="utf-8") as file:
        spec = json.load(file)
    return spec["hidden"], spec["experts"]["intermediate"], spec["experts"]["count"], spec["router"]["top_k"]
