# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# PyTorch and its plugin ZenDNN as peers. A peer is made of its own copy of the weights, `prepare` does what a caller
# does once per shape or in the router, and `run` is timed: prepared call -> y [T,H] bf16.
import importlib.metadata

import torch
import torch.nn.functional as F


class EagerPeer:
    """A loop over experts, as model code writes it: gather, three matmuls, weighted sum in f32."""
    name = "eager"

    def __init__(self, layer, weights, threads, settings):
        self.experts = layer.experts
        self.gate_up = torch.cat([weights["experts.gate"], weights["experts.up"]], 1)  # [E,2I,H]
        self.down = weights["experts.down"].clone()

    def facts(self):
        return {"torch": torch.__version__}

    def prepare(self, call):
        return call.x, call.ids.long(), call.weights

    def run(self, prepared):
        x, ids, weights = prepared
        y = torch.zeros(x.shape, dtype=torch.float32)
        for expert in ids.unique().tolist():
            token, choice = torch.where(ids == expert)
            gate, up = F.linear(x[token], self.gate_up[expert]).chunk(2, -1)
            rows = F.linear(F.silu(gate) * up, self.down[expert])
            y.index_add_(0, token, rows.float() * weights[token, choice].unsqueeze(1))
        return y.to(x.dtype)


class GroupedPeer(EagerPeer):
    """Rows sorted by expert, two grouped products, weighted sum in f32."""
    name = "grouped_mm"

    def __init__(self, layer, weights, threads, settings):
        if not hasattr(F, "grouped_mm"):
            raise RuntimeError(f"torch {torch.__version__} has no torch.nn.functional.grouped_mm; 2.10 has it")
        super().__init__(layer, weights, threads, settings)

    def run(self, prepared):
        x, ids, weights = prepared
        order = ids.flatten().argsort(stable=True)
        token = order // ids.shape[1]
        ends = torch.bincount(ids.flatten(), minlength=self.experts).cumsum(0).int()
        gate, up = F.grouped_mm(x[token], self.gate_up.transpose(1, 2), offs=ends).chunk(2, -1)
        rows = F.grouped_mm(F.silu(gate) * up, self.down.transpose(1, 2), offs=ends)
        y = torch.zeros(x.shape, dtype=torch.float32)
        y.index_add_(0, token, rows.float() * weights.flatten()[order].unsqueeze(1))
        return y.to(x.dtype)


class ZenPeer:
    """ZenDNN's fused layer through zentorch. It packs the weights in the first call, where they lie, and recognises
    them by their address: they must be its own, and live as long as the process."""
    name = "zentorch"

    def __init__(self, layer, weights, threads, settings):
        import zentorch  # registers the ops
        if not hasattr(torch.ops.zentorch, "zentorch_fused_moe"):
            raise RuntimeError(f"zentorch {zentorch.__version__} has no op zentorch_fused_moe")
        self.op = torch.ops.zentorch.zentorch_fused_moe
        self.gate_up = torch.cat([weights["experts.gate"], weights["experts.up"]], 1)  # [E,2I,H]
        self.down = weights["experts.down"].clone()

    def facts(self):
        return {"zentorch": importlib.metadata.version("zentorch"), "torch": torch.__version__}

    def prepare(self, call):
        return torch.full_like(call.x, float("nan")), call

    def run(self, prepared):
        y, call = prepared
        self.op(y, call.x, self.gate_up, self.down, None, None, call.weights, call.ids, False, "silu")
        return y
