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
                wrong = i == 7
                file.write(json.dumps({"stage": stage, "target": "cpu:avx512", "rows": "9..12",
                                       "result": "wrong" if wrong else "slower",
                                       "candidate_us": None if wrong else 900.0 + 20 * i, "default_us": 1000.0 + i % 3,
                                       "candidate": {"block_m": i % 12, "prefetch": 64 * (i // 12)}}) + "\n")


if __name__ == "__main__":
    main()
