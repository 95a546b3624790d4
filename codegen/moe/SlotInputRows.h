// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An input of a layer -> the rows that a call has of it: one for each token, or, where slot_rows reads it, one for each
// slot of every scope.

#ifndef MOEC_CODEGEN_MOE_SLOTINPUTROWS_H
#define MOEC_CODEGEN_MOE_SLOTINPUTROWS_H

#include "codegen/moe/MoeDialect.h"

namespace moec {

// A slot_rows op that reads `input`, an argument of a layer, by itself or inside a row program; null where none does.
moe::SlotRowsOp slotReaderOf(mlir::Value input);

// The first extent of `input` in a call of `tokens` tokens in sequences of `tokensPerSequence`; 0: one sequence.
int64_t rowsOfInput(mlir::Value input, int64_t tokens, int64_t tokensPerSequence);

} // namespace moec

#endif
