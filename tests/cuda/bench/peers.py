# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# The same layer in PyTorch, as model code writes it: router, sort by expert, two grouped products, weighted sum. The
# router and the sum are one implementation for all peers; `products` is what differs. `reference` is the same with the
# routing given and sums in f32: what a layer's y is compared with.
import torch
import torch.nn.functional as F


def grouped_mm():
    """torch's grouped product [R,K] x [E,K,N] with offsets on the device; None where this torch has none."""
    if hasattr(F, "grouped_mm"):
        return F.grouped_mm
    return getattr(torch, "_grouped_mm", None)


class TorchLayer:
    """tensors: roles of the package; spec: its canonical spec. Routing follows the keys presets use."""

    def __init__(self, spec, tensors):
        self.router, self.t, self.e = spec["router"], tensors, spec["experts"]
        self.k = self.router["select"]["k"]
        self.down = tensors["experts.down"]  # [E,H,I]
        halves = [tensors.pop("experts.gate"), tensors.pop("experts.up")]
        self.gate_up = torch.cat(halves, dim=1)  # [E,2I,H], in their place

    def route(self, x):
        r, t = self.router, self.t
        logits = F.linear(x, t["router.weight"]).float()
        if "router.bias" in t:
            logits = logits + t["router.bias"]
        selected = r.get("score_over") == "selected"
        score = torch.sigmoid(logits) if r.get("score") == "sigmoid" else torch.softmax(logits, -1)
        choice = logits if selected else score
        if "router.choice_bias" in t:
            choice = choice + t["router.choice_bias"]
        if "groups" in r:
            g = choice.view(x.shape[0], r["groups"]["count"], -1)
            best = g.topk(2, -1).values.sum(-1) if r["groups"]["score"] == "top2_sum" else g.max(-1).values
            keep = torch.zeros_like(best).scatter_(1, best.topk(r["groups"]["keep"], -1).indices, 1.0)
            choice = (g * keep.unsqueeze(-1)).flatten(1)
        ids = choice.topk(self.k, -1).indices
        weights = logits.gather(1, ids).softmax(-1) if selected else score.gather(1, ids)
        if r.get("normalize", {}).get("kind") == "sum":
            weights = weights / weights.sum(-1, keepdim=True)
        return ids, weights * r.get("scale", 1.0)

    def activate(self, h, expert):
        gate, up = h.chunk(2, -1)
        t = self.t
        if "experts.gate_bias" in t:
            gate, up = gate + t["experts.gate_bias"][expert].to(gate), up + t["experts.up_bias"][expert].to(up)
        if "clamp" in self.e:
            limit = self.e["clamp"]["limit"]
            gate, up = gate.clamp(max=limit), up.clamp(-limit, limit)
        if "act_alpha" in self.e:
            return gate * torch.sigmoid(self.e["act_alpha"] * gate) * (up + self.e.get("up_offset", 0))
        return F.silu(gate) * up

    def rows(self, x, ids, products, counts):
        """What experts make of their rows: (rows [R,H], places of the rows in ids, in the order of experts)."""
        experts, order = ids.flatten().sort(stable=True)
        offsets = torch.searchsorted(experts, self.ends(x.device), right=True).to(torch.int32)
        h = self.activate(products(x[order // self.k], self.gate_up, offsets, counts), experts)
        o = products(h, self.down, offsets, counts)
        if "experts.down_bias" in self.t:
            o = o + self.t["experts.down_bias"][experts].to(o)
        return o, order

    def shared(self, x):
        t = self.t
        return F.linear(F.silu(F.linear(x, t["shared.gate"])) * F.linear(x, t["shared.up"]), t["shared.down"])

    def __call__(self, x, products, counts=None):
        """products(a, b, offsets): rows of group e of a, times b[e] transposed. counts: per expert, on the host, for loops."""
        ids, weights = self.route(x)
        o, order = self.rows(x, ids, products, counts)
        o = o * weights.flatten()[order].unsqueeze(-1).to(o.dtype)
        y = torch.zeros_like(x).index_add_(0, order // self.k, o)
        return y + self.shared(x) if "shared.gate" in self.t else y

    def reference(self, x, ids, weights):
        """y [T,H] in f32 of the choices ids [T,K] with weights [T,K]."""
        counts = torch.bincount(ids.flatten(), minlength=self.e["count"]).tolist()
        o, order = self.rows(x, ids, products_loop, counts)
        o = o.float() * weights.flatten()[order].unsqueeze(-1)
        y = torch.zeros(x.shape, dtype=torch.float32, device=x.device).index_add_(0, order // self.k, o)
        return y + self.shared(x).float() if "shared.gate" in self.t else y

    def ends(self, device):
        if not hasattr(self, "_ends"):
            self._ends = torch.arange(self.e["count"], device=device)
        return self._ends


def products_grouped(a, b, offsets, counts):
    return grouped_mm()(a, b.transpose(-2, -1), offs=offsets)


def products_loop(a, b, offsets, counts):
    """One cuBLAS call per expert that has rows; the counts are known beforehand, which serving would have to wait for."""
    out, row = a.new_empty(a.shape[0], b.shape[1]), 0
    for expert, n in enumerate(counts):
        if n:
            torch.mm(a[row:row + n], b[expert].t(), out=out[row:row + n])
        row += n
    return out
