# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tokens per second of a transformers model with and without moec.torch.accelerate, alternating in one process.

    python bench_torch.py                             # layers of Qwen3-30B-A3B, bf16, random weights
    python bench_torch.py --layers 1 --prefill 128 --rounds 3

The layers have the published widths; the vocabulary is small, so that the layers are what is measured. Each round times
every way once, in turn; the table has medians, and the smallest and largest ratio of a round.
"""

import argparse
import copy
import statistics
import sys
import time
import warnings

import torch
import transformers
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

import moec.torch


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))


def build(layers):
    config = Qwen3MoeConfig(
        hidden_size=2048,
        intermediate_size=6144,
        moe_intermediate_size=768,
        num_experts=128,
        num_experts_per_tok=8,
        norm_topk_prob=True,
        num_attention_heads=32,
        num_key_value_heads=4,
        head_dim=128,
        num_hidden_layers=layers,
        vocab_size=1024,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    model = Qwen3MoeForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    return model.eval().requires_grad_(False)


def twin(model):
    """The same model with the same weights in memory, whose forward may be another."""
    shared = {id(t): t for t in list(model.parameters()) + list(model.buffers())}
    return copy.deepcopy(model, shared)


def measure(model, prefill, decode):
    """Seconds of a prompt of `prefill` tokens, and of each of `decode` tokens after it."""
    ids = torch.randint(1024, (1, prefill), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        begin = time.perf_counter()
        out = model(ids, use_cache=True, logits_to_keep=1)
        first = time.perf_counter()
        for _ in range(decode):
            token = out.logits[:, -1:].argmax(-1)
            out = model(token, cache=out.past_key_values, use_cache=True)
        end = time.perf_counter()
    return first - begin, (end - first) / decode


def main():
    parser = argparse.ArgumentParser(description="tokens per second with and without moec")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="default: torch's")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()

    ways = {}
    model = build(options.layers)
    for name in ("eager", "batched_mm", "grouped_mm"):
        ways[f"transformers, {name}"] = twin(model)
        ways[f"transformers, {name}"].set_experts_implementation(name)
    ways["moec"] = model
    report = moec.torch.accelerate(model, strict=True)
    print(report)
    print(f"{cpu_name()}, {torch.get_num_threads()} threads; torch {torch.__version__}, transformers "
          f"{transformers.__version__}; {options.layers} layers of Qwen3-30B-A3B, bf16")

    times = {name: [] for name in ways}
    for number in range(options.rounds + 1):
        for name, way in ways.items():
            # Every token of batched_mm copies the weights of its experts: a prompt as long as this needs GBs.
            long = 16 if "batched_mm" in name else options.prefill
            taken = measure(way, long, options.decode)
            if number:  # the first round warms up
                times[name].append((taken[0] / long, taken[1]))
        print(f"round {number}", file=sys.stderr)

    print(f"{'way':28s} {'prefill':>12s} {'decode':>12s}   tokens per second; ratio of moec to it, each round")
    for name, rounds in times.items():
        speeds = [1 / statistics.median(phase) for phase in zip(*rounds)]
        ratios = []
        for phase in (0, 1):
            each = [theirs[phase] / ours[phase] for theirs, ours in zip(rounds, times["moec"])]
            ratios.append(f"{min(each):.2f}..{max(each):.2f}")
        print(f"{name:28s} {speeds[0]:12.1f} {speeds[1]:12.1f}   {ratios[0]:>14s} {ratios[1]:>14s}")


if __name__ == "__main__":
    main()
