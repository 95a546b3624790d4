// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/moe/SlotInputRows.h"

using namespace mlir;

namespace moec {

using namespace moe;

SlotRowsOp slotReaderOf(Value input) {
  for (OpOperand &use : input.getUses()) {
    if (auto reader = dyn_cast<SlotRowsOp>(use.getOwner()))
      return reader;
    if (auto program = dyn_cast<RowProgramOp>(use.getOwner()))
      if (SlotRowsOp reader = slotReaderOf(program.getBody().getArgument(use.getOperandNumber())))
        return reader;
  }
  return {};
}

int64_t rowsOfInput(Value input, int64_t tokens, int64_t tokensPerSequence) {
  SlotRowsOp reader = slotReaderOf(input);
  if (!reader)
    return tokens;
  int64_t length = tokensPerSequence ? tokensPerSequence : tokens;
  bool batch = reader.getScope() == Scope::batch;
  return int64_t(reader.getSlots()) * (batch ? 1 : length ? tokens / length : 0);
}

} // namespace moec
