// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Verifiers of the moe ops, one check per label of MoeOps.td. Messages give both numbers. Extents of T and R are
// dynamic here; whether they agree is LayerChecks' business.

#include "codegen/moe/MoeDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace moec::moe {

namespace {

RankedTensorType tensorOf(Value value) { return cast<RankedTensorType>(value.getType()); }

bool isRows(RankedTensorType type, int64_t rank) {
  if (type.getRank() != rank || !type.isDynamicDim(0))
    return false;
  return rank == 1 || (!type.isDynamicDim(1) && type.getDimSize(1) > 0);
}
bool isRowsOf(RankedTensorType type, int64_t rank, unsigned integerBits) {
  return isRows(type, rank) && type.getElementType().isInteger(integerBits);
}
bool isF32Rows(RankedTensorType type, int64_t rank) { return isRows(type, rank) && type.getElementType().isF32(); }

// Columns of a rank-2 tensor, 1 of a rank-1 one.
int64_t columnsOf(RankedTensorType type) { return type.getRank() == 2 ? type.getDimSize(1) : 1; }

bool isStorageFloat(Type type) { return type.isF32() || type.isBF16() || type.isF16(); }

bool isScalar(Type type) { return isStorageFloat(type) || type.isInteger(1) || type.isInteger(32); }

// Whether `operand` fits its kind beside a result of type `out`; on failure `expected` says what would.
bool fitsKind(RankedTensorType operand, OperandKind kind, RankedTensorType out, int64_t groups, std::string &expected) {
  int64_t n = columnsOf(out);
  std::string columns = std::to_string(n);
  bool wide = out.getRank() == 2;
  switch (kind) {
  case OperandKind::elem:
    expected = wide ? "[?," + columns + "]" : "[?]";
    return isRows(operand, out.getRank()) && columnsOf(operand) == n;
  case OperandKind::row:
    expected = "[?] beside a result with columns";
    return wide && isRows(operand, 1);
  case OperandKind::col:
    expected = groups ? "[" + std::to_string(groups) + "," + columns + "]" : "[" + columns + "]";
    if (!wide || !operand.hasStaticShape())
      return false;
    if (groups < 0) // a map does not know whether its rows have groups
      return (operand.getRank() == 1 && operand.getDimSize(0) == n) ||
             (operand.getRank() == 2 && operand.getDimSize(1) == n);
    if (groups == 1 && operand.getShape() == ArrayRef<int64_t>{n})
      return true;
    if (groups)
      return operand.getShape() == ArrayRef<int64_t>{groups, n};
    return operand.getShape() == ArrayRef<int64_t>{n};
  case OperandKind::segment:
    expected = "[?,S] with S a divisor of " + columns;
    return wide && isRows(operand, 2) && n % columnsOf(operand) == 0;
  case OperandKind::scalar:
    expected = "[1]";
    return operand.getShape() == ArrayRef<int64_t>{1};
  }
  return false;
}

LogicalResult checkOperands(Operation *op, StringRef label, OperandRange operands, ArrayAttr kinds,
                            RankedTensorType out, int64_t groups) {
  if (operands.size() != kinds.size())
    return op->emitOpError(label) << ": " << operands.size() << " operands have " << kinds.size() << " kinds";
  for (auto [i, operand] : llvm::enumerate(operands)) {
    RankedTensorType type = tensorOf(operand);
    std::string expected;
    if (!isScalar(type.getElementType()))
      return op->emitOpError(label) << ": operand " << i << " has element type " << type.getElementType()
                                    << ", expected f32, bf16, f16, i32 or i1";
    OperandKind kind = kindAt(kinds, i);
    if (!fitsKind(type, kind, out, groups, expected))
      return op->emitOpError(label) << ": operand " << i << " of kind " << stringifyOperandKind(kind)
                                    << " must have shape "
                                    << (kind == OperandKind::col && groups < 0
                                            ? "[" + std::to_string(columnsOf(out)) + "] or [G," +
                                                  std::to_string(columnsOf(out)) + "]"
                                            : expected)
                                    << ", found " << type;
  }
  return success();
}

LogicalResult checkKinds(Operation *op, StringRef label, ArrayAttr kinds, ArrayRef<OperandKind> allowed,
                         StringRef names) {
  for (auto [i, attribute] : llvm::enumerate(kinds))
    if (!llvm::is_contained(allowed, cast<OperandKindAttr>(attribute).getValue()))
      return op->emitOpError(label) << ": operand " << i << " is "
                                    << stringifyOperandKind(cast<OperandKindAttr>(attribute).getValue())
                                    << ", expected " << names;
  return success();
}

// A scalar region with these argument types and one result.
LogicalResult checkRegion(Operation *op, StringRef label, Region &region, ArrayRef<Type> arguments, Type result) {
  if (!region.hasOneBlock())
    return op->emitOpError(label) << ": a region has one block";
  Block &block = region.front();
  if (block.getNumArguments() != arguments.size())
    return op->emitOpError(label) << ": the region takes " << block.getNumArguments() << " values, expected "
                                  << arguments.size();
  for (auto [i, type] : llvm::enumerate(arguments))
    if (block.getArgument(i).getType() != type)
      return op->emitOpError(label) << ": value " << i << " of the region is " << block.getArgument(i).getType()
                                    << ", expected " << type;
  if (block.empty() || !isa<YieldOp>(block.back()))
    return op->emitOpError(label) << ": the region must end with moe.yield";
  OperandRange values = block.back().getOperands();
  if (values.size() != 1 || values[0].getType() != result)
    return op->emitOpError(label) << ": the region must yield one " << result;
  for (Operation &inner : block.without_terminator()) {
    // math ops that kernels expand; any other, and remainders, would become a call of a math library
    bool expanded = isa<math::ExpOp, math::ExpM1Op, math::LogOp, math::Log1pOp, math::TanhOp, math::ErfOp, math::SqrtOp,
                        math::AbsFOp, math::CopySignOp>(inner);
    bool scalar = (isa<arith::ArithDialect>(inner.getDialect()) && !isa<arith::RemFOp>(inner)) || expanded ||
                  isa<ApplyOp, GradientOfOp>(inner);
    scalar &= inner.getNumRegions() == 0;
    for (Type type : inner.getResultTypes())
      scalar &= type.isIntOrFloat();
    if (!scalar)
      return inner.emitOpError("C3: a region of ") << op->getName()
                                                   << " may hold scalar ops of arith, except remf, and "
                                                      "math.{exp,expm1,log,log1p,tanh,erf,sqrt,absf,copysign} only";
  }
  return success();
}

SmallVector<Type> elementTypes(ArrayRef<Type> leading, OperandRange operands) {
  SmallVector<Type> types(leading);
  for (Value operand : operands)
    types.push_back(tensorOf(operand).getElementType());
  return types;
}

} // namespace

LogicalResult MapOp::verify() {
  auto type = cast<RankedTensorType>(getType());
  if ((!isRows(type, 1) && !isRows(type, 2)) || !isScalar(type.getElementType()))
    return emitOpError("C1: the result must be [?] or [?,N] of f32, bf16, f16, i32 or i1, found ") << type;
  if (failed(checkOperands(*this, "C1", getInputs(), getKinds(), type, /*groups=*/-1)))
    return failure();
  return checkRegion(*this, "C2", getBody(), elementTypes({}, getInputs()), type.getElementType());
}

LogicalResult ReduceOp::verify() {
  auto input = tensorOf(getInput()), output = cast<RankedTensorType>(getType());
  if (!isF32Rows(input, 2))
    return emitOpError("C2: the input must be a [?,N] tensor of f32, found ") << input;
  int64_t columns = columnsOf(input);
  if (!getSegments())
    return isF32Rows(output, 1) ? success() : emitOpError("C2: the result must be tensor<?xf32>, found ") << output;
  int64_t segments = *getSegments();
  if (columns % segments)
    return emitOpError("C1: segments (") << segments << ") must divide the columns (" << columns << ")";
  if (!isF32Rows(output, 2) || columnsOf(output) != segments)
    return emitOpError("C2: the result must be tensor<?x") << segments << "xf32>, found " << output;
  return success();
}

LogicalResult SoftmaxOp::verify() {
  if (!isF32Rows(tensorOf(getInput()), 2))
    return emitOpError("C1: the input must be a [?,N] tensor of f32, found ") << getInput().getType();
  int64_t columns = columnsOf(tensorOf(getInput())), segments = int64_t(getSegments().value_or(1));
  if (columns % segments)
    return emitOpError("C2: segments (") << segments << ") must divide the columns (" << columns << ")";
  return success();
}

LogicalResult ColumnsOp::verify() {
  if (!isRowsOf(cast<RankedTensorType>(getType()), 2, 32))
    return emitOpError("C1: the result must be a [?,N] tensor of i32, found ") << getType();
  int64_t columns = cast<RankedTensorType>(getType()).getDimSize(1);
  if (getNumbers() && int64_t(getNumbers()->size()) != columns)
    return emitOpError("C2: ") << getNumbers()->size() << " numbers for " << columns << " columns";
  return success();
}

LogicalResult PrefixSumOp::verify() {
  if (!isF32Rows(tensorOf(getInput()), 2))
    return emitOpError("C1: the input must be a [?,N] tensor of f32, found ") << getInput().getType();
  return success();
}

LogicalResult LookupOp::verify() {
  auto table = tensorOf(getTable()), output = cast<RankedTensorType>(getType());
  if (table.getRank() != 2 || !table.hasStaticShape() || !table.getElementType().isF32())
    return emitOpError("C1: the table must be a [V,N] tensor of f32, found ") << table;
  if (!isRowsOf(tensorOf(getIndex()), 1, 32))
    return emitOpError("C2: the index must be a [?] tensor of i32, found ") << getIndex().getType();
  if (!isF32Rows(output, 2) || columnsOf(output) != columnsOf(table))
    return emitOpError("C3: the result must be tensor<?x") << columnsOf(table) << "xf32>, found " << output;
  return success();
}

LogicalResult TopKOp::verify() {
  auto choice = tensorOf(getChoice()), ids = cast<RankedTensorType>(getType());
  if (!isF32Rows(choice, 2))
    return emitOpError("C3: the values must be a [?,N] tensor of f32, found ") << choice;
  int64_t segments = getSegments().value_or(1), columns = columnsOf(choice), k = getK();
  if (columns % segments)
    return emitOpError("C2: segments (") << segments << ") must divide the columns (" << columns << ")";
  if (k < 1 || k > columns / segments)
    return emitOpError("C1: k (") << k << ") must be 1.." << columns / segments;
  if (!isRowsOf(ids, 2, 32) || columnsOf(ids) != segments * k)
    return emitOpError("C3: the ids must be tensor<?x") << segments * k << "xi32>, found " << ids;
  return success();
}

LogicalResult MemberOp::verify() {
  if (!isRowsOf(tensorOf(getIds()), 2, 32) || !isRowsOf(cast<RankedTensorType>(getType()), 2, 1))
    return emitOpError("C1: the ids must be [?,k] of i32 and the mask [?,N] of i1, found ")
           << getIds().getType() << " and " << getType();
  return success();
}

LogicalResult TakeOp::verify() {
  auto input = tensorOf(getInput()), ids = tensorOf(getIds()), output = cast<RankedTensorType>(getType());
  if (!isRowsOf(ids, 2, 32))
    return emitOpError("C1: the ids must be a [?,k] tensor of i32, found ") << ids;
  bool shared = input.getRank() == 1 && input.hasStaticShape() && input.getElementType().isF32();
  if (!shared && !isF32Rows(input, 2) && !isRowsOf(input, 2, 32))
    return emitOpError("C2: the values must be a [?,N] tensor of f32 or i32, or a [N] tensor of f32, found ") << input;
  if (!isRows(output, 2) || output.getElementType() != input.getElementType() || columnsOf(output) != columnsOf(ids))
    return emitOpError("C3: the result must be ")
           << RankedTensorType::get({ShapedType::kDynamic, columnsOf(ids)}, input.getElementType()) << ", found "
           << output;
  return success();
}

LogicalResult PutOp::verify() {
  auto input = tensorOf(getInput()), ids = tensorOf(getIds());
  if (!isRowsOf(ids, 2, 32) || !isF32Rows(input, 2) || columnsOf(input) != columnsOf(ids))
    return emitOpError("C1: the values must be [?,k] of f32 and the ids [?,k] of i32, found ")
           << input << " and " << ids;
  if (!isF32Rows(cast<RankedTensorType>(getType()), 2))
    return emitOpError("C2: the result must be a [?,N] tensor of f32, found ") << getType();
  return success();
}

LogicalResult DispatchOp::verify() {
  auto ids = tensorOf(getIds());
  if (!isRowsOf(ids, 2, 32))
    return emitOpError("C1: the ids must be a [?,K] tensor of i32, found ") << ids;
  int64_t choices = cast<RouteType>(getRoute().getType()).getChoices();
  if (columnsOf(ids) != choices)
    return emitOpError("C2: the ids have ") << columnsOf(ids) << " choices, the route " << choices;
  return success();
}

bool GatherOp::bySlot() {
  auto input = tensorOf(getInput()), output = cast<RankedTensorType>(getType());
  return input.getRank() == 2 && (output.getRank() == 1 || columnsOf(input) != columnsOf(output));
}

int64_t GatherOp::slotColumns() {
  return columnsOf(tensorOf(getInput())) / cast<RouteType>(getRoute().getType()).getChoices();
}

LogicalResult GatherOp::verify() {
  auto input = tensorOf(getInput()), output = cast<RankedTensorType>(getType());
  int64_t choices = cast<RouteType>(getRoute().getType()).getChoices();
  bool rows = (isRows(input, 1) || isRows(input, 2)) &&
              (isStorageFloat(input.getElementType()) || input.getElementType().isInteger(32));
  bool same = rows && isRows(output, input.getRank()) && columnsOf(input) == columnsOf(output);
  bool slots = rows && bySlot() && columnsOf(input) % choices == 0 &&
               (isRows(output, 1) ? slotColumns() == 1 : isRows(output, 2) && columnsOf(output) <= slotColumns());
  if ((!same && !slots) || input.getElementType() != output.getElementType())
    return emitOpError("C1: cannot bring ")
           << input << " to rows as " << output << "; expected [?,H] -> [?,H], [?] -> [?], [?," << choices
           << "] -> [?] or [?," << choices << "*M] -> [?,M]";
  return success();
}

LogicalResult CombineOp::verify() {
  auto rows = tensorOf(getRows()), output = cast<RankedTensorType>(getType());
  if (!isRows(rows, 2) || !isStorageFloat(rows.getElementType()) || !isRows(output, 2) ||
      columnsOf(rows) != columnsOf(output) || !isStorageFloat(output.getElementType()))
    return emitOpError("C1: rows and result must be [?,H] of f32, bf16 or f16, found ") << rows << " and " << output;
  int64_t choices = cast<RouteType>(getRoute().getType()).getChoices();
  if (Value weights = getWeights())
    if (!isF32Rows(tensorOf(weights), 2) || columnsOf(tensorOf(weights)) != choices)
      return emitOpError("C2: the weights must be tensor<?x") << choices << "xf32>, found " << weights.getType();
  Type f32 = Float32Type::get(getContext());
  if (getEpilogue().empty()) {
    if (!output.getElementType().isF32() || !getEpilogueOperands().empty())
      return emitOpError("C3: without an epilogue the result must be f32 and there are no operands, found ")
             << output << " and " << getEpilogueOperands().size();
    return success();
  }
  if (failed(checkKinds(*this, "C4", getEpilogueKinds(),
                        {OperandKind::elem, OperandKind::row, OperandKind::col, OperandKind::scalar},
                        "elem, row, col or scalar")) ||
      failed(checkOperands(*this, "C4", getEpilogueOperands(), getEpilogueKinds(), output, /*groups=*/0)))
    return failure();
  return checkRegion(*this, "C3", getEpilogue(), elementTypes({f32}, getEpilogueOperands()), output.getElementType());
}

// C1..C5: shapes of A, B and the result.
static LogicalResult verifyMatmulShapes(GroupedMatmulOp op) {
  if (op.getB().size() < 1 || op.getB().size() > 2)
    return op.emitOpError("C1: there are one or two parts, found ") << op.getB().size();
  auto a = tensorOf(op.getA()), b = tensorOf(op.getB().front()), output = cast<RankedTensorType>(op.getType());
  if (b != op.getB().back().getType())
    return op.emitOpError("C1: both parts must have one type, found ") << b << " and " << op.getB().back().getType();
  bool routed = bool(op.getRoute()), oneGroup = op.groups() == 1;
  bool ranked = b.getRank() == (routed ? 3 : 2) || (oneGroup && b.getRank() == 2);
  if (!b.hasStaticShape() || !ranked || !isStorageFloat(b.getElementType()))
    return op.emitOpError("C1: B must be ") << (routed ? "[G,N,K]" : "[N,K]") << " of f32, bf16 or f16, found " << b;
  if (b.getRank() == 3 && b.getDimSize(0) != op.groups())
    return op.emitOpError("C2: B has ") << b.getDimSize(0) << " groups, the route " << op.groups();
  int64_t n = b.getDimSize(b.getRank() - 2), k = b.getDimSize(b.getRank() - 1);
  if (op.getTransposed())
    std::swap(n, k);
  if (!isRows(a, 2) || !isStorageFloat(a.getElementType()) || columnsOf(a) != k)
    return op.emitOpError("C3: A must be [?,") << k << "] of f32, bf16 or f16 to fit B, found " << a;
  if (!isRows(output, 2) || !isStorageFloat(output.getElementType()) || columnsOf(output) != n)
    return op.emitOpError("C4: the result must be [?,") << n << "] of f32, bf16 or f16, found " << output;
  if (op.getGathered() && !routed)
    return op.emitOpError("C5: gathered needs a route");
  return success();
}

LogicalResult GroupedMatmulOp::verify() {
  if (failed(verifyMatmulShapes(*this)))
    return failure();
  auto output = cast<RankedTensorType>(getType());
  Type element = tensorOf(getA()).getElementType(), f32 = Float32Type::get(getContext());
  if (getPrologue().empty() && !getPrologueOperands().empty())
    return emitOpError("C6: operands need a prologue");
  if (!getPrologue().empty() &&
      (failed(checkKinds(*this, "C6", getPrologueKinds(), {OperandKind::row, OperandKind::scalar}, "row or scalar")) ||
       failed(checkOperands(*this, "C6", getPrologueOperands(), getPrologueKinds(), output, /*groups=*/0)) ||
       failed(checkRegion(*this, "C6", getPrologue(), elementTypes({element}, getPrologueOperands()), element))))
    return failure();
  if (getEpilogue().empty()) {
    if (parts() != 1 || !output.getElementType().isF32() || !getEpilogueOperands().empty())
      return emitOpError("C8: without an epilogue there is one part and the result is f32, found ")
             << parts() << " and " << output;
    return success();
  }
  if (failed(checkKinds(*this, "C7", getEpilogueKinds(),
                        {OperandKind::elem, OperandKind::row, OperandKind::col, OperandKind::scalar},
                        "elem, row, col or scalar")) ||
      failed(checkOperands(*this, "C7", getEpilogueOperands(), getEpilogueKinds(), output, getRoute() ? groups() : 0)))
    return failure();
  SmallVector<Type> accumulators(parts(), f32);
  return checkRegion(*this, "C7", getEpilogue(), elementTypes(accumulators, getEpilogueOperands()),
                     output.getElementType());
}

LogicalResult RowProgramOp::verify() {
  if (!getBody().hasOneBlock())
    return emitOpError("C1: the body has one block");
  Block &block = getBody().front();
  if (block.getArgumentTypes() != getInputs().getTypes())
    return emitOpError("C1: the body must take the types of the inputs");
  if (block.empty() || !isa<YieldOp>(block.back()) || block.back().getOperandTypes() != getResultTypes())
    return emitOpError("C1: the body must yield the types of the results");
  for (Operation &inner : block.without_terminator())
    if (!isRowOp(&inner))
      return inner.emitOpError("C2: is not a row op, so it cannot stand in a row_program");
  return success();
}

} // namespace moec::moe
