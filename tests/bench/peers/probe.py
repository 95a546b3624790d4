# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# libpeers_probe.so, which run.sh builds of moec bench's own sources -> this machine's ceilings at this moment, and the
# interval of a ratio.
import ctypes as c

ACCEPTED = 0.85  # a call counts if the probes before and behind it reach this part of the best, as in moec bench


def load(path):
    library = c.CDLL(path)
    library.peers_probe_open.restype = c.c_void_p
    library.peers_probe_close.argtypes = [c.c_void_p]
    library.peers_probe_run.argtypes = library.peers_probe_best.argtypes = [c.c_void_p, c.POINTER(c.c_double)]
    library.peers_paired_ratio.argtypes = [c.POINTER(c.c_double), c.c_size_t, c.POINTER(c.c_double)]
    return library


class Probe:
    def __init__(self, path, threads):
        self.library = load(path)
        self.handle = self.library.peers_probe_open(threads)
        if not self.handle:
            raise MemoryError("no memory for the probe's buffer of up to 1 GiB")

    def run(self):
        """(GFLOP/s, GB/s) now; evicts what caches hold."""
        out = (c.c_double * 2)()
        self.library.peers_probe_run(self.handle, out)
        return tuple(out)

    def best(self):
        out = (c.c_double * 2)()
        self.library.peers_probe_best(self.handle, out)
        return tuple(out)


def good(rates, best):
    return all(rate >= ACCEPTED * top for rate, top in zip(rates, best))


def paired_ratio(path, pairs):
    """[(a, b)] of the same moment -> (b/a, low, high); NaN where there is none."""
    flat = (c.c_double * (2 * len(pairs)))(*[time for pair in pairs for time in pair])
    out = (c.c_double * 3)()
    load(path).peers_paired_ratio(flat, len(pairs), out)
    return tuple(out)
