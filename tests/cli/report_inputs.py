# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Writes results of bench and records of tuning with known figures into the current folder:
#   uniform.json (with stages, and T = 256 without an accepted round), zipf.jsonl, threads.json, layer.tune.jsonl
import json

TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)


def result(tokens, factor, stages):
    bound = 1000 * max(tokens ** 0.5, tokens / 20)
    us = factor * bound
    made = {"tokens": tokens, "us_median": us, "us_low": 0.95 * us, "us_high": 1.1 * us, "gflops": 30e3 * tokens / us,
            "gbps": 30e3 * min(1, 1000 / us), "bound_us": bound, "share_of_bound": bound / us, "rounds": 8,
            "rounds_accepted": 8, "round_us": [us * (1 + 0.01 * i) for i in range(8)]}
    if stages:
        shares = {"router": 0.02, "route": 0.001, "experts_gate_up": 0.64, "experts_down": 0.32, "combine": 0.019}
        made["steps"] = [{"name": name, "kind": "rows", "us_median": share * us, "share": share}
                         for name, share in shares.items()]
    return made


def run(skew, threads, factor, stages=False):
    return {"moec_bench": 1, "name": "qwen3-30b-a3b", "isa": "avx512", "threads": threads, "skew": skew,
            "weights": "cold", "moec_version": "0.1.0", "spec_sha256": "a" * 64, "package_sha256": "b" * 64,
            "date": "2026-11-23T14:05:59Z", "types": {"input": "bf16", "weight": "bf16", "output": "bf16"},
            "machine": {"vendor": "AuthenticAMD", "brand": "AMD EPYC", "family": 25, "model": 17, "stepping": 1,
                        "logical_cpus": 2, "flags": ["avx2", "avx512f", "avx512_bf16"]},
            "ceilings": {"compute_gflops": 236.0 * threads, "compute_kind": "AVX-512 bf16 dot", "read_gbps": 33.0,
                         "units": [{"name": "AVX-512 f32 FMA", "gflops": 118.0}]},
            "results": [result(tokens, factor, stages) for tokens in TOKENS]}


def panel(block_m, prefetch_block):
    return (f"panel {{ block_k = 32, block_m = {block_m}, heights = 1, panel_m = 12, "
            f"prefetch_block = {prefetch_block}, share = 1, streams = 4, tiles = 2, a_hint = none, hint = t1 }} "
            "numeric fma")


# Candidate i of a stage; the one with i = 7 is wrong.
def measurement(stage, i):
    made = {"schema": "moec.tune/1", "kind": "measurement",
            "stage": {"spec": "a" * 64, "layer": "qwen3_30b_a3b", "name": stage, "n": 768, "k": 2048, "parts": 1,
                      "a": "bf16", "b": "bf16", "out": "bf16", "gathered": False},
            "target": "cpu:avx512", "class": "9..12", "threads": 1, "routing": "uniform",
            "machine": {"cpu": {"vendor": "AuthenticAMD", "family": 25, "model": 17, "stepping": 1,
                                "name": "AMD EPYC", "isas": ["baseline", "avx2", "avx512"]}},
            "default": panel(12, 32), "candidate": panel(1 + i % 12, 16 + 8 * (i // 12)),
            "result": "wrong" if i == 7 else "ok"}
    if i == 7:
        made["detail"] = "row 3, column 7"
    else:
        default, candidate = 1000.0 + i % 3, 900.0 + 20 * i
        made["times"] = {"default_us": [default, 0.99 * default, 1.02 * default],
                         "candidate_us": [candidate, 0.99 * candidate, 1.02 * candidate], "pairs": 11,
                         "wins": 11 if candidate < default else 0,
                         "gain": [default / candidate - 1, default / candidate - 1.01, default / candidate - 0.99],
                         "flops": 37748736, "bytes": 3145728}
    made["share"] = 0.6
    made["stamp"] = {"moec": "0.1.0", "abi": "1.0", "timing": 1, "date": f"2026-11-27T10:00:{i:02}Z"}
    return made


# Of a stage whose search ended: candidate i.
def choice(stage, i):
    made = measurement(stage, i)
    made.update(kind="choice", choice=made.pop("candidate"))
    del made["result"]
    made["stamp"]["date"] = "2026-11-27T10:00:40Z"
    return made


def main():
    uniform = run("uniform", 1, 1.1, stages=True)
    withheld = uniform["results"][TOKENS.index(256)]
    for key in ("us_median", "us_low", "us_high", "gflops", "gbps", "share_of_bound"):
        withheld[key] = None
    withheld.update(reason="no round accepted", rounds_accepted=0, round_us=[])
    del withheld["steps"]
    with open("uniform.json", "w") as file:
        json.dump(uniform, file, indent=2)
    with open("threads.json", "w") as file:
        json.dump(run("uniform", 2, 1.3), file)
    zipf = run("zipf", 1, 1.4)
    with open("zipf.jsonl", "w") as file:
        for entry in zipf.pop("results"):
            file.write(json.dumps({**zipf, **entry}) + "\n")
    with open("layer.tune.jsonl", "w") as file:
        for stage in ("experts_gate_up", "experts_down"):
            for i in range(30):
                file.write(json.dumps(measurement(stage, i)) + "\n")
            if stage == "experts_gate_up":
                file.write(json.dumps(choice(stage, 1)) + "\n")


if __name__ == "__main__":
    main()
