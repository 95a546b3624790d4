# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A layer -> the numbers of tokens whose time per token jumps against that of their neighbours.

    python3 tests/bench/cliffs.py MOEC SPEC [--tokens 1-600] [--limit 8] [-- OPTIONS OF bench]

Every T is timed by `moec bench`; its time per token is compared with the median of those of T - 3 .. T + 3 without T.
Those beyond the limit, in per cent, are timed again with their neighbours, three times at most, and the fastest median
counts: other programs only add time. Exit 1 if a T stays beyond the limit.
"""
import argparse
import json
import statistics
import subprocess
import sys

REACH = 3  # neighbours on each side


def bench(args, tokens):
    command = [args.moec, "bench", args.spec, "--tokens", ",".join(map(str, tokens)), "--rounds", str(args.rounds),
               "--format", "jsonl", "-q", *args.options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stderr}cliffs: bench ended with {done.returncode}")
    # T without an accepted round have no time
    results = map(json.loads, done.stdout.splitlines())
    return {result["tokens"]: result["us_median"] / result["tokens"] for result in results if result.get("us_median")}


def jump(times, tokens):
    around = [times[t] for t in range(tokens - REACH, tokens + REACH + 1) if t != tokens and t in times]
    return times[tokens] / statistics.median(around) - 1 if len(around) >= REACH else 0


def beyond(times, limit):
    return [t for t in sorted(times) if abs(jump(times, t)) > limit]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("moec")
    parser.add_argument("spec")
    parser.add_argument("--tokens", default="1-600", help="FIRST-LAST")
    parser.add_argument("--limit", type=float, default=8, help="per cent")
    parser.add_argument("--rounds", type=int, default=5)
    own, _, options = "\0".join(sys.argv[1:]).partition("\0--\0")
    args = parser.parse_args(own.split("\0"))
    args.options = options.split("\0") if options else []
    first, last = map(int, args.tokens.split("-"))
    limit = args.limit / 100

    times = {}
    for start in range(first, last + 1, 50):
        part = range(start, min(start + 50, last + 1))
        times.update(bench(args, part))
        print(f"cliffs: {part[0]} .. {part[-1]} timed", file=sys.stderr)
    for _ in range(3):
        again = {near for t in beyond(times, limit) for near in range(t - REACH, t + REACH + 1)}
        again &= set(range(first, last + 1))
        again |= {t for t in range(first, last + 1) if t not in times}
        if not again:
            break
        print(f"cliffs: {len(again)} timed again", file=sys.stderr)
        for t, us in bench(args, sorted(again)).items():
            times[t] = min(us, times.get(t, us))

    found = beyond(times, limit)
    largest = max(times, key=lambda t: abs(jump(times, t)))
    print(f"{args.spec}: {len(times)} of {last - first + 1} numbers of tokens timed; the largest jump is "
          f"{100 * jump(times, largest):+.1f} % at T = {largest}; beyond {args.limit:g} %: "
          f"{', '.join(map(str, found)) or 'none'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
