# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# A package's manifest, schedule and spec -> its launches on one CUDA architecture with what their kernels are made of.
#
#   facts = Package(FOLDER)            as `moec compile` writes it, or a case of a bundle
#   facts.launches_at(T)               what a call of T tokens without reports launches, in order
#   facts.launches[i].matmul           the grouped matmul of a launch, or None; .kernel has its template and integers
import glob
import json
import math
import os
import re

BYTES = {"f32": 4, "i32": 4, "bf16": 2, "f16": 2, "i64": 8}


class Buffer:
    def __init__(self, row):
        self.name, self.kind, self.dtype, self.slot = row["name"], row["kind"], row["dtype"], row["slot"]
        self.per_token = row["bytes"]["per_token"]

    def columns(self):  # elements of a token
        return self.per_token // BYTES[self.dtype]


class Matmul:
    """A step: out[r, c] = epilogue(sum_k A[r, k] * B_p[group(r), c, k], p < parts)."""

    def __init__(self, package, step):
        buffers = [package.buffers[i] for i in step["buffers"]]
        self.name = step["name"]
        self.a, self.b, self.out = buffers[:3]
        self.gathered = len(buffers) > 3 and buffers[3].name.endswith("row_token")
        self.operands = buffers[4 if self.gathered else 3:]
        region = package.manifest["regions"][self.b.slot]
        self.groups, self.n, self.k = region["groups"], region["n"], region["k"]
        self.parts = 1 if region.get("role_per_group") else len(region["roles"])
        # rows of a token: the output has as many as its bytes say, n columns each; a dense stage has one
        self.rows_per_token = max(1, self.out.per_token // (self.n * BYTES[self.out.dtype]))
        self.routed = self.groups > 1 or self.gathered


class Launch:
    def __init__(self, package, row):
        self.row, self.symbol = row, row["kernel"]
        self.step = package.manifest["steps"][row["step"]]
        self.kind, self.if_asked = self.step["kind"], row["if_asked"]
        stage = re.sub(r"[^A-Za-z0-9]", "_", self.step["name"])
        prefix = "moec_%s__%d_%s" % (package.name, row["step"], stage)
        inside = self.symbol.startswith(prefix)  # what clears a combine's sums is launched by the step before it
        self.variant = self.symbol[len(prefix):].lstrip("_") if inside else self.symbol.rsplit("_", 1)[1]
        self.matmul = self.kernel = None
        if self.kind == "matmul":
            self.matmul = package.matmul(row["step"])
            if re.match(r"t\d+", self.variant):
                self.kernel = package.entry(self.step["name"], row["min_tokens"])

    def runs_at(self, tokens):
        return self.row["min_tokens"] <= tokens <= self.row["max_tokens"]

    def grid(self, tokens, multiprocessors):
        units = self.row["units"]["per_token"] * tokens + self.row["units"]["fixed"]
        blocks = -(-units // self.row["units_per_block"])
        most = self.row["blocks_per_sm"] * multiprocessors
        return max(1, min(blocks, most) if most else blocks)


class Package:
    def __init__(self, folder, arch="sm_90a"):
        places = (os.path.join(folder, "share", "*"), folder)
        manifest = [path for place in places for path in glob.glob(os.path.join(place, "manifest.json"))]
        if len(manifest) != 1:
            raise ValueError("%s: found %d files manifest.json, expected a package or a case of a bundle" %
                             (folder, len(manifest)))
        here = os.path.dirname(manifest[0])
        with open(manifest[0]) as file:
            self.manifest = json.load(file)
        with open(os.path.join(here, "schedule.txt")) as file:
            self.schedule = read_schedule(file.read())
        with open(os.path.join(here, "spec.json")) as file:
            self.spec = json.load(file)
        self.name, self.arch = self.manifest["name"], arch
        self.hidden, self.choices = self.manifest["sizes"]["hidden"], self.manifest["sizes"]["top_k"]
        self.buffers = [Buffer(row) for row in self.manifest["buffers"]]
        self.matmuls = {}
        targets = [t for t in self.manifest.get("cuda", {}).get("targets", []) if t["name"] == arch]
        if not targets:
            raise ValueError("%s: no kernels for %s" % (folder, arch))
        self.tables = targets[0]["tables"]
        self.workspace_buffers = [self.manifest["buffers"][i] for i in targets[0]["workspace_buffers"]]
        self.launches = [Launch(self, row) for row in targets[0]["launches"]]

    def matmul(self, step):
        if step not in self.matmuls:
            self.matmuls[step] = Matmul(self, self.manifest["steps"][step])
        return self.matmuls[step]

    def entry(self, stage, tokens):
        """(template, integers) of a stage for a call of `tokens` tokens."""
        for first, last, template, integers in self.schedule[(stage, self.arch)]:
            if first <= tokens and (last is None or tokens <= last):
                return template, integers
        raise ValueError("stage %s has no kernel for %d tokens" % (stage, tokens))

    def launches_at(self, tokens):
        return [launch for launch in self.launches if launch.runs_at(tokens) and not launch.if_asked]

    def first_tokens(self):
        """The first T of every range, ascending: a call of each runs all kernels."""
        return sorted({max(1, launch.row["min_tokens"]) for launch in self.launches})

    def workspace_bytes(self, tokens):
        up = lambda n: -(-n // 256) * 256
        space = self.manifest["workspace"]
        largest = {}  # bytes of a slot: of its buffers that the target's kernels name
        for buffer in self.workspace_buffers:
            if buffer["kind"] in ("workspace", "optional_output"):
                extent = buffer["bytes"]
                size = extent["per_token"] * tokens + extent["fixed"] + extent.get("per_sequence", 0)
                largest[buffer["slot"]] = max(size, largest.get(buffer["slot"], 0))
        always = len(space["slots"]) - space["report_slots"]
        total = sum(up(size) for slot, size in largest.items() if slot < always)
        total += sum(up(4 * (r["groups"] + 1)) + 3 * up(4 * tokens * r["choices"]) for r in space["routes"])
        return total + sum(up(t["bytes"]["per_token"] * tokens + t["bytes"]["fixed"]) for t in self.tables)


def read_schedule(text):
    """(stage, arch) -> [(first token, last token or None, template, integers)]."""
    stages, current = {}, None
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if words[:1] == ["stage"]:
            current = stages.setdefault((words[1], words[2]), [])
        elif words[:1] == ["tokens"]:
            first, last = words[1].split("..")
            integers = {name: int(value) for name, value in re.findall(r"(\w+) = (\d+)", line)}
            current.append((int(first), int(last) if last else None, words[2].replace("cuda/", ""), integers))
    return stages


def binomial(trials, chance):
    """P(n) for n = 0 .. trials, as (n, P) of those that matter."""
    if chance >= 1:
        return [(trials, 1.0)]
    mean, deviation = trials * chance, math.sqrt(trials * chance * (1 - chance))
    low, high = max(0, int(mean - 9 * deviation) - 1), min(trials, int(mean + 9 * deviation) + 9)
    ways = lambda n: math.lgamma(trials + 1) - math.lgamma(n + 1) - math.lgamma(trials - n + 1)
    logs = lambda n: ways(n) + n * math.log(chance) + (trials - n) * math.log1p(-chance)
    return [(n, math.exp(logs(n))) for n in range(low, high + 1)]
