// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels of one stage, a default and its rivals -> which of them are right, and how long they take.
//
// Every kernel runs in a child process (ForkedRun.h), so one that crashes, never returns or writes where it must not
// costs its own result only. All kernels share a child; if it does not end as it should, each runs again in a child of
// its own beside the default, and only those that fail there are at fault. A call may take three times as long as the
// default's, and at least a second.

#ifndef MOEC_CODEGEN_SEARCH_KERNELTRIAL_H
#define MOEC_CODEGEN_SEARCH_KERNELTRIAL_H

#include "codegen/search/ForkedRun.h"
#include "codegen/search/StageTimer.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace moec {

struct TrialKernel {
  moec_kernel_fn run = nullptr; // equal for kernels with equal code
  int64_t mostRows = 0;         // that it takes in a block
  bool sameBits = true;         // as the default's; otherwise a row may be off by 1e-4 of its size
};

struct TrialVerdict {
  enum What { Unknown, Right, Wrong, Crashed, Stuck };
  What what = Unknown; // Unknown: there was no time to run it
  std::string detail;  // "blocks of 5 rows: row 0, column 3", "blocks of 5 rows: ended with SIGSEGV"
};

class KernelTrial {
public:
  using Pairs = std::vector<std::pair<double, double>>; // microseconds, in the order of measuring

  // kernels[0] is the default. `memory` serves blocks of the largest mostRows.
  KernelTrial(const MatmulStage &stage, StageMemory &memory, int64_t scratchBytes, std::vector<TrialKernel> kernels);
  ~KernelTrial();
  bool ready() const; // false: no memory

  // Each rival computes what the default computes, on a poisoned output, in blocks of every number of `rowCounts` that
  // it takes, and of `timedRows` rows with all panels. Where the default does not take so many, it computes them in
  // smaller blocks: a row's bits do not depend on its block. `expired`: no further child is to start. Errors are those
  // of runForked, and E-INTERNAL if the default itself fails.
  Result<std::vector<TrialVerdict>> check(const std::vector<int64_t> &rowCounts, int64_t timedRows,
                                          const std::function<bool()> &expired);

  // What is timed: turns of `blocks` blocks of `rows` rows, each on weights that no cache holds.
  struct Turns {
    int64_t rows, blocks;
  };
  // Rounds of all `rivals`, the default before every four of them: by rival, pairs {default, rival}. One that takes
  // more than `tooSlow` times as long is timed once. A rival that crashes now gets a verdict, and no pairs.
  Result<std::vector<Pairs>> screen(const std::vector<size_t> &rivals, Turns turns, int rounds, double tooSlow,
                                    std::vector<TrialVerdict> &verdicts);
  // {a, b} in ABBA order. Again, three times at most, while a's time in the last third of the pairs is off by more than
  // 2 % from that in the first. A crash gives `verdict`, of b, and no pairs.
  Result<Pairs> duel(size_t a, size_t b, Turns turns, int pairs, TrialVerdict &verdict);
  // One kernel, nothing beside it.
  Result<std::vector<double>> alone(size_t kernel, Turns turns, int times, TrialVerdict &verdict);

  double flops() const; // of the last turn that was timed
  double weightBytes() const;

private:
  struct Board;
  struct Slot;

  void checkAll(const std::vector<size_t> &rivals, const std::vector<int64_t> &rowCounts, int64_t timedRows);
  void checkTurn(const std::vector<size_t> &rivals, const StageMemory::Turn &turn, int64_t count);
  double timed(size_t kernel, Turns turns);
  void warmUp(Turns turns);
  void screenRounds(const std::vector<size_t> &rivals, Turns turns, int rounds, double tooSlow);
  Result<ForkedEnd> fork(const std::function<void()> &work);
  std::string where(const ForkedEnd &end) const;
  TrialVerdict failure(const ForkedEnd &end) const;

  const MatmulStage &stage;
  StageMemory &memory;
  StageTimer timer;
  std::vector<TrialKernel> kernels;
  StageMemory::Turn turn;
  std::unique_ptr<SharedArray<Board>> board;  // one
  std::unique_ptr<SharedArray<Slot>> slots;   // by kernel
  std::unique_ptr<SharedArray<double>> times; // of the child that runs
};

} // namespace moec

#endif
