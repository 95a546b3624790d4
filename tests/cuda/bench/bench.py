# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# python3 bench.py BUNDLE [--seconds N] [--layers a,b] [--tokens 1,8,...] -> one JSON line per row on stdout.
#
# A row is a layer, a routing and T; its contenders are captured as CUDA graphs in one process and timed in turn, round by
# round, with caches flushed before every call. Reported: median and quartiles in microseconds; beside them the ceilings of
# the same run: device copy, and a dense product of the layer's FLOPs.
#
#     bound_us = max(FLOPs / dense FLOP/s, bytes of touched experts / copy bandwidth)
import argparse
import json
import os
import statistics
import sys
import time

import torch

from moec_package import Layer, open_runtime, read_package
from peers import TorchLayer, grouped_mm, products_grouped, products_loop

LAYERS = ["qwen3_30b_a3b", "qwen3_235b_a22b", "olmoe_1b_7b", "deepseek_v3", "mixtral_8x7b", "gpt_oss_20b"]
TOKENS = [1, 8, 32, 128, 1024, 8192, 32768]


def make_tensors(shapes, seed):
    generator = torch.Generator(device="cuda").manual_seed(seed)
    tensors = {}
    for role, shape in shapes.items():
        vector = len(shape) == 1 or role.endswith("_bias")
        scale = 0.02 if vector else shape[-1] ** -0.5
        tensor = torch.empty(shape, device="cuda", dtype=torch.float32 if vector else torch.bfloat16)
        tensors[role] = tensor.normal_(0, scale, generator=generator)
    return tensors


def make_input(tensors, tokens, hidden, skew, seed):
    """Column 0 of x is 1 and column 0 of the router holds the log of an expert's popularity: the routing follows it."""
    generator = torch.Generator(device="cuda").manual_seed(seed)
    x = torch.empty(tokens, hidden, device="cuda", dtype=torch.bfloat16).normal_(0, 1, generator=generator)
    x[:, 0] = 1
    experts = tensors["router.weight"].shape[0]
    popularity = torch.arange(1, experts + 1, device="cuda", dtype=torch.float32).pow(-1.0 if skew == "zipf" else 0.0)
    tensors["router.weight"][:, 0] = popularity.log().to(torch.bfloat16)
    return x


def capture(call):
    """`call` as a CUDA graph; None when it cannot be captured."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(2):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        call()
    return graph


class Clock:
    def __init__(self):
        self.flush = torch.empty(512 << 20, dtype=torch.uint8, device="cuda")

    def time(self, graph):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        self.flush.zero_()
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e3


def ceilings(clock):
    source, target = torch.empty(1 << 30, dtype=torch.uint8, device="cuda"), torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    copy = capture(lambda: target.copy_(source))
    times = [clock.time(copy) for _ in range(9)]
    return {"copy_gbps": 2 * (1 << 30) / statistics.median(times) * 1e-3}


def dense_flops(clock, rows, k, n):
    """FLOP/s of cuBLAS on [rows,k] x [k,n]."""
    a, b = torch.randn(rows, k, device="cuda", dtype=torch.bfloat16), torch.randn(n, k, device="cuda", dtype=torch.bfloat16)
    out = torch.empty(rows, n, device="cuda", dtype=torch.bfloat16)
    graph = capture(lambda: torch.mm(a, b.t(), out=out))
    return 2 * rows * k * n / (statistics.median([clock.time(graph) for _ in range(7)]) * 1e-6)


def contenders(layer, peer, x, counts):
    y, workspace = torch.empty_like(x), layer.workspace(x.shape[0])
    yield "moec", lambda: layer(x, y, workspace)
    if grouped_mm():
        yield "grouped_mm", lambda: peer(x, products_grouped)
    yield "cublas_loop", lambda: peer(x, products_loop, counts)


def run_row(layer, peer, tensors, x, clock, rounds):
    counts = torch.bincount(peer.route(x)[0].flatten(), minlength=peer.e["count"]).tolist()
    graphs, errors = {}, {}
    for name, call in contenders(layer, peer, x, counts):
        try:
            graphs[name] = capture(call)
        except Exception as error:  # a peer that this torch cannot run is named, not hidden
            errors[name] = str(error).splitlines()[0][:200]
            torch.cuda.synchronize()
    times = {name: [] for name in graphs}
    for _ in range(rounds):
        for name, graph in graphs.items():
            times[name].append(clock.time(graph))
    y, want = torch.empty_like(x), peer(x, products_loop, counts).float()
    layer(x, y, layer.workspace(x.shape[0]))
    difference = ((y.float() - want).norm() / want.norm()).item()
    figures = {}
    for name, values in times.items():
        low, middle, high = statistics.quantiles(values, n=4)
        figures[name] = {"us_median": round(middle, 2), "us_low": round(low, 2), "us_high": round(high, 2)}
    return counts, figures, errors, difference


def work_of(peer, tensors, counts, tokens):
    """(FLOPs, bytes of the weights that are read)."""
    i, h = tensors["experts.gate"].shape[1:]
    touched = sum(1 for n in counts if n)
    flops = 6.0 * sum(counts) * i * h
    read = touched * 3.0 * i * h * 2
    if "shared.gate" in tensors:
        s = tensors["shared.gate"].shape[0]
        flops, read = flops + 6.0 * tokens * s * h, read + 6.0 * s * h
    return flops, read, touched


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle")
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--layers", default=",".join(LAYERS))
    parser.add_argument("--tokens", default=",".join(map(str, TOKENS)))
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    start, say = time.time(), lambda row: print(json.dumps(row), flush=True)
    runtime = open_runtime(os.path.join(args.bundle, "lib", "libmoec.so"))
    clock = Clock()
    ceiling = ceilings(clock)
    say({"row": "ceilings", "torch": torch.__version__, "device": torch.cuda.get_device_name(), **ceiling})
    with torch.inference_mode():
        for name in args.layers.split(","):
            folder = os.path.join(args.bundle, "bench", name)
            spec, shapes = read_package(folder, name)
            tensors = make_tensors(shapes, 1)
            for skew in ("uniform", "zipf"):
                make_input(tensors, 1, spec["hidden"], skew, 2)  # sets the router before it is packed
                layer, peer = Layer(runtime, folder, name, tensors), TorchLayer(spec, tensors)
                for tokens in map(int, args.tokens.split(",")):
                    if time.time() - start > args.seconds:
                        say({"row": "skipped", "layer": name, "routing": skew, "tokens": tokens, "why": "time is over"})
                        continue
                    x = make_input(tensors, tokens, spec["hidden"], skew, 3 + tokens)
                    try:
                        counts, figures, errors, difference = run_row(layer, peer, tensors, x, clock,
                                                                      args.rounds if tokens < 8192 else 7)
                    except Exception as error:
                        say({"row": "failed", "layer": name, "routing": skew, "tokens": tokens, "why": str(error)[:300]})
                        torch.cuda.empty_cache()
                        continue
                    flops, read, touched = work_of(peer, tensors, counts, tokens)
                    row = {"row": "layer", "layer": name, "routing": skew, "tokens": tokens, "experts_touched": touched,
                           "rms_difference": difference, "errors": errors, "times": figures}
                    bound = read / ceiling["copy_gbps"] * 1e-3
                    if tokens >= 1024:
                        rows = sum(counts)
                        i, h = tensors["experts.gate"].shape[1:]
                        dense = dense_flops(clock, min(rows, 65536), h, 2 * i)
                        row["dense_tflops"] = dense * 1e-12
                        bound = max(bound, flops / dense * 1e6)
                    row["bound_us"] = round(bound, 2)
                    row["share_of_bound"] = {k: round(bound / v["us_median"], 4) for k, v in figures.items()}
                    say(row)
                layer.close()
                del layer, peer
                torch.cuda.empty_cache()
            del tensors
            torch.cuda.empty_cache()
    print("bench.py: %.0f s" % (time.time() - start), file=sys.stderr)


if __name__ == "__main__":
    main()
