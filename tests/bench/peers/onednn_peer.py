# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# libpeers_onednn.so, which run.sh builds of onednn.cpp -> oneDNN as a peer. The interface is that of torch_peers.py.
import ctypes as c

import torch


class OnednnPeer:
    name = "onednn"

    def __init__(self, layer, weights, threads, settings):
        self.library = c.CDLL(settings["onednn"])
        self.library.peers_onednn_open.restype = c.c_void_p
        self.library.peers_onednn_error.restype = self.library.peers_onednn_version.restype = c.c_char_p
        self.handle = c.c_void_p(self.library.peers_onednn_open(
            c.c_int64(layer.experts), c.c_int64(layer.hidden), c.c_int64(layer.intermediate), threads,
            *[c.c_void_p(weights[role].data_ptr()) for role in ("experts.gate", "experts.up", "experts.down")]))
        self.check(0 if self.handle.value else 1)

    def check(self, status):
        if status:
            raise RuntimeError(self.library.peers_onednn_error().decode())

    def facts(self):
        return {"onednn": self.library.peers_onednn_version().decode()}

    def prepare(self, call):
        return torch.full_like(call.x, float("nan")), call

    def run(self, prepared):
        y, call = prepared
        buffers = [c.c_void_p(tensor.data_ptr()) for tensor in (call.x, call.ids, call.weights, y)]
        self.check(self.library.peers_onednn_run(self.handle, c.c_int64(len(call.x)), c.c_int64(call.ids.shape[1]),
                                                 *buffers))
        return y
