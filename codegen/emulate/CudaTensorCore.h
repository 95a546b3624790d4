// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// wgmma instructions of the warpgroups of a block -> accumulators, computed once per instruction and warpgroup.
//
// An instruction is executed when all 128 threads have issued it; threads wait for it only in wgmma_wait. Its results
// in registers are tokens: NaNs that name accumulator and register. The numbers stay here. A later wgmma that takes the
// tokens continues them, and wgmma_wait replaces the tokens of complete groups by numbers. Arithmetic on a token, i.e.
// on an accumulator in flight, gives NaN.

#ifndef MOEC_CODEGEN_EMULATE_CUDATENSORCORE_H
#define MOEC_CODEGEN_EMULATE_CUDATENSORCORE_H

#include "codegen/emulate/CudaBlock.h"

namespace moec {

class CudaTensorCore {
public:
  explicit CudaTensorCore(CudaBlock &block) : block(block) {}

  void reset(unsigned numWarpgroups);

  // wgmma, wgmma_fence and wgmma_commit of the current thread.
  void execute(const CudaInstruction &instruction, uint64_t *results, const uint64_t *operands);

  // wgmma_wait of a warp whose 32 lanes have arrived; runs in the last one.
  void waitGroup(const CudaInstruction &instruction, CudaWarp &warp);

private:
  static constexpr unsigned numSlots = 16; // accumulators of a warpgroup that can be in flight

  struct Operand { // a matrix of 16-byte pieces in shared memory, of 8 elements of a row or, depth first, of 8 rows
    uint32_t start, leading, stride, swizzle;
    bool depthFirst;
    uint32_t at(uint32_t line, uint32_t piece) const; // line: a row or a depth
    // Addresses of pieces with rows first .. first + count - 1, both multiples of 8.
    std::vector<uint32_t> pieces(uint32_t first, uint32_t count) const;
    // Element (row, depth) of all rows, as to[row * rowStep + depth * depthStep].
    void load(const CudaShared &shared, CudaElement type, uint32_t rows, float *to, uint32_t rowStep,
              uint32_t depthStep) const;
  };
  struct Accumulator {
    std::vector<float> values; // [64][n]
    uint32_t generation = 0, n = 0;
    uint64_t last[4] = {}; // per warp: one more than the number of its last instruction
  };
  struct Issue { // one wgmma of a warpgroup
    const CudaInstruction *instruction = nullptr;
    uint64_t descriptors[2] = {};
    bool scale = false, fresh = false;
    unsigned slot = 0;
    uint32_t lanes[4] = {};
    Operand a, b;
  };
  struct Lane {
    uint64_t issued = 0;
    bool fenced = false;
    std::vector<uint64_t> groups; // instructions issued at each commit
  };
  struct Warpgroup {
    std::deque<Issue> issues; // from number `first` on
    uint64_t first = 0, executed = 0, retired[4] = {};
    unsigned nextSlot = 0;
    Accumulator accumulators[numSlots];
    Lane lanes[128];
    std::vector<unsigned> waiting;
  };

  void issue(const CudaInstruction &instruction, uint64_t *results, const uint64_t *operands);
  Issue &issueOf(Warpgroup &group, Lane &lane, const CudaInstruction &instruction, const uint64_t *operands);
  void chooseAccumulator(Warpgroup &group, Issue &issue, const uint64_t *operands);
  void takeRegisters(Warpgroup &group, unsigned groupIndex, Issue &issue, Lane &lane, const uint64_t *operands);
  Operand decode(uint64_t descriptor, const char *name, uint32_t rows, bool depthFirst);
  void read(const Issue &issue, unsigned warp, bool begin, unsigned threadOrActor);
  void compute(Warpgroup &group, const Issue &issue);
  void retire(Warpgroup &group, unsigned warp, uint64_t target);

  CudaBlock &block;
  std::vector<std::unique_ptr<Warpgroup>> warpgroups;
};

} // namespace moec

#endif
