// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec bench's ceilings and its interval of a ratio -> a C interface that probe.py loads.

#include "codegen/bench/Ceilings.h"
#include "codegen/bench/RatioInterval.h"

#include <cstddef>
#include <utility>
#include <vector>

using moec::CeilingProbe;

extern "C" {

// The probe of bf16 calls with `threads` threads, calibrated; NULL: no memory. peers_probe_close frees it.
void *peers_probe_open(int threads) {
  auto *probe = new CeilingProbe(moec::Factors::Bf16, threads);
  if (!probe->ready()) {
    delete probe;
    return nullptr;
  }
  probe->calibrate();
  return probe;
}

void peers_probe_close(void *probe) { delete static_cast<CeilingProbe *>(probe); }

// out: GFLOP/s and GB/s of this moment. Reads 256 MiB, so that nothing else remains in smaller caches.
void peers_probe_run(void *probe, double out[2]) {
  moec::ProbeResult now = static_cast<CeilingProbe *>(probe)->probe();
  out[0] = now.gflops;
  out[1] = now.gbps;
}

// out: the best of every probe so far.
void peers_probe_best(void *probe, double out[2]) {
  const moec::ProbeResult &best = static_cast<CeilingProbe *>(probe)->best();
  out[0] = best.gflops;
  out[1] = best.gbps;
}

// `pairs` holds n times {a, b}. out: ratio b/a, low and high end of its interval; NaN where there is none.
void peers_paired_ratio(const double *pairs, size_t n, double out[3]) {
  std::vector<std::pair<double, double>> times;
  for (size_t i = 0; i < n; ++i)
    times.emplace_back(pairs[2 * i], pairs[2 * i + 1]);
  moec::RatioInterval interval = moec::pairedRatio(times);
  out[0] = interval.ratio;
  out[1] = interval.low;
  out[2] = interval.high;
}
}
