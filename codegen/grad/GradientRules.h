// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One op of a layer and the gradients of its results -> moe ops that compute the gradients of its operands.
//
//   map                its region in reverse (ScalarGradient.h), then summed over what the operand's kind repeats
//   reduce sum         d to every column;   max: d to the columns that have the maximum, in equal parts
//   softmax            p (d - sum_n d p)
//   prefix_sum         sum of d behind the column
//   take, put          each other
//   lookup             sum of d over the rows of each number
//   gather             combine;   of slots: slot_values
//   combine            rows: gather(d) times the row's weight;   weights: slot_products(d, rows)
//   combine of matmul  y = sum w D h, u = Dᵀ gather(d): h: w u; weights: <u, h>; D: outer product of gather(d) and w h
//                      the same of every matmul and parameter that the rows are a sum of (WeightedRules.cpp)
//   combine of slots   rows: slot_inputs(d, weights)
//   slot_inputs        tokens: combine(d, weights);   weights: slot_products(x, d)
//   grouped_matmul     A: grouped_matmul of d by the transposed matrices;   B: grouped_outer(d, A)
//   square_sums        2 d[n] w[n,k]
//   token_reduce sum   token_reduce sum d;   max: d to the tokens that have the maximum, in equal parts
//   token_total        d to every token, over their number for a mean
//   ids, masks         none: top_k, member, capacity, top_tokens, dispatch, columns; slot_rows
//
// Gradients are f32, whatever the value's type; operands of matmuls are rounded to the type of the other operand.

#ifndef MOEC_CODEGEN_GRAD_GRADIENTRULES_H
#define MOEC_CODEGEN_GRAD_GRADIENTRULES_H

#include "codegen/build/RowOps.h"
#include "codegen/moe/LayerChecks.h"

namespace moec {

class GradientRules : private RowOps {
public:
  using FrozenGroups = llvm::DenseMap<mlir::Value, llvm::SmallVector<int64_t>>; // by parameter

  // `active` are the values whose gradients are wanted or lead to one that is. All must outlive the object.
  GradientRules(mlir::OpBuilder &builder, FunctionUses &functions, const llvm::DenseSet<mlir::Value> &active,
                const FrozenGroups &frozen)
      : RowOps(builder, functions), active(active), frozen(frozen) {}

  // Whether the op passes the gradient of its results on to `operand`, if that is a float.
  static bool passesTo(mlir::OpOperand &operand);

  // `d` is a part of the gradient of `value`: f32, of its shape. Parts are added in the order of the calls.
  void add(mlir::Value value, mlir::Value d);
  // The sum of the parts; null: there are none.
  mlir::Value gradientOf(mlir::Value value);

  // Adds the op's parts to its operands. Failure: an error was emitted on the op, which has no rule.
  mlir::LogicalResult differentiate(mlir::Operation *op);

private:
  mlir::LogicalResult ofMap(moe::MapOp op, mlir::Value d);
  void ofReduce(moe::ReduceOp op, mlir::Value d);
  void ofSoftmax(moe::SoftmaxOp op, mlir::Value d);
  void ofPrefixSum(moe::PrefixSumOp op, mlir::Value d);
  mlir::LogicalResult ofLookup(moe::LookupOp op, mlir::Value d);
  void ofTake(moe::TakeOp op, mlir::Value d);
  mlir::LogicalResult ofGather(moe::GatherOp op, mlir::Value d);
  void ofCombine(moe::CombineOp op, mlir::Value d);
  void ofSlotInputs(moe::SlotInputsOp op, mlir::Value d);
  void ofMatmul(moe::GroupedMatmulOp op, mlir::Value d);
  // A combine whose rows are linear in what they are made of, which is visited with the gradient of the rows before
  // their weights. `products` [R] each: the gradient of a row's weight is their sum.
  struct WeightedSum {
    mlir::Value route, weights;
    bool wantsWeights;
    llvm::SmallVector<mlir::Value> products;
  };
  bool isLinear(mlir::Value rows, mlir::Value route);
  void ofWeightedSum(moe::CombineOp op, mlir::Value d);
  void visitTerm(mlir::Value rows, mlir::Value d, WeightedSum &sum);
  void visitMatmul(moe::GroupedMatmulOp matmul, mlir::Value d, WeightedSum &sum);
  void visitParameter(mlir::Value parameter, mlir::Value elements, WeightedSum &sum);
  mlir::Value throughMatrices(moe::GroupedMatmulOp op, mlir::Value d);  // the gradient of A
  void addOuter(moe::GroupedMatmulOp op, mlir::Value d, mlir::Value a); // the gradient of B from d and rows of A
  mlir::Value unwidened(mlir::Value d);                                 // `d` in the type that it had before f32
  mlir::Value narrowed(mlir::Value d, mlir::Type element);              // `d` rounded to `element`, for a matmul
  mlir::Value scaledBy(mlir::Value rows, mlir::Value factors, mlir::Type element); // [R,N], [R] -> [R,N] of `element`
  void ofTokenReduce(moe::TokenReduceOp op, mlir::Value d);
  void ofTokenTotal(moe::TokenTotalOp op, mlir::Value d);

  // The gradient of operand `index` before it is summed over what its kind repeats; null: 0.
  mlir::FailureOr<mlir::Value> elementsOf(moe::MapOp op, unsigned index, mlir::Value d);
  // `elements` [L,N] or [L] of the rows of `space` -> the shape of `operand`, which has `kind`.
  mlir::Value summedTo(mlir::Value operand, moe::OperandKind kind, mlir::Value elements, RowSpace space);
  mlir::Value columnTotals(mlir::Value elements, RowSpace space); // [L,N] -> [N]
  // [R,N] -> the shape of `parameter`, [G,N], without its frozen groups
  mlir::Value perGroup(mlir::Value elements, mlir::Value route, mlir::Value parameter);
  mlir::DenseI64ArrayAttr frozenOf(mlir::Value parameter);                                   // null: none
  mlir::Value everywhere(mlir::Value d, moe::OperandKind kind, mlir::RankedTensorType like); // d repeated, f32
  // Where `values` equal `most`: 1, else 0.
  mlir::Value isMost(mlir::Value values, mlir::Value most, moe::OperandKind kind);
  mlir::Value total(mlir::Value values); // [T,N] -> [N], over all tokens

  const llvm::DenseSet<mlir::Value> &active;
  const FrozenGroups &frozen;
  llvm::DenseMap<mlir::Value, llvm::SmallVector<mlir::Value, 2>> parts;
};

// The type of a value's gradient.
mlir::RankedTensorType gradientType(mlir::Value value);
// Erases the ops whose results nothing uses, the last ones first.
void eraseUnused(mlir::Block &block);

} // namespace moec

#endif
