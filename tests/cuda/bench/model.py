# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# model.py PACKAGE... [--gpu h100|h200] [--tokens 1,8,...] -> what every stage of a call should take, by its manifest
# and schedule; of a layer that trains the forward and the backward call.
#
# Per launch, with uniform routing (rows of an expert are binomial), in seconds:
#
#     matmul    max(tensor + epilogue, L2, DRAM) + startup
#                 tensor    2 * tiles * rows that are multiplied * block_n * k / (rate * peak), whole waves of tiles
#                 epilogue  tiles of a multiprocessor * clocks of one / clock, where a block has it to itself
#                 L2        tiles * k * (block_m + columns) * bytes + output, at l2
#                 DRAM      weights of the experts reached + rows in + rows out, at dram
#     outer     max(tensor, L2, DRAM) + startup, of an outer product: a tile goes through the rows of its group
#                 tensor    2 * rows of a group in whole steps * elements of its result / (rate * peak)
#                 L2        tiles of a group * its rows * bytes of a row of both slots, and the result, at l2
#                 DRAM      rows in + the result of all groups, at dram
#     others    bytes of their buffers / dram + startup
#
#     bound     max(FLOP / peak, (weights of the experts reached + gradients of all) / dram): no schedule is faster
#
# Peaks are what large products and copies reach, not what data sheets say; startup and the rates of templates are what
# the model assumes until they are measured.
import argparse
import itertools
import math
import os
import sys

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
from package_facts import BYTES, Outer, Package, binomial

SPEC = {  # FLOP/s of dense bf16, bytes/s, bytes/s, clocks/s, multiprocessors
    "h100": {"peak": 798e12, "dram": 3.0e12, "l2": 6.0e12, "clock": 1.6e9, "multiprocessors": 132},
    "h200": {"peak": 788e12, "dram": 4.3e12, "l2": 6.0e12, "clock": 1.6e9, "multiprocessors": 132},
}
STARTUP = 2.0e-6  # of a launch that overlaps its predecessor's end
EARLY = {1: 0.0, 2: 0.5e-6, 3: 1.5e-6}  # of it, what `early` of a matmul's schedule takes out of the way
# of the peak
RATE = {"warp_specialised": 1.0, "contiguous": 1.0, "swapped_specialised": 0.5, "multistage": 0.6, "swapped": 0.5}
F32_RATE = 0.06  # FMA instead of tensor cores
EPILOGUE = {1: 3300, 2: 4000}  # clocks of a 128 x 256 tile, by parts
OUTER_STAGES = 4  # slots of an outer product's ring (codegen/cuda/CudaOuterTile.cpp)
SHARED = 228 << 10  # bytes of a multiprocessor
TOKENS = [1, 8, 32, 128, 1024, 8192, 32768]


class Load:
    """Rows per group: how many groups have some, and how many blocks of rows there are."""

    def __init__(self, matmul, tokens):
        self.groups = matmul.groups if matmul.routed else 1
        self.rows = tokens * matmul.rows_per_token
        chance = 1.0 if self.groups == 1 else min(1.0, matmul.rows_per_token / self.groups)
        self.counts = binomial(tokens, chance)
        self.reached = self.groups * sum(p for n, p in self.counts if n)

    def blocks(self, block_rows):
        return self.groups * sum(p * -(-n // block_rows) for n, p in self.counts)


def joined(owner, launch):
    """The dense stage whose tiles the launch has besides its own, if any: the one before it of the same shape."""
    if not launch.variant.endswith("_joined"):
        return None
    own = launch.matmul
    for step in range(launch.row["step"] - 1, -1, -1):
        if owner.steps[step]["kind"] == "matmul":
            other = owner.matmul(step)
            if (other.n, other.k, other.parts) == (own.n, own.k, own.parts) and not other.routed:
                return other
    return None


def matmul_seconds(owner, launch, tokens, gpu):
    template, integers = launch.kernel
    seconds = {"tensor": 0.0, "l2": 0.0, "dram": 0.0}
    tiles = 0.0
    for matmul in filter(None, (launch.matmul, joined(owner, launch))):
        load = Load(matmul, tokens)
        block_m, block_n, width = integers["block_m"], integers["block_n"], BYTES[matmul.b.dtype]
        columns = -(-matmul.n * matmul.parts // block_n)
        own_tiles = load.blocks(block_m) * columns
        tiles += own_tiles * integers.get("splits", 1)
        wide = "specialised" in template or template == "contiguous"  # wgmma: one operand of 64 rows
        rows = max(block_m, 64) if wide and "swapped" not in template else block_m
        multiplied = own_tiles * rows
        if integers.get("vacant") == 2:  # blocks of 64 rows that hold none are left out
            multiplied = load.blocks(64) * columns * 64
        rate = RATE[template] if width == 2 else F32_RATE
        seconds["tensor"] += 2 * multiplied * block_n * matmul.k / (rate * gpu["peak"])
        out = load.rows * matmul.n * BYTES[matmul.out.dtype]
        seconds["l2"] += (own_tiles * matmul.k * (block_m + block_n) * width + out) / gpu["l2"]
        rows_in = (tokens if matmul.gathered or not matmul.routed else load.rows) * matmul.k * BYTES[matmul.a.dtype]
        rows_in += tokens * sum(operand.per_token for operand in matmul.operands)
        seconds["dram"] += (load.reached * matmul.n * matmul.parts * matmul.k * width + rows_in + out) / gpu["dram"]
    # the last wave of tiles is as long as a full one
    resident = launch.row["blocks_per_sm"] * gpu["multiprocessors"]
    if tiles > 0.9 * resident:
        seconds["tensor"] *= math.ceil(tiles / resident) * resident / tiles if tiles > resident else 1
    # nothing multiplies while a block that is alone stores a tile
    if launch.row["blocks_per_sm"] == 1 and launch.kernel[0] in ("warp_specialised", "contiguous"):
        share = integers["block_m"] * integers["block_n"] / (128 * 256)
        waves = math.ceil(tiles / gpu["multiprocessors"])
        seconds["tensor"] += waves * share * EPILOGUE[launch.matmul.parts] / gpu["clock"]
    cause = max(seconds, key=seconds.get)
    return seconds[cause] + STARTUP - EARLY[integers.get("early", 1)], cause


def outer_seconds(owner, launch, tokens, gpu, gradient_bytes):
    outer, tiles = launch.outer, launch.row["units"]["fixed"]
    load, width = Load(outer, tokens), BYTES[outer.a.dtype]
    wgmma = width == 2 and owner.arch.startswith("sm_90")
    depth = 64 if wgmma else 32 if width == 2 else 16  # rows of a step
    rows = depth * load.blocks(depth)
    row_bytes = launch.row["shared_bytes"] / OUTER_STAGES / depth  # of both slots
    out = outer.groups * outer.area * gradient_bytes
    rate = RATE["warp_specialised" if wgmma else "multistage"] if width == 2 else F32_RATE
    seconds = {"tensor": 2 * rows * outer.area / (rate * gpu["peak"]),
               "l2": (tiles / outer.groups * rows * row_bytes + out) / gpu["l2"],
               "dram": (tokens * (outer.a.per_token + outer.b.per_token) + out) / gpu["dram"]}
    resident = max(1, SHARED // (launch.row["shared_bytes"] + 1024)) * gpu["multiprocessors"]
    if tiles > 0.9 * resident:  # the last wave of tiles is as long as a full one
        seconds["tensor"] *= math.ceil(tiles / resident) * resident / tiles if tiles > resident else 1
    else:  # multiprocessors without a tile
        seconds["tensor"] *= gpu["multiprocessors"] / min(tiles, gpu["multiprocessors"])
    cause = max(seconds, key=seconds.get)
    return seconds[cause] + STARTUP, cause


def other_seconds(owner, launch, tokens, gpu):
    moved = 0
    for buffer in (owner.buffers[index] for index in launch.step["buffers"]):
        moved += buffer.per_token * tokens + (buffer.fixed if buffer.kind == "workspace" else 0)
    if launch.kind == "matmul":  # a copy of rows, cleared sums or added partial sums
        moved = 2 * tokens * launch.matmul.rows_per_token * launch.matmul.k * BYTES[launch.matmul.a.dtype]
        if launch.variant.endswith("sums"):
            moved = tokens * launch.matmul.n * 4 * 8
        if launch.variant == "clear":
            moved = tokens * launch.matmul.n * 4
    return moved / gpu["dram"] + STARTUP, "bytes"


# In what follows `owner` is a pass: a Package, which is the forward pass, or its .backward.


def stages(owner, tokens, gpu, gradient_bytes=4):
    """[(launch, seconds, what bounds it)] of a call, whose matrices have gradients of so many bytes an element."""
    made = []
    for launch in owner.launches_at(tokens):
        multiplies = launch.kernel and not launch.variant.endswith(("sums", "permute"))
        if launch.outer:
            found = outer_seconds(owner, launch, tokens, gpu, gradient_bytes)
        else:
            found = (matmul_seconds if multiplies else other_seconds)(owner, launch, tokens, gpu)
        made.append((launch,) + found)
    return made


def products(owner):
    """The matmuls and outer products of a call that asks for no report."""
    for step, facts in enumerate(owner.steps):
        if not facts["if_asked"]:
            product = owner.matmul(step) if facts["kind"] == "matmul" else owner.outer(step)
            if product:
                yield product


def bound(owner, tokens, gpu, gradient_bytes=4):
    flops = moved = 0.0
    for product in products(owner):
        load = Load(product, tokens)
        flops += load.rows * product.flops_per_row
        if isinstance(product, Outer):
            moved += product.groups * product.area * gradient_bytes
        else:
            moved += load.reached * product.n * product.k * product.parts * BYTES[product.b.dtype]
    return max(flops / gpu["peak"], moved / gpu["dram"])


def experts_flops(owner, tokens):
    """FLOP of the experts' products, shared ones included, the router's not: what rates are given in."""
    return float(sum(tokens * product.rows_per_token * product.flops_per_row for product in products(owner)
                     if not product.name.startswith("router")))


def predict(owner, tokens, gpu, gradient_bytes=4):
    """(seconds of a call, seconds of its bound)."""
    seconds = sum(seconds for _, seconds, _ in stages(owner, tokens, gpu, gradient_bytes))
    return seconds, bound(owner, tokens, gpu, gradient_bytes)


def main():
    parser = argparse.ArgumentParser(description="what every stage of a call should take")
    parser.add_argument("packages", nargs="+", metavar="PACKAGE", help="what moec compile made, or a case of a bundle")
    parser.add_argument("--gpu", choices=sorted(SPEC), default="h100")
    parser.add_argument("--tokens", default=",".join(map(str, TOKENS)))
    parser.add_argument("--arch", default="sm_90a")
    parser.add_argument("--stages", action="store_true", help="every launch of every call")
    args = parser.parse_args()
    gpu = SPEC[args.gpu]
    print("%-28s %6s %10s %10s %6s %7s" % (args.gpu, "T", "us", "bound us", "share", "TFLOP/s"))
    for folder in args.packages:
        try:
            package = Package(folder, args.arch)
        except (OSError, ValueError) as error:
            print("model.py: %s" % error, file=sys.stderr)
            return 2
        for owner, tokens in itertools.product(package.passes(), map(int, args.tokens.split(","))):
            seconds, least = predict(owner, tokens, gpu)
            rate = experts_flops(owner, tokens) / seconds
            name = package.name + (" backward" if owner is package.backward else "")
            print("%-28s %6d %10.1f %10.1f %5.0f%% %7.0f" %
                  (name, tokens, seconds * 1e6, least * 1e6, 100 * least / seconds, rate * 1e-12))
            for launch, took, cause in stages(owner, tokens, gpu) if args.stages else ():
                print("    %-40s %10.1f  %s" % (launch.symbol.split("__")[1], took * 1e6, cause))
    return 0


if __name__ == "__main__":
    sys.exit(main())
