# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# A package's shared library and torch tensors -> calls of the layer on torch's current stream, through the C API alone.
import ctypes as c
import json
import os

import torch

DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}


class Options(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("max_threads", c.c_int32), ("max_isa", c.c_int32),
                ("parallel_for", c.c_void_p), ("parallel_for_context", c.c_void_p), ("spin_us", c.c_int32),
                ("reserved", c.c_int32), ("device", c.c_int32), ("cuda_device", c.c_int32),
                ("cuda_driver", c.c_void_p)]


class Tensor(c.Structure):
    _fields_ = [("role", c.c_char_p), ("data", c.c_void_p), ("dtype", c.c_int), ("rank", c.c_int32),
                ("dims", c.c_int64 * 4)]


class Args(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("num_tokens", c.c_int64), ("x", c.c_void_p), ("y", c.c_void_p),
                ("workspace", c.c_void_p), ("workspace_bytes", c.c_size_t), ("out_logits", c.c_void_p),
                ("out_ids", c.c_void_p),
                ("out_weights", c.c_void_p), ("out_counts", c.c_void_p), ("stream", c.c_void_p)]


class Layer:
    """A layer of the package FOLDER/lib*.so, a case of a bundle, with its weights on the device.

    weights: role -> contiguous torch tensor on the device, packed and then free to go; or another Layer of the same
    spec, whose packed weights are used."""

    def __init__(self, runtime, folder, name, weights):
        self.api = runtime
        self.package = c.CDLL(os.path.join(folder, "lib%s.so" % name))
        entry = getattr(self.package, name + "_package")
        entry.restype = c.c_void_p
        options = Options(struct_size=c.sizeof(Options), device=1)
        self.layer, self.weights = c.c_void_p(), c.c_void_p()
        self.check(self.api.moec_layer_create(c.c_void_p(entry()), c.byref(options), c.byref(self.layer)))
        size = c.c_size_t()
        self.check(self.api.moec_layer_weights_bytes(self.layer, c.byref(size)))
        if isinstance(weights, Layer):
            self.packed = weights.packed
            packed = c.c_void_p(self.packed.data_ptr())
            self.check(self.api.moec_weights_map(self.layer, packed, size, c.c_uint32(0), c.byref(self.weights)))
        else:
            self.packed = torch.empty(size.value, dtype=torch.uint8, device="cuda")
            self.pack(weights, size)

    def pack(self, tensors, size):
        rows = (Tensor * len(tensors))()
        for row, (role, tensor) in zip(rows, tensors.items()):
            assert tensor.is_contiguous()
            row.role, row.data = role.encode(), tensor.data_ptr()
            row.dtype, row.rank = DTYPES[tensor.dtype], tensor.dim()
            for i, extent in enumerate(tensor.shape):
                row.dims[i] = extent
        torch.cuda.synchronize()
        self.check(self.api.moec_weights_pack(self.layer, rows, c.c_size_t(len(rows)),
                                              c.c_void_p(self.packed.data_ptr()), size, c.byref(self.weights)))

    def check(self, status):
        if status:
            text = c.create_string_buffer(512)
            self.api.moec_last_error(text, c.c_size_t(512))
            raise RuntimeError(text.value.decode())

    def workspace_bytes(self, tokens):
        size = c.c_size_t()
        self.check(self.api.moec_layer_workspace_bytes(self.layer, c.c_int64(tokens), c.byref(size)))
        return size.value

    def __call__(self, x, y, workspace, ids=None, weights=None):
        """ids [T,K] i32 and weights [T,K] f32 get the routing where they are given."""
        args = Args(struct_size=c.sizeof(Args), num_tokens=x.shape[0], x=x.data_ptr(), y=y.data_ptr(),
                    workspace=workspace.data_ptr(), workspace_bytes=workspace.numel(),
                    out_ids=None if ids is None else ids.data_ptr(),
                    out_weights=None if weights is None else weights.data_ptr(),
                    stream=torch.cuda.current_stream().cuda_stream)
        self.check(self.api.moec_layer_forward(self.layer, self.weights, c.byref(args)))

    def close(self):
        self.api.moec_weights_destroy(self.weights)
        self.api.moec_layer_destroy(self.layer)
        self.packed = None


def open_runtime(path):
    api = c.CDLL(path)
    for name in ("moec_weights_destroy", "moec_layer_destroy"):
        getattr(api, name).restype = None
        getattr(api, name).argtypes = [c.c_void_p]
    return api


def read_package(folder):
    """(spec, role shapes) of a case of a bundle."""
    with open(os.path.join(folder, "spec.json")) as spec, open(os.path.join(folder, "manifest.json")) as manifest:
        return json.load(spec), {role["name"]: role["shape"] for role in json.load(manifest)["roles"]}
