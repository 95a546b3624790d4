// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// This machine -> its ceilings: FLOP/s from registers and bytes/s read from memory, probed in this process with as many
// threads as the measured calls use.

#ifndef MOEC_CODEGEN_BENCH_CEILINGS_H
#define MOEC_CODEGEN_BENCH_CEILINGS_H

#include <cstddef>
#include <cstdint>
#include <string>

namespace moec {

// The arithmetic peak that bounds a layer.
enum class PeakKind { AmxBf16, FmaAvx512, FmaAvx2, MulAddSse };
const char *peakName(PeakKind kind); // "AMX bf16 products"

// The peak of the best kernels of `isa` (MOEC_ISA_*) on bf16 or f32 weights.
PeakKind peakOf(int isa, bool bf16Weights);

struct ProbeResult {
  double gflops = 0; // from registers
  double gbps = 0;   // 1e9 bytes read per second
};

// Not thread-safe; owns a read buffer of 1 GiB or a quarter of memory, whichever is less.
class CeilingProbe {
public:
  CeilingProbe(PeakKind peak, int threads);
  ~CeilingProbe();
  CeilingProbe(const CeilingProbe &) = delete;
  CeilingProbe &operator=(const CeilingProbe &) = delete;

  bool ready() const { return buffer != nullptr; } // false: no memory for the buffer

  // Tries every read pattern and keeps the best one for probe(). About a second.
  void calibrate();

  // A short probe: 3 ms of arithmetic, then reads of buffer slices that no cache holds, which also evicts cached
  // weights.
  ProbeResult probe();

  const ProbeResult &best() const { return bestSeen; } // over every probe so far
  std::string pattern() const;                         // of the best read: "16 streams, prefetch 4 KiB ahead"
  int threads() const { return numThreads; }

private:
  double readSlice(int pattern);
  double arithmetic(double seconds);

  PeakKind peak;
  int numThreads;
  uint8_t *buffer = nullptr;
  size_t bytes = 0, turn = 0;
  int bestPattern = 0;
  ProbeResult bestSeen;
};

} // namespace moec

#endif
