// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// This machine -> its ceilings: FLOP/s from registers and bytes/s read from memory, probed in this process with as many
// threads as the measured calls use.

#ifndef MOEC_CODEGEN_BENCH_CEILINGS_H
#define MOEC_CODEGEN_BENCH_CEILINGS_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace moec {

// What multiplies and adds.
enum class PeakKind { MulAddSse, FmaAvx2, FmaAvx512, DotBf16, AmxBf16, DotInt8, AmxInt8 };
const char *peakName(PeakKind kind); // "AVX-512 bf16 dot products"

// The types of the two factors of a product.
enum class Factors { F32, Bf16, Int8 };
Factors factorsOf(PeakKind kind);

// What this machine and process can run, in the order of PeakKind; never empty.
std::vector<PeakKind> peaksHere();

// One unit's rate, of all threads together: 1e9 multiplications and additions per second.
struct PeakRate {
  PeakKind kind;
  double gflops = 0;
};

struct ProbeResult {
  double gflops = 0; // from registers
  double gbps = 0;   // 1e9 bytes read per second
};

// Not thread-safe; owns a read buffer of 1 GiB or a quarter of memory, whichever is less.
class CeilingProbe {
public:
  // The arithmetic bound is that of the fastest unit that multiplies `factors`, which calibrate() finds: bf16 factors
  // widened to f32 are multiplied exactly, so units for f32 count for bf16 as well.
  CeilingProbe(Factors factors, int threads);
  ~CeilingProbe();
  CeilingProbe(const CeilingProbe &) = delete;
  CeilingProbe &operator=(const CeilingProbe &) = delete;

  bool ready() const { return buffer != nullptr; } // false: no memory for the buffer

  // Measures every unit, tries every read pattern, and keeps the best of each for probe(). About a second.
  void calibrate();

  // A short probe: 3 ms of arithmetic, then reads of buffer slices that no cache holds, which also evicts cached
  // weights.
  ProbeResult probe();

  const ProbeResult &best() const { return bestSeen; }         // over every probe so far
  std::string pattern() const;                                 // of the best read: "16 streams, prefetch 4 KiB ahead"
  PeakKind bound() const { return peak; }                      // the unit behind ProbeResult::gflops
  const std::vector<PeakRate> &units() const { return rates; } // all units, as calibrate() found them
  int threads() const { return numThreads; }

private:
  double readSlice(int pattern);
  double arithmetic(PeakKind kind, double seconds);

  Factors factors;
  PeakKind peak = PeakKind::MulAddSse;
  std::vector<PeakRate> rates;
  int numThreads;
  uint8_t *buffer = nullptr;
  size_t bytes = 0, turn = 0;
  int bestPattern = 0;
  ProbeResult bestSeen;
};

} // namespace moec

#endif
