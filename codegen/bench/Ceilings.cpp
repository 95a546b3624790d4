// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Probe loops in -> rates of all threads together out.

#include "Ceilings.h"

#include "CeilingKernels.h"
#include "Clocks.h"

#include "codegen/Machine.h"

#include "runtime/moec.h"
#include "runtime/moec_abi.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <functional>
#include <sys/mman.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

namespace moec {

static constexpr size_t mib = size_t(1) << 20;

const char *peakName(PeakKind kind) {
  switch (kind) {
  case PeakKind::AmxInt8:
    return "AMX int8";
  case PeakKind::DotInt8:
    return "AVX-512 int8 dot";
  case PeakKind::AmxBf16:
    return "AMX bf16";
  case PeakKind::DotBf16:
    return "AVX-512 bf16 dot";
  case PeakKind::FmaAvx512:
    return "AVX-512 f32 FMA";
  case PeakKind::FmaAvx2:
    return "AVX2 f32 FMA";
  case PeakKind::MulAddSse:
    return "SSE f32 multiply and add";
  }
  return "";
}

Factors factorsOf(PeakKind kind) {
  switch (kind) {
  case PeakKind::DotInt8:
  case PeakKind::AmxInt8:
    return Factors::Int8;
  case PeakKind::DotBf16:
  case PeakKind::AmxBf16:
    return Factors::Bf16;
  default:
    return Factors::F32;
  }
}

std::vector<PeakKind> peaksHere() {
  std::vector<PeakKind> peaks = {PeakKind::MulAddSse};
  auto add = [&](bool here, PeakKind kind) {
    if (here)
      peaks.push_back(kind);
  };
  int isa = moec_cpu_isa();
  add(isa >= MOEC_ISA_AVX2, PeakKind::FmaAvx2);
  add(isa >= MOEC_ISA_AVX512, PeakKind::FmaAvx512);
  add(isa >= MOEC_ISA_AVX512_BF16, PeakKind::DotBf16);
  add(isa >= MOEC_ISA_AMX, PeakKind::AmxBf16);
  std::vector<std::string> flags = machineFacts().flags;
  auto has = [&](const char *flag) { return std::find(flags.begin(), flags.end(), flag) != flags.end(); };
  add(isa >= MOEC_ISA_AVX512 && has("avx512_vnni"), PeakKind::DotInt8);
  add(isa >= MOEC_ISA_AMX && has("amx_int8"), PeakKind::AmxInt8);
  return peaks;
}

static bool multiplies(PeakKind kind, Factors factors) {
  return factorsOf(kind) == factors || (factorsOf(kind) == Factors::F32 && factors == Factors::Bf16);
}

// Runs body(thread) on all threads at once; the time from the first start to the last end.
static double timeTogether(int threads, const std::function<void(int)> &body) {
  std::atomic<int> waiting{threads};
  std::vector<double> start(size_t(threads), 0), end(size_t(threads), 0);
  auto run = [&](int i) {
    waiting.fetch_sub(1);
    while (waiting.load() > 0) {
    }
    start[size_t(i)] = wallSeconds();
    body(i);
    end[size_t(i)] = wallSeconds();
  };
  std::vector<std::thread> others;
  others.reserve(size_t(threads));
  std::exception_ptr refused;
  try {
    for (int i = 1; i < threads; ++i)
      others.emplace_back(run, i);
  } catch (const std::system_error &) { // what runs waits for those that do not
    refused = std::current_exception();
    waiting.fetch_sub(threads - 1 - int(others.size()));
  }
  run(0);
  for (std::thread &other : others)
    other.join();
  if (refused) // fewer threads would measure something else
    std::rethrow_exception(refused);
  return *std::max_element(end.begin(), end.end()) - *std::min_element(start.begin(), start.end());
}

CeilingProbe::CeilingProbe(Factors factors, int threads) : factors(factors), numThreads(std::max(1, threads)) {
  size_t memory = size_t(sysconf(_SC_PHYS_PAGES)) * size_t(sysconf(_SC_PAGESIZE));
  bytes = std::min<size_t>(1024 * mib, memory / 4) / (64 * mib) * (64 * mib);
  if (bytes == 0)
    return;
  // The streams look up to 4 KiB beyond their end.
  void *memoryBlock = mmap(nullptr, bytes + mib, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memoryBlock == MAP_FAILED)
    return;
  madvise(memoryBlock, bytes + mib, MADV_HUGEPAGE);
  std::memset(memoryBlock, 1, bytes + mib); // untouched pages would all be the same zero page, in cache
  buffer = static_cast<uint8_t *>(memoryBlock);
}

CeilingProbe::~CeilingProbe() {
  if (buffer)
    munmap(buffer, bytes + mib);
}

double CeilingProbe::readSlice(int pattern) {
  constexpr size_t grain =
      64 << 10; // a part is never empty: the buffer has more than one per thread that --threads allows
  const size_t slice = std::min<size_t>(bytes, 128 * mib);
  const size_t part = slice / size_t(numThreads) / grain * grain;
  const uint8_t *from = buffer + turn++ % (bytes / slice) * slice;
  std::atomic<uint64_t> sink{0};
  double time = timeTogether(
      numThreads, [&](int i) { sink.fetch_xor(readMemory(from + size_t(i) * part, part, readPatterns[pattern])); });
  return double(part) * numThreads / time * 1e-9;
}

double CeilingProbe::arithmetic(PeakKind kind, double duration) {
  // Three parts, the best counts: the first turns may run before the core has its full clock and tiles.
  double rate = 0;
  int64_t n = 20000;
  for (int part = 0; part < 3; ++part) {
    double flops = 0;
    double time = timeTogether(numThreads, [&](int i) {
      double done = arithmeticTurns(kind, n);
      if (i == 0)
        flops = done;
    });
    rate = std::max(rate, flops * numThreads / time * 1e-9);
    n = std::clamp<int64_t>(int64_t(double(n) * duration / 3 / std::max(time, 1e-7)), 20000, int64_t(1) << 30);
  }
  return rate;
}

void CeilingProbe::calibrate() {
  double best = 0;
  for (int round = 0; round < 3; ++round)
    for (int pattern = 0; pattern < numReadPatterns; ++pattern) {
      double rate = readSlice(pattern);
      if (rate > best) {
        best = rate;
        bestPattern = pattern;
      }
    }
  bestSeen.gbps = std::max(bestSeen.gbps, best);
  double most = 0;
  for (PeakKind kind : peaksHere()) {
    PeakRate rate = {kind};
    for (int round = 0; round < 10; ++round)
      rate.gflops = std::max(rate.gflops, arithmetic(kind, 0.004));
    rates.push_back(rate);
    if (multiplies(kind, factors) && rate.gflops > most) {
      most = rate.gflops;
      peak = kind;
    }
  }
  bestSeen.gflops = most;
}

ProbeResult CeilingProbe::probe() {
  ProbeResult result;
  result.gflops = arithmetic(peak, 0.003);
  result.gbps = std::max(readSlice(bestPattern), readSlice(bestPattern));
  bestSeen.gflops = std::max(bestSeen.gflops, result.gflops);
  bestSeen.gbps = std::max(bestSeen.gbps, result.gbps);
  return result;
}

std::string CeilingProbe::pattern() const { return readPatterns[bestPattern].text; }

} // namespace moec
