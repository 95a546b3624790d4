// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The interpreter's state while it runs one block, and its functions: one per op.

#ifndef MOEC_CODEGEN_INTERPRET_INTERPRETERFRAME_H
#define MOEC_CODEGEN_INTERPRET_INTERPRETERFRAME_H

#include "codegen/interpret/Interpreter.h"
#include "codegen/interpret/ScalarRegion.h"
#include "codegen/moe/MoeDialect.h"

#include "llvm/ADT/DenseMap.h"

#include <optional>

namespace moec::interpret {

struct Frame {
  Frame(const CallShape &shape, std::vector<double> &margins, std::vector<uint64_t> &choices)
      : shape(shape), margins(margins), choices(choices) {}

  const CallShape &shape;
  std::vector<double> &margins;   // [T]
  std::vector<uint64_t> &choices; // [T]
  RouteRef rowsOfProgram;         // inside a row_program over a route: that route
  llvm::DenseMap<mlir::Value, Evaluated> values;

  const Tensor &tensor(mlir::Value value) { return *values[value].tensor; }
  const RouteRef &route(mlir::Value value) { return values[value].route; }
  void set(mlir::Value value, Tensor tensor) { values[value] = {std::make_shared<Tensor>(std::move(tensor)), nullptr}; }
  void set(mlir::Value value, Route route) { values[value] = {nullptr, std::make_shared<Route>(std::move(route))}; }
  int64_t defaultRows() const { return rowsOfProgram ? rowsOfProgram->numRows() : shape.tokens; }
  int64_t sequenceTokens() const { return shape.tokensPerSequence ? shape.tokensPerSequence : shape.tokens; }

  // A tensor of zeros of `value`'s type whose first extent, if dynamic, is `rows`, of `route`.
  Tensor make(mlir::Value value, int64_t rows, RouteRef route = nullptr);
  // The same with the rows of the op's operands; nullopt: they differ and an error was emitted.
  std::optional<Tensor> makeRows(mlir::Operation *op);
  // Some token's choice was decided by `gap`, relative to `size`; `row` counts rows of `of`.
  void noteMargin(const Tensor &of, int64_t row, double gap, double size);

  // The sum of `count` elements, `squares` the sum of their squares, with the error of f32; sums of whole
  // numbers are exact.
  double summed(mlir::Value result, double sum, double squares, double count) const;
  // An element `v` of a softmax; its logit is `below` less than the largest.
  double softmaxed(double v, double below, double count) const;

  mlir::LogicalResult run(mlir::Operation *op);
};

// Tokens [first, last) that are looked at together.
struct TokenRange {
  int64_t first, last;
};
std::vector<TokenRange> scopesOf(const Frame &frame, moe::Scope scope, int64_t groupTokens);

// a comes before b if larger values come first and NaN last.
bool isLarger(double a, double b);
// max that ignores NaN; the running maximum begins with NaN.
inline double joinMax(double acc, double v) { return v > acc || acc != acc ? v : acc; }

// Operands of a region by their kinds, for one element after the other.
class RegionOperands {
public:
  RegionOperands(Frame &frame, mlir::OperandRange operands, mlir::ArrayAttr kinds);
  // Writes the operands' elements for (row, column) of a result of `columns` columns; `group` is that of the row.
  void fetch(int64_t row, int64_t column, int64_t columns, int64_t group, double *out) const;
  size_t size() const { return tensors.size(); }
  bool rounded() const;

private:
  std::vector<const Tensor *> tensors;
  std::vector<moe::OperandKind> kinds;
};

mlir::LogicalResult interpretMap(Frame &frame, moe::MapOp op);
mlir::LogicalResult interpretReduce(Frame &frame, moe::ReduceOp op);
mlir::LogicalResult interpretSoftmax(Frame &frame, moe::SoftmaxOp op);
mlir::LogicalResult interpretColumns(Frame &frame, moe::ColumnsOp op);
mlir::LogicalResult interpretPrefixSum(Frame &frame, moe::PrefixSumOp op);
mlir::LogicalResult interpretLookup(Frame &frame, moe::LookupOp op);
mlir::LogicalResult interpretTopK(Frame &frame, moe::TopKOp op);
mlir::LogicalResult interpretMember(Frame &frame, moe::MemberOp op);
mlir::LogicalResult interpretTake(Frame &frame, moe::TakeOp op);
mlir::LogicalResult interpretPut(Frame &frame, moe::PutOp op);
mlir::LogicalResult interpretRowProgram(Frame &frame, moe::RowProgramOp op);

mlir::LogicalResult interpretDispatch(Frame &frame, moe::DispatchOp op);
mlir::LogicalResult interpretSlots(Frame &frame, moe::SlotsOp op);
mlir::LogicalResult interpretGather(Frame &frame, moe::GatherOp op);
mlir::LogicalResult interpretSlotRows(Frame &frame, moe::SlotRowsOp op);
mlir::LogicalResult interpretSlotInputs(Frame &frame, moe::SlotInputsOp op);
mlir::LogicalResult interpretCombine(Frame &frame, moe::CombineOp op);
mlir::LogicalResult interpretGroupedMatmul(Frame &frame, moe::GroupedMatmulOp op);
mlir::LogicalResult interpretSquareSums(Frame &frame, moe::SquareSumsOp op);

mlir::LogicalResult interpretGroupedOuter(Frame &frame, moe::GroupedOuterOp op);
mlir::LogicalResult interpretGroupSum(Frame &frame, moe::GroupSumOp op);
mlir::LogicalResult interpretRowsOf(Frame &frame, moe::RowsOfOp op);
mlir::LogicalResult interpretSlotValues(Frame &frame, moe::SlotValuesOp op);
mlir::LogicalResult interpretSlotProducts(Frame &frame, moe::SlotProductsOp op);
mlir::LogicalResult interpretParameterSum(Frame &frame, moe::ParameterSumOp op);
mlir::LogicalResult interpretScaledRows(Frame &frame, moe::ScaledRowsOp op);

mlir::LogicalResult interpretCapacity(Frame &frame, moe::CapacityOp op);
mlir::LogicalResult interpretTopTokens(Frame &frame, moe::TopTokensOp op);
mlir::LogicalResult interpretTokenReduce(Frame &frame, moe::TokenReduceOp op);
mlir::LogicalResult interpretTokenTotal(Frame &frame, moe::TokenTotalOp op);

} // namespace moec::interpret

#endif
