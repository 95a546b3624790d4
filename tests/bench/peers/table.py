# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Raw rounds of all pairs -> which of them count, medians, ratios with intervals, and a page of tables.
import math
import statistics

import probe

ACCEPTED = probe.ACCEPTED


def judge(report, library):
    """Adds to every row what its accepted calls say. Whether a call counts is judged by the best probe of its process,
    because reads depend on the pages that a process got; the bound by the best of all processes."""
    for threads in {result["threads"] for result in report["results"]}:
        results = [result for result in report["results"] if result["threads"] == threads]
        timed = [row for result in results for row in result["rows"] if "calls" in row]
        if not timed:
            continue
        best = [max(row["best"][i] for row in timed) for i in (0, 1)]
        ceiling = report["ceilings"][str(threads)]
        best = [max(best[0], ceiling["compute_gflops"]), max(best[1], ceiling["read_gbps"])]
        ceiling["best_probe"] = best
        for result in results:
            timed = [row for row in result["rows"] if "calls" in row]
            own = [max((row["best"][i] for row in timed), default=0) for i in (0, 1)]
            for row in timed:
                judge_row(row, own, best, library)


def judge_row(row, own, best, library):
    fine = [probe.good(rates, own) for rates in row["probes"]]
    times, pairs = {"moec": [], "peer": []}, []
    for n in range(0, len(row["calls"]), 2):
        two = {}
        for index in (n, n + 1):
            call = row["calls"][index]
            if fine[index] and fine[index + 1]:
                two[call["who"]] = call["us"]
                times[call["who"]].append(call["us"])
        if len(two) == 2:
            pairs.append((two["moec"], two["peer"]))
    row["pairs"], row["pairs_accepted"] = len(row["calls"]) // 2, len(pairs)
    bound_us = 1e6 * max(row["gflop"] / best[0], row["weight_gb"] / best[1])
    for who, took in times.items():
        row[who + "_us"] = {"median": statistics.median(took), "lowest": min(took), "highest": max(took),
                            "of_bound": bound_us / statistics.median(took)} if took else None
    row["ratio"] = None
    if pairs:
        names = ("ratio", "low", "high")
        values = probe.paired_ratio(library, pairs)
        row["ratio"] = {name: None if math.isnan(value) else value for name, value in zip(names, values)}


def ratio_cell(row):
    if row is None:
        return ""
    if "wrong" in row:
        return "**wrong**"
    if row["ratio"] is None:
        return f"no pair of {row['pairs']} counts"
    ratio = row["ratio"]
    spread = f" [{ratio['low']:.2f}, {ratio['high']:.2f}]" if ratio["low"] is not None else ""
    text = f"{ratio['ratio']:.2f}{spread} ({row['pairs_accepted']}/{row['pairs']})"
    return f"**{text}**" if ratio["ratio"] < 1 else text


def milliseconds(us):
    return f"{us / 1000:.3g}" if us < 1e6 else f"{us / 1000:.0f}"


def time_cell(figure):
    if not figure:
        return ""
    return f"{milliseconds(figure['median'])} ({milliseconds(figure['lowest'])}-{milliseconds(figure['highest'])})"


def moec_of(rows):
    """moec's figure at a T beside the peer with the most accepted pairs."""
    timed = [row for row in rows if row and row.get("moec_us")]
    return max(timed, key=lambda row: row["pairs_accepted"])["moec_us"] if timed else None


def threads_text(threads):
    return f"{threads} thread{'s' * (int(threads) > 1)}"


def lines_of(cells):
    return "| " + " | ".join(cells) + " |"


def section(report, layer, threads):
    results = [r for r in report["results"] if (r["layer"], r["threads"]) == (layer, threads)]
    shown = [r for r in results if r["rows"]]
    yield f"\n## {layer}, {threads_text(threads)}\n"
    for result in results:
        if "skipped" in result:
            how = "ended early" if result["rows"] else "was skipped"
            yield f"- {result['peer']} {how}: {result['skipped']}"
    if not shown:
        return
    by_t = {t: [next((row for row in r["rows"] if row["T"] == t), None) for r in shown] for t in report["tokens"]}
    names = [r["peer"] for r in shown]
    yield "\nTime of the peer divided by moec's, 95 % interval, pairs that count; bold: moec is slower.\n"
    yield lines_of(["T", "moec ms", "of bound", *names])
    yield lines_of(["---:"] * (3 + len(names)))
    for t, rows in by_t.items():
        moec = moec_of(rows)
        yield lines_of([str(t), time_cell(moec), f"{100 * moec['of_bound']:.0f} %" if moec else "",
                        *[ratio_cell(row) for row in rows]])
    yield "\nMilliseconds: median (lowest-highest) of the calls that count.\n"
    yield lines_of(["T", *names])
    yield lines_of(["---:"] * (1 + len(names)))
    for t, rows in by_t.items():
        yield lines_of([str(t), *[time_cell(row and row.get("peer_us")) for row in rows]])
    for result in shown:
        for row in result["rows"]:
            if "wrong" in row:
                yield f"\n**{result['peer']} at T = {row['T']} {row['wrong']}.**"


def slower(report):
    """What moec loses, one line each."""
    for result in report["results"]:
        for row in result["rows"]:
            ratio = row.get("ratio")
            if ratio and ratio["ratio"] < 1:
                sure = ratio["high"] is not None and ratio["high"] < 1
                yield (f"- {result['layer']}, {threads_text(result['threads'])}, T = {row['T']}: {result['peer']} "
                       f"takes {ratio['ratio']:.2f} of moec's time" + ("" if sure else ", within the spread"))


def uncounted(report):
    """How many cases nothing can be concluded from."""
    return sum("calls" in row and row["ratio"] is None for result in report["results"] for row in result["rows"])


def versions(report):
    found = {}
    for result in report["results"]:
        found.update(result.get("facts", {}).get("peer", {}))
    return ", ".join(f"{name} {version}" for name, version in sorted(found.items()))


def markdown(report):
    cpu = report["cpu"]
    isa = {r["facts"]["moec"]["isa"] for r in report["results"] if "facts" in r}
    lines = ["# moec beside its peers", "",
             f"{cpu.get('model name', 'unknown CPU')}, family {cpu.get('cpu family', '?')}, model "
             f"{cpu.get('model', '?')}, {cpu['logical_cpus']} CPUs; {report['date']}. Routed experts, bf16, "
             f"{report['skew']} routing given to all, cold weights, wall time.",
             f"{report['moec_version']} ({', '.join(sorted(isa)) or 'not run'}); {versions(report)}."]
    for threads, ceiling in report["ceilings"].items():
        best = ceiling.get("best_probe", (ceiling["compute_gflops"], ceiling["read_gbps"]))
        lines.append(f"Ceilings, {threads_text(threads)}: {best[0]:.0f} GFLOP/s ({ceiling['compute_kind']}), "
                     f"{best[1]:.1f} GB/s.")
    lines.append(f"A call counts if the probes before and behind it reach {ACCEPTED} of the best of their process.")
    for key in dict.fromkeys((r["layer"], r["threads"]) for r in report["results"]):
        lines += section(report, *key)
    lines += ["", "## Where moec is slower", ""]
    lines += list(slower(report)) or ["In no case that counts."]
    if uncounted(report):
        lines += ["", f"{uncounted(report)} cases have no pair of calls that counts: repeat them on an idle machine."]
    return "\n".join(lines) + "\n"
