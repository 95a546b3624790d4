# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# kt-kernel as a peer: its bf16 layer with all experts on the CPU. The interface is that of torch_peers.py.
import importlib.metadata

import torch


class KtPeer:
    name = "kt-kernel"

    def __init__(self, layer, weights, threads, settings):
        import kt_kernel
        self.kernels, self.variant = kt_kernel.kt_kernel_ext, kt_kernel.__cpu_variant__
        pool = self.kernels.WorkerPoolConfig()
        pool.subpool_count, pool.subpool_numa_map, pool.subpool_thread_count = 1, [0], [threads]
        self.pool = self.kernels.CPUInfer(pool)
        self.on_gpu = torch.zeros(layer.experts, dtype=torch.bool)
        config = self.kernels.moe.MOEConfig(layer.experts, layer.top_k, layer.hidden, layer.intermediate,
                                            self.on_gpu.data_ptr())
        config.layer_idx, config.pool, config.max_len = 0, self.pool.backend_, max(settings["tokens"])
        matrices = [weights[role] for role in ("experts.gate", "experts.up", "experts.down")]
        config.gate_projs, config.up_projs, config.down_projs = (
            [[expert.data_ptr() for expert in matrix]] for matrix in matrices)
        config.gate_scales = config.up_scales = config.down_scales = [[0] * layer.experts]
        kind = getattr(self.kernels.moe, "AMXBF16_MOE", None) or self.kernels.moe.AVX2BF16_MOE
        self.kind, self.layer = kind.__name__, kind(config)
        order = torch.arange(layer.experts)
        self.pool.submit(self.layer.load_weights_task(order.data_ptr()))  # packs into memory of its own
        self.pool.sync()

    def facts(self):
        return {"kt-kernel": f"{importlib.metadata.version('kt-kernel')} ({self.variant}, {self.kind})"}

    def prepare(self, call):
        return (torch.full_like(call.x, float("nan")), torch.tensor([len(call.x)], dtype=torch.int32),
                call.ids.long(), call)

    def run(self, prepared):
        y, count, ids, call = prepared
        self.pool.submit(self.layer.forward_task(count.data_ptr(), ids.shape[1], ids.data_ptr(),
                                                 call.weights.data_ptr(), call.x.data_ptr(), y.data_ptr(), False))
        self.pool.sync()
        return y
