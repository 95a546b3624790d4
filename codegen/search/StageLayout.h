// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A matmul stage -> sizes and seeds of the memory on which its kernels run alone. StageMemory fills such memory; a
// bundle's runner (templates/runner/memory.c) does the same on another machine.

#ifndef MOEC_CODEGEN_SEARCH_STAGELAYOUT_H
#define MOEC_CODEGEN_SEARCH_STAGELAYOUT_H

#include "codegen/plan/StepArgs.h"
#include "codegen/tile/MatmulStage.h"

#include "dsl/DataType.h"

#include <cstdint>

namespace moec {

// A buffer. Numbers are drawn by fillNormal(0, 0.5, seed) and repeated, row tokens are a shuffle.
struct StageArgument {
  enum Fill { Normal, RowToken, Output };
  Fill fill = Normal;
  int64_t bytes = 0; // without the 4096 behind it
  DataType type = DataType::F32;
  uint64_t seed = 0; // from 1, in the order in which buffers are made
};

constexpr int64_t stageTokens = 512;    // rows of a gathered A
constexpr int64_t stageGuardRows = 64;  // of the output, behind the rows of a turn
constexpr int64_t maxStageBlocks = 256; // of a turn

struct StageLayout {
  int64_t maxRows = 0;    // of a block
  int64_t totalRows = 0;  // of the output
  int64_t groups = 0;     // of weights, several times larger than any cache
  int64_t itemPanels = 0; // of an item; deeper groups are cut, and panels that are left over are not used
  MatmulArgs<StageArgument> arguments;
};

// `weightBytes`: size of the cold weights.
StageLayout stageLayout(const MatmulStage &stage, int64_t maxRows, int64_t weightBytes);

} // namespace moec

#endif
