# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# A package's manifest, schedule and spec -> its launches on one CUDA architecture with what their kernels are made of.
#
#   facts = Package(FOLDER)            as `moec compile` writes it, or a case of a bundle
#   facts.launches_at(T)               what a forward call of T tokens without reports launches, in order
#   facts.launches[i].matmul           the grouped matmul of a launch, or None; .kernel has its template and integers
#   facts.launches[i].outer            the outer product of a launch, or None
#   facts.backward                     the same of a backward call; None: the layer does not train
import glob
import json
import math
import os
import re

BYTES = {"f32": 4, "i32": 4, "bf16": 2, "f16": 2, "i64": 8}


class Buffer:
    def __init__(self, row):
        self.name, self.kind, self.dtype, self.slot = row["name"], row["kind"], row["dtype"], row["slot"]
        self.per_token, self.fixed = row["bytes"]["per_token"], row["bytes"]["fixed"]

    def columns(self):  # elements of a token
        return self.per_token // BYTES[self.dtype]


class Matmul:
    """A step: out[r, c] = epilogue(sum_k A[r, k] * B_p[group(r), c, k], p < parts)."""

    def __init__(self, owner, step):
        buffers = [owner.buffers[i] for i in step["buffers"]]
        self.name, self.flops_per_row = step["name"], step["flops_per_row"]
        self.a, self.b, self.out = buffers[:3]
        self.gathered = len(buffers) > 3 and buffers[3].name.endswith("row_token")
        self.operands = buffers[4 if self.gathered else 3:]
        region = owner.regions[self.b.slot]
        self.groups, self.n, self.k = region["groups"], region["n"], region["k"]
        self.depth_first = region.get("transposed", False)  # B is stored [k][n]
        self.parts = 1 if region.get("role_per_group") else len(region["roles"])
        self.routed = self.groups > 1 or self.gathered
        # rows of a token: the output has as many as its bytes say, n columns each; a dense stage has one
        rows = self.out.per_token // (self.n * BYTES[self.out.dtype])
        self.rows_per_token = max(1, rows) if self.routed else 1


class Outer:
    """A step: out[g, i, j] = sum of A[r, i] * B[r, j] over the rows r of group g, where rows may be those of a token."""

    def __init__(self, owner, step):
        buffers = [owner.buffers[i] for i in step["buffers"]]
        self.name, self.flops_per_row = step["name"], step["flops_per_row"]
        self.a, self.b, self.out = buffers[:3]
        offsets = [buffer.name for buffer in buffers[3:] if buffer.name.endswith(".offsets")]
        self.routed = bool(offsets)  # without a route all tokens are one group
        route = owner.routes[offsets[0].rsplit(".", 1)[0]] if offsets else {"groups": 1, "choices": 1}
        self.groups, self.rows_per_token = route["groups"], route["choices"]
        self.area = self.flops_per_row // 2  # elements of a group's result


class Launch:
    def __init__(self, owner, row):
        self.row, self.symbol = row, row["kernel"]
        self.step = owner.steps[row["step"]]
        self.kind, self.if_asked = self.step["kind"], row["if_asked"]
        stage = re.sub(r"[^A-Za-z0-9]", "_", self.step["name"])
        prefix = "moec_%s__%d_%s" % (owner.name, row["step"], stage)
        inside = self.symbol.startswith(prefix)  # what clears a combine's sums is launched by the step before it
        self.variant = self.symbol[len(prefix):].lstrip("_") if inside else self.symbol.rsplit("_", 1)[1]
        self.matmul = self.kernel = None
        self.outer = owner.outer(row["step"])
        if self.kind == "matmul":
            self.matmul = owner.matmul(row["step"])
            if re.match(r"t\d+", self.variant):
                self.kernel = owner.entry(self.step["name"], row["min_tokens"])

    def runs_at(self, tokens):
        return self.row["min_tokens"] <= tokens <= self.row["max_tokens"]

    def grid(self, tokens, multiprocessors):
        units = self.row["units"]["per_token"] * tokens + self.row["units"]["fixed"]
        blocks = -(-units // self.row["units_per_block"])
        most = self.row["blocks_per_sm"] * multiprocessors
        return max(1, min(blocks, most) if most else blocks)


class Pass:
    """Steps, buffers and launches of one pass: `part` of the manifest, whose member "cuda" has its targets."""

    def __init__(self, name, arch, manifest, part, schedule):
        self.name, self.arch, self.schedule = name, arch, schedule
        self.steps, self.regions = part["steps"], manifest["regions"]
        self.buffers = [Buffer(row) for row in part["buffers"]]
        routed = [step["name"] for step in self.steps if step["kind"] in ("dispatch", "slots")]
        self.routes = dict(zip(routed, part["workspace"]["routes"]))
        self.matmuls = {}
        targets = [t for t in part.get("cuda", {}).get("targets", []) if t["name"] == arch]
        if not targets:
            raise ValueError("%s: no kernels for %s" % (name, arch))
        self.tables = targets[0]["tables"]
        self.workspace_buffers = [part["buffers"][i] for i in targets[0]["workspace_buffers"]]
        self.workspace = part["workspace"]
        self.launches = [Launch(self, row) for row in targets[0]["launches"]]

    def matmul(self, step):
        if step not in self.matmuls:
            self.matmuls[step] = Matmul(self, self.steps[step])
        return self.matmuls[step]

    def outer(self, step):
        """The outer product that a step is, or None."""
        row = self.steps[step]
        return Outer(self, row) if row["kind"] == "groups" and row["flops_per_row"] else None

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
        space = self.workspace
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


class Package(Pass):
    """The forward pass of a package, and what belongs to both passes."""

    def __init__(self, folder, arch="sm_90a"):
        places = (os.path.join(folder, "share", "*"), folder)
        found = [path for place in places for path in glob.glob(os.path.join(place, "manifest.json"))]
        if len(found) != 1:
            raise ValueError("%s: found %d files manifest.json, expected a package or a case of a bundle" %
                             (folder, len(found)))
        here = os.path.dirname(found[0])
        with open(found[0]) as file:
            self.manifest = json.load(file)
        with open(os.path.join(here, "schedule.txt")) as file:
            schedule = read_schedule(file.read())
        with open(os.path.join(here, "spec.json")) as file:
            self.spec = json.load(file)
        self.hidden, self.choices = self.manifest["sizes"]["hidden"], self.manifest["sizes"]["top_k"]
        name = self.manifest["name"]
        super().__init__(name, arch, self.manifest, self.manifest, schedule)
        part = self.manifest.get("backward")
        self.backward = Pass(name, arch, self.manifest, part, schedule) if part else None

    def passes(self):
        return [self] + ([self.backward] if self.backward else [])


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
