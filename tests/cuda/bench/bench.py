# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# bench.py BUNDLE CASE [--variants a,b] [--tokens 1,8,...] [--seconds N] -> one JSON line per row, of one layer.
#
# A row is a routing and T; its contenders, the layer, its variants and PyTorch, are captured as CUDA graphs in one
# process and timed in turn, round by round, with caches flushed before every call. Reported: median and quartiles in
# microseconds; beside them the ceilings of the same run: device copy, and a dense product of the layer's FLOPs.
#
# Every package is checked first: y against PyTorch with the package's own choices and weights, |y - want| / |want| at
# most 1e-2. Two right layers that route for themselves differ by 5e-2, because a logit rounded to bf16 changes choices.
#
# What does not fit into the device's memory is said before it is tried. Exit: 0, or 1 where a package is wrong or
# failed ("row": "FAIL").
import argparse
import json
import os
import statistics
import sys
import time

import torch

from memory import row_bytes
from moec_package import Layer, open_runtime, read_package
from peers import TorchLayer, grouped_mm, products_grouped, products_loop

MOST_DIFFERENCE = 1e-2
CHECKED_TOKENS = 1024  # of a call, spread over it
ZIPF_TOKENS = (128, 1024, 8192)


def make_tensors(shapes, seed):
    generator = torch.Generator(device="cuda").manual_seed(seed)
    tensors = {}
    for role, shape in shapes.items():
        vector = len(shape) == 1 or role.endswith("_bias")
        scale = 0.02 if vector else shape[-1] ** -0.5
        tensor = torch.empty(shape, device="cuda", dtype=torch.float32 if vector else torch.bfloat16)
        tensors[role] = tensor.normal_(0, scale, generator=generator)
    return tensors


def favour(router, skew):
    """Column 0 of x is 1, and this one of the router holds the log of an expert's popularity: routing follows it."""
    popularity = torch.arange(1, router.shape[0] + 1, device="cuda", dtype=torch.float32)
    popularity = popularity.pow(-1.0 if skew == "zipf" else 0.0)
    router[:, 0] = popularity.log().to(router.dtype)


def make_input(tokens, hidden, seed):
    generator = torch.Generator(device="cuda").manual_seed(seed)
    x = torch.empty(tokens, hidden, device="cuda", dtype=torch.bfloat16).normal_(0, 1, generator=generator)
    x[:, 0] = 1
    return x


def capture(call, pool):
    """`call` as a CUDA graph whose memory is that of every graph of the pool."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(2):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream, pool=pool):
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

    def median(self, call, rounds):
        graph = capture(call, torch.cuda.graph_pool_handle())
        return statistics.median(self.time(graph) for _ in range(rounds))


def copy_gbps(clock):
    source, target = (torch.empty(1 << 30, dtype=torch.uint8, device="cuda") for _ in range(2))
    return 2 * (1 << 30) / clock.median(lambda: target.copy_(source), 9) * 1e-3


def dense_flops(clock, rows, k, n):
    """FLOP/s of cuBLAS on [rows,k] x [k,n]."""
    a, b = (torch.randn(extent, k, device="cuda", dtype=torch.bfloat16) for extent in (rows, n))
    out = torch.empty(rows, n, device="cuda", dtype=torch.bfloat16)
    return 2 * rows * k * n / (clock.median(lambda: torch.mm(a, b.t(), out=out), 7) * 1e-6)


def difference(layer, peer, x):
    """|y - want| / |want| of CHECKED_TOKENS tokens, y poisoned before; (it, choices per expert of the whole call)."""
    tokens = x.shape[0]
    y = torch.full_like(x, float("nan"))
    ids = torch.full((tokens, peer.k), -1, dtype=torch.int32, device="cuda")
    weights = torch.zeros(tokens, peer.k, device="cuda")
    layer(x, y, torch.empty(layer.workspace_bytes(tokens), dtype=torch.uint8, device="cuda"), ids, weights)
    some = torch.linspace(0, tokens - 1, min(tokens, CHECKED_TOKENS), device="cuda").long()
    want = peer.reference(x[some], ids[some].long(), weights[some])
    written = bool(torch.isfinite(y).all())
    off = ((y[some].float() - want).norm() / want.norm()).item()
    return (off if written else float("nan")), torch.bincount(ids.flatten().long(), minlength=peer.e["count"]).tolist()


def most_workspace(layers, tokens):
    return max(layer.workspace_bytes(tokens) for layer in layers.values())


def contenders(layers, peer, x, counts, with_peers):
    tokens = x.shape[0]
    y = torch.empty_like(x)
    workspace = torch.empty(most_workspace(layers, tokens), dtype=torch.uint8, device="cuda")
    for name, layer in layers.items():
        yield name, lambda layer=layer: layer(x, y, workspace)
    if with_peers and grouped_mm():
        yield "grouped_mm", lambda: peer(x, products_grouped)
    if with_peers:
        yield "cublas_loop", lambda: peer(x, products_loop, counts)


def time_row(layers, peer, x, counts, clock, with_peers):
    """(figures by contender, why others have none)."""
    graphs, errors, pool = {}, {}, torch.cuda.graph_pool_handle()
    for name, call in contenders(layers, peer, x, counts, with_peers):
        try:
            graphs[name] = capture(call, pool)
        except Exception as error:  # a peer that this torch cannot run is named, not hidden
            if name in layers:
                raise
            errors[name] = str(error).splitlines()[0][:200]
            torch.cuda.synchronize()
    times = {name: [] for name in graphs}
    for _ in range(15 if x.shape[0] < 8192 else 7):
        for name, graph in graphs.items():
            times[name].append(clock.time(graph))
    figures = {}
    for name, values in times.items():
        low, middle, high = statistics.quantiles(values, n=4)
        figures[name] = {"us_median": round(middle, 2), "us_low": round(low, 2), "us_high": round(high, 2)}
    return figures, errors


def free_bytes():
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info()[0]


def rows_of(layers, peer, spec, tokens, clock, head):
    """The rows of a routing and T: "FAIL" for packages that are wrong, which are not timed, then "layer"; or "skipped"."""
    hidden, intermediate = spec["hidden"], spec["experts"]["intermediate"]
    need = row_bytes(tokens, peer.k, hidden, intermediate, most_workspace(layers, tokens))
    free = free_bytes()
    if need["layer"] > free:
        yield {**head, "row": "skipped", "why": "%d MiB needed, %d free" % (need["layer"] >> 20, free >> 20)}
        return
    with_peers = need["layer"] + need["peer"] <= free
    x = make_input(tokens, hidden, 3 + tokens)
    off = {}
    for name, layer in layers.items():
        off[name], counts = difference(layer, peer, x)
    row = {**head, "difference": off, "experts_touched": sum(1 for n in counts if n)}
    wrong = [name for name, value in off.items() if not value <= MOST_DIFFERENCE]
    if wrong:
        why = "%s: |y - want| / |want| above %g or y not written" % (", ".join(wrong), MOST_DIFFERENCE)
        yield {**row, "row": "FAIL", "why": why}
    if "moec" in wrong:
        return
    layers = {name: layer for name, layer in layers.items() if name not in wrong}
    row["times"], row["errors"] = time_row(layers, peer, x, counts, clock, with_peers)
    if not with_peers:
        row["errors"]["peers"] = "%d MiB needed, %d free" % ((need["layer"] + need["peer"]) >> 20, free >> 20)
    rows = min(sum(counts), 65536)
    if tokens >= 1024:
        row["dense_tflops"] = dense_flops(clock, rows, hidden, 2 * intermediate) * 1e-12
    yield {**row, "row": "layer"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle")
    parser.add_argument("case")
    parser.add_argument("--variants", default="")
    parser.add_argument("--tokens", default="1,8,32,128,1024,8192,32768")
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    start, failed = time.time(), False
    runtime = open_runtime(os.path.join(args.bundle, "lib", "libmoec.so"))
    folder = lambda case: os.path.join(args.bundle, "bench", case)
    spec, shapes = read_package(folder(args.case))

    def say(row):
        nonlocal failed
        failed = failed or row["row"] == "FAIL"
        print(json.dumps(row), flush=True)

    with torch.inference_mode():
        clock = Clock()
        say({"row": "ceilings", "case": args.case, "torch": torch.__version__, "device": torch.cuda.get_device_name(),
             "copy_gbps": copy_gbps(clock)})
        for skew in ("uniform", "zipf"):
            tensors = make_tensors(shapes, 1)
            favour(tensors["router.weight"], skew)
            base = Layer(runtime, folder(args.case), spec["name"], tensors)
            layers = {"moec": base}
            for variant in filter(None, args.variants.split(",")):
                try:
                    layers[variant] = Layer(runtime, folder(variant), spec["name"], base)
                except RuntimeError as error:  # of the runtime, in words
                    say({"row": "FAIL", "case": variant, "routing": skew, "tokens": 0, "why": str(error)[:300]})
            peer = TorchLayer(spec, tensors)
            for tokens in map(int, args.tokens.split(",")):
                if skew == "zipf" and tokens not in ZIPF_TOKENS:
                    continue
                head = {"case": args.case, "routing": skew, "tokens": tokens}
                if time.time() - start > args.seconds:
                    say({**head, "row": "skipped", "why": "time is over"})
                    continue
                try:
                    for row in rows_of(layers, peer, spec, tokens, clock, head):
                        say(row)
                except torch.cuda.OutOfMemoryError as error:
                    say({**head, "row": "skipped", "why": str(error).splitlines()[0][:200]})
                except Exception as error:  # of the device: it ends this process, and this layer alone
                    say({**head, "row": "FAIL", "why": str(error)[:300]})
                    return 1
            for layer in reversed(list(layers.values())):
                layer.close()
            del layers, base, peer, tensors
            torch.cuda.empty_cache()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
