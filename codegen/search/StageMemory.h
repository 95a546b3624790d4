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
#include "codegen/search/StageLayout.h"

#include "runtime/moec_abi.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moec {

class StageMemory {
public:
  // Blocks have at most `maxRows` rows. `weightBytes`: size of the cold weights.
  StageMemory(const MatmulStage &stage, int64_t maxRows, int64_t weightBytes);
  bool ready() const { return good; } // false: no memory

  // What one timed call does: blocks of `rows` rows over groups that no recent turn used.
  struct Turn {
    std::vector<moec_item> items;
    moec_call call = {}; // points to `items`, which must not move
    double flops = 0, weightBytes = 0;
  };
  void prepare(Turn &turn, int64_t rows, int64_t blocks);
  // Two blocks of `rows` rows, for a check: the first panels of a group, the last panels of another.
  void prepareCheck(Turn &turn, int64_t rows);
  // The same rows and panels in blocks of at most `maxRows` rows. `turn` may be the one that is read.
  static void split(Turn &turn, int64_t maxRows);

  // Blocks of `rows` rows that make a turn of about `seconds` at the given rates.
  int64_t blocksFor(int64_t rows, double seconds, double gflops, double gbps) const;

  void *const *args() const { return arguments.data(); } // in the order of MatmulArgs (StepArgs.h)
  size_t numArgs() const { return arguments.size(); }
  int64_t numGroups() const { return layout.groups; }
  int64_t mostRows() const { return layout.maxRows; }
  int64_t numRows() const { return layout.totalRows; } // of the output
  // The rows of `turn`, and guardRows more that no kernel may write, become NaN.
  void poisonOutput(const Turn &turn);
  // The same rows, for comparison bit by bit; columns of panels that `turn` leaves out are poison.
  std::vector<char> outputOf(const Turn &turn) const;
  static constexpr int64_t guardRows = stageGuardRows;

  // Where the next turn begins.
  struct Position {
    int64_t group, panel;
  };
  Position position() const { return {nextGroup, nextPanel}; }
  void moveTo(Position next) { nextGroup = next.group, nextPanel = next.panel; }

  // In a child process: a kernel that writes where it must not ends it. Inputs can be read only; of the output, the
  // whole pages after the rows and guard rows of `turn` too.
  void protectInputs() const;
  void protectOutputAfter(const Turn &turn) const;
  // What an address belongs to: "its input", "the output after its rows"; empty: to nothing of this.
  std::string ownerOf(uint64_t address) const;

private:
  void *buffer(const StageArgument &argument);
  void add(Turn &turn, int64_t group, int64_t row, int64_t rows, int64_t panel, int64_t panels) const;
  void finish(Turn &turn, int64_t rows) const;
  void advance(int64_t panels);

  const MatmulStage &stage;
  StageLayout layout;
  int64_t nextGroup = 0, nextPanel = 0;
  std::vector<PageBuffer> memory;
  std::vector<void *> arguments;
  char *out = nullptr;
  size_t outBuffer = 0; // of `memory`
  bool good = false;
};

} // namespace moec

#endif
