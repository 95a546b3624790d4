# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# What run.sh made -> every (layer, threads, peer) measured by a process of pair.py, then peers.json and peers.md.
import argparse
import datetime
import json
import os
import signal
import subprocess
import sys

import torch

import moec_layer
import table
import workload

LAYERS = "qwen3-30b-a3b,deepseek-v2-lite,mixtral-8x7b"
TOKENS = "1,2,4,8,16,32,64,128,256,512,1024,4096"
HERE = os.path.dirname(os.path.abspath(__file__))
MOEC_WRONG = "moec's own output"
COPIES = 3.5  # of the weights: the file's pages, moec's, the peer's, and what a peer needs while it packs


def words(text):
    found = [word for word in text.split(",") if word]
    if not found:
        raise argparse.ArgumentTypeError("found nothing, expected names with commas")
    return found


def numbers(text):
    values = [int(word) for word in words(text)]
    if not values or min(values) < 1:
        raise argparse.ArgumentTypeError(f"found '{text}', expected positive numbers with commas")
    return list(dict.fromkeys(values))


def positive(text):
    if not float(text) > 0:
        raise argparse.ArgumentTypeError(f"found '{text}', expected a number above 0")
    return float(text)


def arguments():
    parser = argparse.ArgumentParser(prog="run.sh", usage="sh tests/bench/peers/run.sh [OPTION...]")
    parser.add_argument("--build", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--peers", type=words, required=True)
    parser.add_argument("--layers", type=words, default=words(LAYERS))
    parser.add_argument("--tokens", type=numbers, default=numbers(TOKENS))
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument("--skew", choices=("uniform", "zipf"), default="uniform")
    parser.add_argument("--pairs", type=positive, default=15)
    parser.add_argument("--tuning")
    parser.add_argument("--seconds", type=positive, default=24)
    return parser.parse_args()


def output(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip() or f"{command[0]} exits with {done.returncode}")
    return done.stdout


def cpu_facts():
    """What /proc/cpuinfo says of the first CPU, as far as figures depend on it."""
    facts = {"logical_cpus": os.cpu_count()}
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            key, _, value = (part.strip() for part in line.partition(":"))
            if not key:
                break
            if key in ("vendor_id", "cpu family", "model", "model name", "stepping"):
                facts[key] = value
            if key == "flags":
                facts["flags"] = [flag for flag in value.split() if flag.startswith(("avx", "amx", "fma", "f16c"))]
    return facts


def available_gib():
    with open("/proc/meminfo", encoding="utf-8") as file:
        return next(int(line.split()[1]) / 2**20 for line in file if line.startswith("MemAvailable:"))


def notes(path):
    """run.sh's lines "peer: reason"."""
    with open(path, encoding="utf-8") as file:
        return dict(line.rstrip("\n").split(": ", 1) for line in file)


class Run:
    def __init__(self, options):
        self.options = options
        self.moec = os.path.join(options.build, "bin/moec")
        self.missing = notes(os.path.join(options.work, "notes"))
        self.version = output(self.moec, "version").splitlines()[0]
        self.machine, self.ceilings = cpu_facts(), self.probe_ceilings()
        self.results = []

    def path(self, name):
        return os.path.join(self.options.work, name)

    def describe(self, preset):
        """A preset or spec file -> the layer, and what all its pairs read; nothing large is made yet."""
        if preset.endswith(".json"):
            with open(preset, encoding="utf-8") as file:
                spec = json.load(file)
        else:
            spec = json.loads(output(self.moec, "init", "--preset", preset, "-o", "-"))
        name = "peers_" + str(spec.get("name"))
        spec = moec_layer.external_spec(spec, name)
        job = {"layer": preset, "spec": self.path(name + ".json"), "weights": self.path(name + ".weights"),
               "answers": self.path(name + ".answers"), "skew": self.options.skew, "tokens": self.options.tokens,
               "pairs": self.options.pairs, "seconds": self.options.seconds,
               "runtime": os.path.join(self.options.build, "lib/libmoec.so"), "probe": self.path("libpeers_probe.so"),
               "onednn": self.path("libpeers_onednn.so"), "package": self.path(f"{name}/lib/lib{name}.so")}
        with open(job["spec"], "w", encoding="utf-8") as file:
            json.dump(spec, file)
        output(self.moec, "check", job["spec"])
        layer = workload.Layer(preset, *moec_layer.layer_numbers(job["spec"]))
        need, have = COPIES * layer.bytes_of(layer.experts) / 2**30 + 1, available_gib()
        if need > have:
            raise MemoryError(f"needs {need:.0f} GiB of memory, {have:.0f} GiB are available")
        return layer, job

    def make(self, layer, job):
        """Package, weights, answers."""
        tuning = ["--tuning", self.options.tuning] if self.options.tuning else []
        output(self.moec, "compile", job["spec"], *tuning, "--emit", "shared", "--target", "cpu", "--force",
               "-o", os.path.dirname(os.path.dirname(job["package"])),
               "--max-tokens", str(max(8192, *self.options.tokens)))
        print(f"{layer.name}: weights and answers", file=sys.stderr)
        workload.write_weights(layer, job["weights"])
        calls = {tokens: workload.calls(layer, tokens, self.options.skew) for tokens in self.options.tokens}
        y = workload.answers(layer, workload.map_weights(layer, job["weights"]), sum(calls.values(), []))
        torch.save({tokens: [y.pop(0) for _ in made] for tokens, made in calls.items()}, job["answers"])

    def measure(self, job, peer, threads):
        """Runs pair.py; what it wrote before it ended, and why it ended if not by itself."""
        job = {**job, "peer": peer, "threads": threads, "out": self.path("pair.jsonl")}
        if os.path.exists(job["out"]):
            os.remove(job["out"])
        with open(self.path("job.json"), "w", encoding="utf-8") as file:
            json.dump(job, file)
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONDONTWRITEBYTECODE": "1"}
        limit = 900 + len(job["tokens"]) * (3 * job["seconds"] + 120)
        reason = None
        try:
            done = subprocess.run([sys.executable, "-B", os.path.join(HERE, "pair.py"), self.path("job.json")],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, timeout=limit)
            if done.returncode < 0:
                reason = f"ended by {signal.Signals(-done.returncode).name}"
            elif done.returncode:
                lines = done.stderr.decode(errors="replace").strip().splitlines()
                reason = lines[-1] if lines else f"exit code {done.returncode}"
        except subprocess.TimeoutExpired:
            reason = f"took more than {limit:.0f} s"
        rows = []
        if os.path.exists(job["out"]):
            with open(job["out"], encoding="utf-8") as file:
                rows = [json.loads(line) for line in file if line.endswith("\n")]
        return rows, reason

    def add(self, layer, job, peer, threads):
        result = {"layer": layer.name, "peer": peer, "threads": threads, "rows": []}
        reason = self.missing.get(peer)
        if not reason:
            print(f"{layer.name}, {table.threads_text(threads)}: moec and {peer}", file=sys.stderr)
            rows, reason = self.measure(job, peer, threads)
            if rows:
                result["facts"], result["rows"] = rows[0]["facts"], rows[1:]
        for row in result["rows"]:
            row["gflop"] = layer.flops(row["T"]) * 1e-9
            row["weight_gb"] = layer.bytes_of(row["experts_touched"]) * 1e-9
            if "wrong" in row:
                print(f"WRONG: {peer} at T = {row['T']} {row['wrong']}: not timed", file=sys.stderr)
        if reason:
            result["skipped"] = reason
            print(f"skipped: {peer}: {reason}", file=sys.stderr)
        self.results.append(result)

    def probe_ceilings(self):
        return {str(n): json.loads(output(self.moec, "bench", "--ceilings", "--json", "--threads", str(n)))
                for n in self.options.threads}

    def report(self):
        """Everything so far, and what follows from it."""
        report = {"moec_peers": 1, "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                  "moec_version": self.version, "cpu": self.machine, "python": sys.version.split()[0],
                  "tuning": self.options.tuning, "skew": self.options.skew, "tokens": self.options.tokens,
                  "accepted_fraction": table.ACCEPTED, "ceilings": self.ceilings, "results": self.results}
        table.judge(report, self.path("libpeers_probe.so"))
        return report

    def save(self):
        """After every pair, so that a run that is stopped keeps what it has."""
        report = self.report()
        save(os.path.join(self.options.out, "peers.json"), json.dumps(report))
        save(os.path.join(self.options.out, "peers.md"), table.markdown(report))
        return report


def save(path, text):
    """The old file stays until the new one is complete."""
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".part", path)


def main():
    options = arguments()
    try:
        run = Run(options)
    except RuntimeError as problem:
        sys.exit(f"run.sh: {problem}")
    layers = []
    for preset in options.layers:
        try:
            layers.append(run.describe(preset))
        except (RuntimeError, ValueError, OSError, MemoryError) as problem:
            sys.exit(f"run.sh: {preset}: {problem}")
    report = None
    for layer, job in layers:
        try:
            run.make(layer, job)
            for threads in options.threads:
                for peer in options.peers:
                    run.add(layer, job, peer, threads)
                    report = run.save()
        except (RuntimeError, OSError) as problem:
            sys.exit(f"run.sh: {layer.name}: {problem}")
        except KeyboardInterrupt:
            sys.exit(130)
        finally:
            for name in (job["weights"], job["weights"] + ".part", job["answers"]):
                if os.path.exists(name):
                    os.remove(name)
    print(table.markdown(report), end="")
    print(f"\n{options.out}/peers.md, {options.out}/peers.json", file=sys.stderr)
    failed = [r for r in report["results"] if MOEC_WRONG in r.get("skipped", "")]
    sys.exit(1 if failed or not any(r["rows"] for r in report["results"]) else 0)


if __name__ == "__main__":
    main()
