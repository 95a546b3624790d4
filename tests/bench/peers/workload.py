# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# A layer and a seed -> weights, inputs and routing that are the same for everybody, and what y must be.
#
#   weights   a file of bf16: gate [E,I,H], up [E,I,H], down [E,H,I]; normal, deviation 1 / sqrt(inputs)
#   call      x [T,H] bf16, normal; ids [T,K] i32 and weights [T,K] f32, whose sum per token is 1. A T has several
#             calls, its variants, which reach other experts
#   routing   the K largest of log p(e) + N(0,1), as moec bench's router draws it: p = 1 (uniform) or 1 / (1 + e) (zipf)
#   answer    y of sampled tokens in float64, from the same bf16 numbers
import dataclasses
import math
import os

import torch

SEED = 20
SAMPLES = 16  # tokens of a T whose y is known in float64, of all variants together


@dataclasses.dataclass
class Layer:
    name: str
    hidden: int
    intermediate: int
    experts: int
    top_k: int

    def shapes(self):
        e, i, h = self.experts, self.intermediate, self.hidden
        return {"experts.gate": (e, i, h), "experts.up": (e, i, h), "experts.down": (e, h, i)}

    def flops(self, tokens):
        return 6.0 * tokens * self.top_k * self.hidden * self.intermediate

    def bytes_of(self, experts):
        """Bytes of the weights of that many experts."""
        return 6.0 * experts * self.hidden * self.intermediate


@dataclasses.dataclass
class Call:
    x: torch.Tensor        # [T,H] bf16
    ids: torch.Tensor      # [T,K] i32
    weights: torch.Tensor  # [T,K] f32
    rows: torch.Tensor     # tokens whose y is known

    def touched(self):
        return self.ids.unique().numel()


def write_weights(layer, path):
    """A write that stops half-way leaves no file of that name."""
    draw = torch.Generator().manual_seed(SEED)
    with open(path + ".part", "wb") as file:
        for _, out, inner in layer.shapes().values():
            for _ in range(layer.experts):
                matrix = torch.randn(out, inner, generator=draw).div_(math.sqrt(inner)).bfloat16()
                file.write(memoryview(matrix.view(torch.int16).numpy()).cast("B"))
    os.replace(path + ".part", path)


def map_weights(layer, path):
    """role -> tensor [E,out,in] of the file's pages; private: a write to it changes no file and no other process."""
    sizes = {role: math.prod(shape) for role, shape in layer.shapes().items()}
    everything = torch.from_file(path, shared=False, size=sum(sizes.values()), dtype=torch.bfloat16)
    parts = everything.split(list(sizes.values()))
    return {role: part.view(shape) for part, (role, shape) in zip(parts, layer.shapes().items())}


def variants_of(tokens):
    return 8 if tokens <= 16 else 4 if tokens <= 128 else 2


def calls(layer, tokens, skew):
    draw = torch.Generator().manual_seed(SEED + 1 + tokens)
    popularity = torch.zeros(layer.experts)
    if skew == "zipf":
        popularity -= torch.log(1.0 + torch.arange(layer.experts))
    made = []
    variants = variants_of(tokens)
    for _ in range(variants):
        logits = popularity + torch.randn(tokens, layer.experts, generator=draw)
        top = logits.topk(layer.top_k, -1)
        samples = min(tokens, max(1, SAMPLES // variants))
        rows = torch.arange(samples) * (tokens - 1) // max(1, samples - 1)
        made.append(Call(torch.randn(tokens, layer.hidden, generator=draw).bfloat16(), top.indices.int(),
                         top.values.softmax(-1), rows))
    return made


def answers(layer, weights, every_call):
    """y [samples,H] f64 of the sampled tokens of each call. Every expert is widened once."""
    sums = [torch.zeros(len(call.rows), layer.hidden, dtype=torch.float64) for call in every_call]
    for e in range(layer.experts):
        chosen = [(n, (call.ids[call.rows] == e).nonzero()) for n, call in enumerate(every_call)]
        chosen = [(n, hits) for n, hits in chosen if len(hits)]
        if not chosen:
            continue
        gate, up, down = (weights[role][e].double() for role in layer.shapes())
        x = torch.cat([every_call[n].x[every_call[n].rows[hits[:, 0]]] for n, hits in chosen]).double()
        y = (torch.nn.functional.silu(x @ gate.T) * (x @ up.T)) @ down.T
        for (n, hits), part in zip(chosen, y.split([len(hits) for _, hits in chosen])):
            share = every_call[n].weights[every_call[n].rows[hits[:, 0]], hits[:, 1]].double()
            sums[n].index_add_(0, hits[:, 0], part * share.unsqueeze(1))
    return sums


def error(y, expected):
    """The largest over tokens of |y - expected| / |expected|; NaN and infinity count as wrong."""
    difference = (y.double() - expected.double()).norm(dim=-1)
    worst = (difference / expected.double().norm(dim=-1).clamp_min(1e-30)).max().item()
    return worst if math.isfinite(worst) else math.inf
