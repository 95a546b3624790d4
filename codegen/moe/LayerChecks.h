// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A module of moe text -> its layer function, or diagnostics of errors that verifiers of single ops cannot see.

#ifndef MOEC_CODEGEN_MOE_LAYERCHECKS_H
#define MOEC_CODEGEN_MOE_LAYERCHECKS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

namespace moec {

// The row space of a value: tokens (null) or the rows of a route (the !moe.route value).
using RowSpace = mlir::Value;

// Row space of a tensor value whose first extent is dynamic, in a function that findLayer accepted.
RowSpace rowSpaceOf(mlir::Value value);

// The layer function of `module`. Null: an error was emitted on the op at fault:
//   L1  the module holds one func.func with one block, named [a-z][a-z0-9_]{0,62}
//   L2  every argument has a moe.role. "x" is a [?,H] tensor of f32, bf16 or f16 and occurs once; an input
//       (LayerInputs.h) has its input's shape and occurs at most once. All others have static shapes of rank 1..3, and
//       two of them may share a role only if types and storage agree
//   L3  results have the moe.roles y [?,H] and any of logits [?,n] f32, ids [?,K] i32, weights [?,K] f32, or of a
//       report of runtime/moec_outputs.h in its type and shape, each once; ids and weights together
//   L4  the function holds only moe ops, at most 4096
//   L5  operands of an op have the same rows (all tokens, or all rows of one route); a route and a gathered or combined
//       value agree
//   L6  a per-group column operand [G,N] is used with the rows of a route of G groups
//   L7  k is at most 256 and rows of row ops have at most 1,048,576 columns
//   L8  a token_total is a result of the layer, and every result of the whole call comes from one
//   L9  ops of backward passes (MoeGradOps.td) and transposed matmuls are not part of a layer
//   L10  slot_rows reads a mask of dropout, an input of the layer, which has S rows for each scope and is read by
//       nothing else, over a route of slots of its scope
mlir::func::FuncOp findLayer(mlir::ModuleOp module);

} // namespace moec

#endif
