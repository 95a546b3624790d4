// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// This machine -> what it can do at most: FLOP/s from registers and bytes/s read from memory, probed in this process on
// as many threads as the measurement beside it uses.

#ifndef MOEC_CODEGEN_BENCH_CEILINGS_H
#define MOEC_CODEGEN_BENCH_CEILINGS_H

#include <cstddef>
#include <cstdint>
#include <string>

namespace moec {

// What arithmetic peak bounds a layer.
enum class PeakKind { AmxBf16, FmaAvx512, FmaAvx2, MulAddSse };
const char *peakName(PeakKind kind); // "AMX bf16 products"

// The peak of the best kernels of `isa` (MOEC_ISA_*) on weights of that storage.
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

  // One short look: 3 ms of arithmetic, then slices of the buffer no cache holds, which also evicts what was there.
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
