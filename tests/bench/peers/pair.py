# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# pair.py JOB.json -> one process: moec and one peer, checked and then timed alternately, a line of JSON per T.
#
# A process of its own means that a peer that crashes takes nobody along, that threads and environment are its own, and
# that only two copies of the weights are in memory. JOB names everything: see `job` in compare.py.
#
# Order of calls: moec, peer, peer, moec, moec, ... with a probe between any two. Every call of a T is checked before
# the first is timed, the last ones again at the end.
import gc
import json
import sys
import time

import torch

import moec_layer
import probe
import workload

LIMIT = 0.02        # largest |y - y64| / |y64| of a sampled token: bf16 rows between the products give 0.004 to 0.006
LIMIT_MOEC = 0.03  # the same against moec's y, over all tokens
FEWEST, MOST = 3, 45  # pairs of a T
PAUSE, IDLE, PATIENCE = 0.01, 0.05, 1.0  # seconds; part of a CPU; seconds


def peer_class(name):
    if name == "kt-kernel":
        import kt_peer
        return kt_peer.KtPeer
    if name == "onednn":
        import onednn_peer
        return onednn_peer.OnednnPeer
    import torch_peers
    return {"eager": torch_peers.EagerPeer, "grouped_mm": torch_peers.GroupedPeer,
            "zentorch": torch_peers.ZenPeer}[name]


def wrong(call, y, expected, moec_y=None):
    """(error against float64, error against moec's y or None, what is wrong or None)."""
    error = workload.error(y[call.rows], expected)
    beside = None if moec_y is None else workload.error(y, moec_y)
    if error > LIMIT:
        return error, beside, f"differs from float64 by {error:.3g} of a token's norm, at most {LIMIT}"
    if beside is not None and beside > LIMIT_MOEC:
        return error, beside, f"differs from moec by {beside:.3g} of a token's norm, at most {LIMIT_MOEC}"
    return error, beside, None


def settle():
    """Returns when this process is idle. Pools spin after a call, kt-kernel's for 50 ms: the next call is not theirs."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        before = time.process_time()
        time.sleep(PAUSE)
        if time.process_time() - before < IDLE * PAUSE:
            return


class Pair:
    def __init__(self, job):
        self.job = job
        self.layer = workload.Layer(job["layer"], *moec_layer.layer_numbers(job["spec"]))
        weights = workload.map_weights(self.layer, job["weights"])
        self.peer = peer_class(job["peer"])(self.layer, weights, job["threads"], job)
        self.moec = moec_layer.MoecLayer(job["runtime"], job["package"], weights, job["threads"])
        self.answers = torch.load(job["answers"])
        self.probe = probe.Probe(job["probe"], job["threads"])

    def facts(self):
        return {"peer": self.peer.facts(), "moec": self.moec.facts()}

    def check(self, calls, prepared, expected):
        """Largest errors of both, and what is wrong with moec or the peer."""
        largest = {"moec_error": 0.0, "peer_error": 0.0, "peer_beside_moec": 0.0}
        for n, call in enumerate(calls):
            moec_y = self.moec.run(prepared[0][n])
            error, _, text = wrong(call, moec_y, expected[n])
            largest["moec_error"] = max(largest["moec_error"], error)
            if text:
                raise SystemExit(f"moec's own output at T = {len(call.x)} {text}")
            for _ in range(2):  # some peers pack in the first call, and compute from that in the second
                peer_y = self.peer.run(prepared[1][n])
                error, beside, text = wrong(call, peer_y, expected[n], moec_y)
                peer_y.fill_(float("nan"))
                largest["peer_error"] = max(largest["peer_error"], error)
                largest["peer_beside_moec"] = max(largest["peer_beside_moec"], beside)
                if text:
                    return largest, text
            moec_y.fill_(float("nan"))  # so that the next check sees what the next call writes
        return largest, None

    def time(self, prepared):
        """Probes and calls in order. Call n lies between probes n and n + 1."""
        both = (self.moec, self.peer)
        settle()
        probes, calls = [self.probe.run()], []
        start, counted = time.monotonic(), 0
        for pair in range(MOST):
            variant = pair % len(prepared[0])
            good = True
            for who in ((0, 1) if pair % 2 == 0 else (1, 0)):
                before, cpu = time.perf_counter(), time.process_time()
                both[who].run(prepared[who][variant])
                took, worked = time.perf_counter() - before, time.process_time() - cpu
                calls.append({"who": ("moec", "peer")[who], "variant": variant, "us": took * 1e6,
                              "cpu_us": worked * 1e6})
                settle()
                probes.append(self.probe.run())
                good = good and all(probe.good(rates, self.probe.best()) for rates in probes[-2:])
            counted += good
            if pair + 1 >= FEWEST and (counted >= self.job["pairs"] or
                                       time.monotonic() - start > self.job["seconds"]):
                break
        return probes, calls

    def run(self, tokens):
        calls = workload.calls(self.layer, tokens, self.job["skew"])
        prepared = [[side.prepare(call) for call in calls] for side in (self.moec, self.peer)]
        expected = self.answers[tokens]
        row = {"T": tokens, "experts_touched": sum(call.touched() for call in calls) / len(calls)}
        errors, text = self.check(calls, prepared, expected)
        row.update(errors)
        if text:
            return {**row, "wrong": text}
        gc.collect()
        gc.disable()
        row["probes"], row["calls"] = self.time(prepared)
        gc.enable()
        row["best"] = self.probe.best()
        for side, calls_of_side in zip((self.moec, self.peer), prepared):
            side.run(calls_of_side[-1]).fill_(float("nan"))
        _, text = self.check(calls[-1:], [side[-1:] for side in prepared], expected[-1:])
        if text:  # times of wrong outputs say nothing
            del row["probes"], row["calls"]
            return {**row, "wrong": "after the timed calls: " + text}
        return row


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    torch.set_num_threads(job["threads"])
    torch.set_grad_enabled(False)
    pair = Pair(job)
    with open(job["out"], "w", encoding="utf-8") as out:
        print(json.dumps({"facts": pair.facts()}), file=out, flush=True)
        for tokens in job["tokens"]:
            print(json.dumps(pair.run(tokens)), file=out, flush=True)


if __name__ == "__main__":
    main()
