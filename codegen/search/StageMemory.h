// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A matmul stage and a number of rows -> memory on which its kernels can run: cold weights, rows of A, operands, and an
// output that is poisoned before a check.
//
//   weights   `groups` groups of panels, several times larger than any cache; a turn uses the next ones
//   rows      as many as a turn needs; gathered ones are found through a shuffled row_token
//   items     one block of `rows` rows per group, all panels of it or as many as make `itemBytes`

#ifndef MOEC_CODEGEN_SEARCH_STAGEMEMORY_H
#define MOEC_CODEGEN_SEARCH_STAGEMEMORY_H

#include "codegen/check/RandomTensors.h"
#include "codegen/tile/MatmulStage.h"

#include "runtime/moec_abi.h"

#include <cstdint>
#include <vector>

namespace moec {

class StageMemory {
public:
  // Rows of every turn's blocks are at most `maxRows`. `weightBytes`: size of the cold weights.
  StageMemory(const MatmulStage &stage, int64_t maxRows, int64_t weightBytes);
  bool ready() const { return good; } // false: no memory

  // What one timed call does: blocks of `rows` rows over groups that no recent turn used.
  struct Turn {
    std::vector<moec_item> items;
    moec_call call = {}; // points to `items`, which must not move
    double flops = 0, weightBytes = 0;
  };
  void prepare(Turn &turn, int64_t rows, int64_t blocks);

  // Blocks of `rows` rows that make a turn of about `seconds` at the given rates.
  int64_t blocksFor(int64_t rows, double seconds, double gflops, double gbps) const;

  void *const *args() { return arguments.data(); }
  void poisonOutput(const Turn &turn);
  // The output of `turn`, columns of its panels only, for comparison bit by bit.
  std::vector<char> outputOf(const Turn &turn) const;

private:
  void addOperands(const llvm::SmallVector<MatmulOperand> &operands);
  void *buffer(int64_t bytes, DataType type);

  const MatmulStage &stage;
  int64_t groups = 0, itemPanels = 0, nextGroup = 0, nextPanel = 0;
  std::vector<PageBuffer> memory;
  std::vector<void *> arguments;
  char *out = nullptr;
  int64_t totalRows = 0;
  bool good = false;
};

} // namespace moec

#endif
