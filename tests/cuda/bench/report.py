# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# report.py BUNDLE RESULTS_TXT BENCH_JSONL -> measured beside predicted, as text on stdout; needs no PyTorch.
#
#   calls     per layer, routing and T: predicted (model.py), measured, their ratio, the bound's share, and the peers
#             beside
#   stages    per layer and T of one profiled call: every kernel, predicted, measured, their ratio, and how many of its
#             blocks fit onto a multiprocessor, which is said where the grid assumes more
#   training  per layer that trains and T: a forward call that saves, backward calls with gradients in the weights'
#             type and in f32, predicted and measured, their rates (a backward pass multiplies twice what a forward pass
#             does), and the kernels of each
#
# Measured is the benchmark's median of a captured call where there is one, else the least of the profiled calls, marked
# `~`.
import collections
import json
import os
import sys

from model import SPEC, experts_flops, predict, stages
from package_facts import BYTES, Package

PEERS = ("grouped_mm", "cublas_loop")


def read_rows(path):
    rows = []
    if os.path.exists(path):
        with open(path) as file:
            for line in file:
                try:
                    rows.append(json.loads(line))
                except ValueError:  # the last line of a process that was ended
                    continue
    return rows


def read_profile(path):
    """({(case, T): us}, {(case, T): [(kernel, grid, resident, us)]}) of the lines `call` and `stage`."""
    calls, kernels = {}, collections.defaultdict(list)
    with open(path, errors="replace") as file:
        for line in file:
            words = line.split()
            if words[:1] == ["call"] and len(words) == 4:
                calls[words[1], int(words[2])] = float(words[3])
            elif words[:1] == ["stage"] and len(words) == 9:
                kernels[words[1], int(words[2])].append((words[3], int(words[4]), int(words[7]), float(words[8])))
    return calls, kernels


def device_of(results, rows):
    with open(results, errors="replace") as file:
        named = [line for line in file if line.startswith("device: ")] + [row.get("device", "") for row in rows]
    return "h200" if any("H200" in name for name in named) else "h100"


class Packages:
    def __init__(self, bundle):
        self.bundle, self.known = bundle, {}

    def find(self, case):
        if case not in self.known:
            self.known[case] = None
            for arch in ("sm_90a", "sm_80"):
                try:
                    self.known[case] = Package(os.path.join(self.bundle, "bench", case), arch)
                    break
                except (OSError, ValueError):
                    continue
        return self.known[case]


def micro(value):
    return "%10.1f" % value if value is not None else "%10s" % "-"


def measured_calls(rows, profiled):
    """{(case, routing, T): {contender: us}}; a layer's own time stands under its case."""
    table = collections.OrderedDict()
    for row in rows:
        if row.get("row") == "layer":
            times = {name: figures["us_median"] for name, figures in row["times"].items()}
            for case in [row["case"]] + [name for name in times if name not in PEERS + ("moec",)]:
                own = times["moec" if case == row["case"] else case]
                table[case, row["routing"], row["tokens"]] = {"own": own, "dense": row.get("dense_tflops"),
                                                              **{peer: times.get(peer) for peer in PEERS}}
    for (case, tokens), least in profiled.items():
        if "/" not in case:
            table.setdefault((case, "uniform", tokens), {"own": least, "profiled": True})
    return table


def print_calls(packages, table, gpu):
    print("%-26s %-8s %6s %10s %10s %6s %6s %7s %10s %10s %9s" %
          ("layer", "routing", "T", "predicted", "measured", "ratio", "share", "TFLOP/s", "grouped_mm", "loop",
            "dense TF"))
    for (case, routing, tokens), times in table.items():
        package = packages.find(case)
        if not package:
            continue
        seconds, least = predict(package, tokens, gpu)
        own = times["own"]
        mark = "~" if times.get("profiled") else " "
        dense = "%9.0f" % times["dense"] if times.get("dense") else "%9s" % "-"
        print("%-26s %-8s %6d %10.1f %s%s %6.2f %5.0f%% %7.0f %s %s %s" %
              (case, routing, tokens, seconds * 1e6, micro(own), mark, own / (seconds * 1e6), 100 * least * 1e6 / own,
               experts_flops(package, tokens) / own * 1e-6, micro(times.get("grouped_mm")),
               micro(times.get("cublas_loop")), dense))


def print_stages(packages, profiled, gpu):
    for (case, tokens), kernels in profiled.items():
        package = packages.find(case) if "/" not in case else None
        if not package:
            continue
        want = {launch.symbol: (took * 1e6, cause) for launch, took, cause in stages(package, tokens, gpu)}
        total = sum(us for _, _, _, us in kernels)
        print("\n%s T=%d: %.1f us in %d kernels, each alone" % (case, tokens, total, len(kernels)))
        print("  %-44s %8s %8s %10s %10s %6s  %s" %
              ("kernel", "grid", "resident", "predicted", "measured", "ratio", "bound by"))
        assumed = {launch.symbol: launch.row["blocks_per_sm"] for launch in package.launches}
        for symbol, grid, resident, us in kernels:
            predicted, cause = want.get(symbol, (None, "not predicted"))
            ratio = "%6.2f" % (us / predicted) if predicted else "%6s" % "-"
            short = " (%d assumed)" % assumed[symbol] if 0 <= resident < assumed.get(symbol, 0) else ""
            print("  %-44s %8d %8d %s %s %s  %s%s" %
                  (symbol.split("__")[-1], grid, resident, micro(predicted), micro(us), ratio, cause, short))


def trained_pass(package, which):
    """The pass that "saving", "backward" or "backward-f32" times, and bytes of an element of matrices' gradients."""
    if which == "saving":
        return package, 4
    weights = [BYTES[region["dtype"]] for region in package.regions if region["layout"] == "panels"]
    return package.backward, 4 if which.endswith("-f32") else min(weights)


def print_training(packages, calls, profiled, gpu):
    print("\n%-26s %6s %14s %10s %10s %6s %10s %7s %10s" %
          ("training", "T", "pass", "predicted", "measured", "ratio", "of forward", "TFLOP/s", "of peak"))
    for (case, tokens), own in calls.items():
        name, _, which = case.partition("/")
        package = packages.find(name)
        if not which or not package or not package.backward:
            continue
        owner, gradient_bytes = trained_pass(package, which)
        seconds, _ = predict(owner, tokens, gpu, gradient_bytes)
        flops = experts_flops(package, tokens) * (1 if which == "saving" else 2)
        forward = calls.get((name + "/saving", tokens), own)
        rate = flops / own * 1e6
        print("%-26s %6d %14s %10.1f %s %6.2f %10.2f %7.0f %9.0f%%" %
              (name, tokens, which, seconds * 1e6, micro(own), own / (seconds * 1e6), own / forward, rate * 1e-12,
               100 * rate / gpu["peak"]))
    for (case, tokens), kernels in profiled.items():
        name, _, which = case.partition("/")
        package = packages.find(name)
        if not which or not package or not package.backward:
            continue
        total = sum(us for _, _, _, us in kernels)
        owner, gradient_bytes = trained_pass(package, which)
        made = stages(owner, tokens, gpu, gradient_bytes)
        want = {launch.symbol: (took * 1e6, cause) for launch, took, cause in made}
        print("\n%s T=%d: %.1f us in %d kernels, each alone" % (case, tokens, total, len(kernels)))
        print("  %-60s %8s %8s %10s %10s %6s  %s" %
              ("kernel", "grid", "resident", "predicted", "measured", "of all", "bound by"))
        for symbol, grid, resident, us in kernels:
            predicted, cause = want.get(symbol, (None, "not predicted"))
            print("  %-60s %8d %8d %s %s %5.1f%%  %s" % (symbol.split("__", 1)[-1], grid, resident, micro(predicted),
                                                         micro(us), 100 * us / total if total else 0, cause))


def print_others(rows):
    for row in rows:
        if row.get("row") == "ceilings":
            words = (row["case"], row["copy_gbps"], row["torch"], row["device"])
            print("%s: device copy %.0f GB/s, torch %s, %s" % words)
    for row in rows:
        if row.get("row") == "layer":
            off = ", ".join("%s %.1e" % pair for pair in row["difference"].items())
            print("%s %s T=%d: |y - want| / |want| %s" % (row["case"], row["routing"], row["tokens"], off))
        if row.get("row") in ("FAIL", "skipped"):
            print("%s %s %s T=%s: %s" % (row["row"], row["case"], row["routing"], row["tokens"], row["why"]))
        for peer, why in row.get("errors", {}).items():
            print("%s %s T=%d: %s has no time: %s" % (row["case"], row["routing"], row["tokens"], peer, why))


def main(words):
    if len(words) != 3:
        print("usage: report.py BUNDLE RESULTS_TXT BENCH_JSONL", file=sys.stderr)
        return 2
    bundle, results, bench = words
    rows = read_rows(bench)
    calls, kernels = read_profile(results)
    name, packages = device_of(results, rows), Packages(bundle)
    print("microseconds; predicted for %s: %s\n" % (name, ", ".join("%s %.3g" % pair for pair in SPEC[name].items())))
    print_calls(packages, measured_calls(rows, calls), SPEC[name])
    print_stages(packages, kernels, SPEC[name])
    if any("/" in case for case, _ in calls):
        print_training(packages, calls, kernels, SPEC[name])
    print()
    print_others(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
