// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Verifiers of the ops that backward passes add, one check per label of MoeGradOps.td.

#include "codegen/moe/MoeDialect.h"

using namespace mlir;

namespace moec::moe {

namespace {

RankedTensorType tensorOf(Value value) { return cast<RankedTensorType>(value.getType()); }

bool isStorageFloat(Type type) { return type.isF32() || type.isBF16() || type.isF16(); }

// [?,N], of f32 unless `narrow` types are allowed too.
bool isRows(RankedTensorType type, bool narrow = false) {
  return type.getRank() == 2 && type.isDynamicDim(0) && !type.isDynamicDim(1) &&
         (narrow ? isStorageFloat(type.getElementType()) : type.getElementType().isF32());
}

// Whether `type` is f32 of [G,shape...], or of `shape` itself where G is 1.
bool isPerGroup(RankedTensorType type, int64_t groups, ArrayRef<int64_t> shape) {
  SmallVector<int64_t> whole = {groups};
  whole.append(shape.begin(), shape.end());
  return type.getElementType().isF32() &&
         (type.getShape() == ArrayRef<int64_t>(whole) || (groups == 1 && type.getShape() == shape));
}

bool isSlots(Type type, Value route) {
  auto tensor = cast<RankedTensorType>(type);
  return isRows(tensor) && tensor.getDimSize(1) == cast<RouteType>(route.getType()).getChoices();
}

bool areGroups(std::optional<ArrayRef<int64_t>> frozen, int64_t groups) {
  return !frozen || llvm::all_of(*frozen, [&](int64_t g) { return g >= 0 && g < groups; });
}

int64_t groupsOf(Value route) { return route ? cast<RouteType>(route.getType()).getGroups() : 1; }

} // namespace

LogicalResult ApplyOp::verify() {
  return getX().getType().isF32() ? success() : emitOpError("C1: x must be f32, found ") << getX().getType();
}

LogicalResult GradientOfOp::verify() {
  return getValue().getType().isF32() ? success()
                                      : emitOpError("C1: the values must be f32, found ") << getValue().getType();
}

LogicalResult GroupedOuterOp::verify() {
  auto a = tensorOf(getA()), b = tensorOf(getB()), output = cast<RankedTensorType>(getType());
  if (!isRows(a, true) || !isRows(b, true) || a.getElementType() != b.getElementType())
    return emitOpError("C1: A and B must be [?,M] and [?,N] of one type, f32, bf16 or f16, found ")
           << a << " and " << b;
  int64_t groups = groupsOf(getRoute());
  if (!isPerGroup(output, groups, {a.getDimSize(1), b.getDimSize(1)}))
    return emitOpError("C2: the result must be [")
           << groups << "," << a.getDimSize(1) << "," << b.getDimSize(1) << "] of f32, found " << output;
  if (!areGroups(getFrozen(), groups))
    return emitOpError("C3: frozen groups must be 0..") << groups - 1;
  if ((getGatheredA() || getGatheredB()) && !getRoute())
    return emitOpError("C4: gathered rows need a route");
  return success();
}

LogicalResult GroupSumOp::verify() {
  auto input = tensorOf(getInput());
  auto output = cast<RankedTensorType>(getType());
  int64_t groups = output.getRank() == 1 ? 1 : groupsOf(getRoute());
  if (!isRows(input) || !isPerGroup(output, groups, {input.getDimSize(1)}))
    return emitOpError("C1: the input must be [?,N] of f32 and the result [N] or [")
           << groupsOf(getRoute()) << ",N] of f32, found " << input << " and " << output;
  if (getFrozen() && (output.getRank() == 1 || !areGroups(getFrozen(), groups)))
    return emitOpError("C2: frozen groups must be 0..") << groups - 1 << " of a result per group";
  return success();
}

LogicalResult RowsOfOp::verify() {
  auto input = tensorOf(getInput());
  bool rows = input.getRank() >= 1 && input.getRank() <= 2 && input.isDynamicDim(0) &&
              (input.getRank() == 1 || !input.isDynamicDim(1));
  return rows ? success() : emitOpError("C1: x must be [?,N] or [?], found ") << input;
}

LogicalResult SlotValuesOp::verify() {
  auto input = tensorOf(getInput());
  if (input.getRank() != 1 || !input.isDynamicDim(0) || !input.getElementType().isF32())
    return emitOpError("C1: the values must be [?] of f32, found ") << input;
  if (!isSlots(getType(), getRoute()))
    return emitOpError("C2: the result must be [?,K] of f32, K the choices of the route, found ") << getType();
  return success();
}

LogicalResult SlotProductsOp::verify() {
  auto a = tensorOf(getA()), rows = tensorOf(getRows());
  if (!isRows(a, true) || !isRows(rows, true) || a.getDimSize(1) != rows.getDimSize(1))
    return emitOpError("C1: a and rows must be [?,H] of f32, bf16 or f16, found ") << a << " and " << rows;
  if (!isSlots(getType(), getRoute()))
    return emitOpError("C2: the result must be [?,K] of f32, K the choices of the route, found ") << getType();
  return success();
}

LogicalResult ParameterSumOp::verify() {
  auto type = cast<RankedTensorType>(getType());
  if (!type.hasStaticShape() || !type.getElementType().isF32() || getInputs().empty())
    return emitOpError("C1: the operands must be static tensors of f32, found ")
           << getInputs().size() << " of " << type;
  return success();
}

LogicalResult ScaledRowsOp::verify() {
  auto matrix = tensorOf(getMatrix()), values = tensorOf(getValues()), output = cast<RankedTensorType>(getType());
  bool fits = matrix.getRank() == 2 && matrix.hasStaticShape() && isStorageFloat(matrix.getElementType()) &&
              values.getShape() == ArrayRef<int64_t>{matrix.getDimSize(0)} && values.getElementType().isF32() &&
              output.getShape() == matrix.getShape() && output.getElementType().isF32();
  return fits ? success()
              : emitOpError("C1: expected [N,K] and [N] -> [N,K] of f32, found ")
                    << matrix << ", " << values << " and " << output;
}

} // namespace moec::moe
