// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The parts of the emitter that take more than a line.

#include "codegen/lower/Emitter.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace moec {

Value Emitter::stack(int64_t bytes) {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&function.getBody().front());
  return LLVM::AllocaOp::create(b, loc, ptr(), b.getI8Type(), c(bytes), /*alignment=*/64);
}

Value Emitter::numberTable(ArrayRef<int32_t> numbers, int64_t padding, unsigned addressSpace) {
  auto module = function->getParentOfType<ModuleOp>();
  SmallVector<int32_t> padded(numbers);
  padded.append(size_t(padding), 0);
  std::string name;
  for (int n = 0; n == 0 || module.lookupSymbol(name); ++n)
    name = (function.getName() + "_numbers" + Twine(n)).str();
  auto data = DenseElementsAttr::get(RankedTensorType::get({int64_t(padded.size())}, b.getI32Type()), ArrayRef(padded));
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(module.getBody());
    LLVM::GlobalOp::create(b, loc, LLVM::LLVMArrayType::get(b.getI32Type(), unsigned(padded.size())),
                           /*isConstant=*/true, LLVM::Linkage::Internal, name, data, /*alignment=*/64, addressSpace);
  }
  return LLVM::AddressOfOp::create(b, loc, LLVM::LLVMPointerType::get(b.getContext(), addressSpace), name);
}

static int64_t lanesOf(Type type) {
  auto vector = dyn_cast<VectorType>(type);
  return vector ? vector.getNumElements() : 0;
}

static Type withLanes(Type element, int64_t lanes) { return lanes ? Type(VectorType::get({lanes}, element)) : element; }

Value Emitter::fromBf16(Value value) {
  int64_t lanes = lanesOf(value.getType());
  Type i16 = withLanes(b.getI16Type(), lanes), i32 = withLanes(b.getI32Type(), lanes);
  Value bits = arith::ExtUIOp::create(b, loc, i32, bitcast(value, i16));
  Value sixteen = lanes ? constantI32(16, lanes) : c32(16);
  return bitcast(arith::ShLIOp::create(b, loc, bits, sixteen), withLanes(f32(), lanes));
}

// bits + 0x7fff + lowest kept bit, upper half: ties go to even. A NaN is made quiet first, else its mantissa could
// round up into the exponent.
Value Emitter::toBf16(Value value) {
  int64_t lanes = lanesOf(value.getType());
  Type bf16 = withLanes(b.getBF16Type(), lanes), i16 = withLanes(b.getI16Type(), lanes);
  if (isa.bf16Dot && lanes >= 4)
    return arith::TruncFOp::create(b, loc, bf16, value);
  auto k = [&](int32_t v) { return lanes ? constantI32(v, lanes) : c32(v); };
  Value bits = bitcast(value, withLanes(b.getI32Type(), lanes));
  Value upper = arith::ShRUIOp::create(b, loc, bits, k(16));
  Value odd = arith::AndIOp::create(b, loc, upper, k(1));
  Value rounded = add(add(bits, k(0x7fff)), odd);
  rounded = arith::ShRUIOp::create(b, loc, rounded, k(16));
  Value nan = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNO, value, value);
  Value quiet = arith::OrIOp::create(b, loc, upper, k(0x40));
  return bitcast(arith::TruncIOp::create(b, loc, i16, select(nan, quiet, rounded)), bf16);
}

Value Emitter::loadAsF32(Type element, Value address, int64_t lanes) {
  if (element.isBF16())
    return fromBf16(load(vec(element, lanes), address, 2));
  return load(vec(element, lanes), address, 4);
}

void Emitter::loop(Value first, Value last, int64_t step, llvm::function_ref<void(Value)> body) {
  auto op = scf::ForOp::create(b, loc, first, last, c(step));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(op.getBody()->getTerminator());
  body(op.getInductionVar());
}

void Emitter::when(Value condition, llvm::function_ref<void()> then, llvm::function_ref<void()> otherwise) {
  auto op = scf::IfOp::create(b, loc, condition, /*withElseRegion=*/bool(otherwise));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(op.thenBlock()->getTerminator());
  then();
  if (otherwise) {
    b.setInsertionPoint(op.elseBlock()->getTerminator());
    otherwise();
  }
}

Emitter::Values Emitter::foldInRuns(Value first, Value end, int64_t stride, int64_t run, const Values &neutral,
                                    llvm::function_ref<Values(const Values &, Value)> step,
                                    llvm::function_ref<Value(Value, Value)> join) {
  auto runs = scf::ForOp::create(b, loc, first, end, c(stride * run), neutral);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(runs.getBody());
  Value begin = runs.getInductionVar(), last = minS(add(begin, c(stride * run)), end);
  auto inner = scf::ForOp::create(b, loc, begin, last, c(stride), neutral);
  {
    OpBuilder::InsertionGuard innerGuard(b);
    b.setInsertionPointToEnd(inner.getBody());
    scf::YieldOp::create(b, loc, step(Values(inner.getRegionIterArgs()), inner.getInductionVar()));
  }
  Values joined;
  for (auto [whole, part] : llvm::zip(runs.getRegionIterArgs(), inner.getResults()))
    joined.push_back(join(whole, part));
  scf::YieldOp::create(b, loc, joined);
  return Values(runs.getResults());
}

SmallVector<Value> Emitter::inlineVectorised(Region &region, ValueRange args, int64_t lanes) {
  int64_t width = lanes == 1 ? 0 : lanes; // scalars keep their types
  IRMapping mapping;
  mapping.map(region.getArguments(), args);
  for (Operation &op : region.front().without_terminator()) {
    if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
      TypedAttr value = constant.getValue();
      if (width)
        value = DenseElementsAttr::get(VectorType::get({width}, value.getType()), Attribute(value));
      mapping.map(constant.getResult(), arith::ConstantOp::create(b, loc, value).getResult());
      continue;
    }
    Type result = op.getResult(0).getType(), operand = op.getOperand(0).getType();
    if (isa_and_nonnull<arith::TruncFOp>(&op) && result.isBF16()) {
      mapping.map(op.getResult(0), toBf16(mapping.lookup(op.getOperand(0))));
      continue;
    }
    if (isa_and_nonnull<arith::ExtFOp>(&op) && operand.isBF16()) {
      mapping.map(op.getResult(0), fromBf16(mapping.lookup(op.getOperand(0))));
      continue;
    }
    Operation *clone = b.clone(op, mapping);
    for (Value value : clone->getResults())
      value.setType(withLanes(value.getType(), width));
  }
  SmallVector<Value> results;
  for (Value value : region.front().getTerminator()->getOperands())
    results.push_back(mapping.lookup(value));
  return results;
}

} // namespace moec
