// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer of the moe dialect and its arguments -> its results in float64, op by op as MoeOps.td says.
//
// Plain loops, nothing shared with the kernels: it is what they are compared to where a layer is written in the dialect
// and no spec's reference knows it. Values are rounded where the text converts them to bf16 or f16; verify
// also runs it with the errors that kernels may make (Roundings).

#ifndef MOEC_CODEGEN_INTERPRET_INTERPRETER_H
#define MOEC_CODEGEN_INTERPRET_INTERPRETER_H

#include "codegen/interpret/InterpretedValues.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseSet.h"

#include <string>
#include <vector>

namespace moec::interpret {

struct CallShape {
  int64_t tokens = 0;            // T, the rows of every argument that has tokens
  int64_t tokensPerSequence = 0; // 0: one sequence
  Roundings round;
  // Matmuls that keep f32 operands as they are even if errors may round them to tf32; null: none.
  const llvm::DenseSet<mlir::Operation *> *exact = nullptr;
};

struct CallResults {
  std::vector<Evaluated> results; // of the function, in its order
  // Rows per group of the dispatch marked moe.experts, else of the one over the result ids; empty without one.
  std::vector<int64_t> counts;
  // [T] a hash of the token's choices in all dispatches.
  std::vector<uint64_t> choices;
  // [T] how clearly the token's choices were made: the smallest relative difference that a top_k, a capacity, a
  // top_tokens or a float comparison decided on. Kernels decide alike where it exceeds the error of their arithmetic;
  // equal values do not count, because the lower id wins in both.
  std::vector<double> margins;
};

// Runs `function`, whose body holds moe ops. Failure: an error was emitted on the op or function at fault.
mlir::LogicalResult interpret(mlir::func::FuncOp function, llvm::ArrayRef<Evaluated> arguments, const CallShape &shape,
                              CallResults &out);

} // namespace moec::interpret

#endif
