// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/grad/ScalarGradient.h"

#include "codegen/moe/MoeDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/TypeSwitch.h"

#include <cmath>

using namespace mlir;

namespace moec {

static bool isFloat(Value value) { return isa<FloatType>(value.getType()); }

void ScalarGradient::add(Value to, Value d) {
  if (!moving.contains(to))
    return;
  Value &sum = gradients[to];
  sum = sum ? ops.add(sum, d) : d;
}

Value ScalarGradient::unlessZero(Value d, Value part) { return ops.select(ops.isZero(d), ops.number(0), part); }

Value ScalarGradient::quotient(Value d, Value b) {
  Value part = ops.divide(d, b);
  return b.getDefiningOp<arith::ConstantOp>() ? part : unlessZero(d, part);
}

static Value compare(OpBuilder &builder, arith::CmpFPredicate predicate, Value a, Value b) {
  return arith::CmpFOp::create(builder, a.getLoc(), predicate, a, b);
}

// y = max(a, b) or min(a, b): `takesA` says where y is a. A limit is a constant, and what is on it passes.
static void splitGradient(OpBuilder &builder, ScalarOps ops, arith::CmpFPredicate orEqual, Value a, Value b, Value d,
                          llvm::function_ref<void(Value, Value)> add) {
  Value zero = ops.number(0);
  bool limitFirst = bool(a.getDefiningOp<arith::ConstantOp>());
  Value takesA = limitFirst ? compare(builder, orEqual, b, a) : compare(builder, orEqual, a, b);
  if (limitFirst)
    return add(b, ops.select(takesA, d, zero));
  add(a, ops.select(takesA, d, zero));
  add(b, ops.select(takesA, zero, d));
}

LogicalResult ScalarGradient::differentiate(Operation *op, Value d) {
  auto operand = [&](unsigned i) { return wide(op->getOperand(i)); };
  Value result = op->getNumResults() ? wide(op->getResult(0)) : Value();
  auto to = [&](unsigned i, Value part) { add(op->getOperand(i), part); };
  using P = arith::CmpFPredicate;
  auto split = [&](P orEqual) {
    splitGradient(builder, ops, orEqual, op->getOperand(0), op->getOperand(1), d,
                  [&](Value value, Value part) { add(value, part); });
  };
  auto magnitude = [&](double v) { return ops.number(v); };
  auto sign = [&](Value v) -> Value { return math::CopySignOp::create(builder, v.getLoc(), magnitude(1), v); };
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<arith::AddFOp>([&](auto) {
        to(0, d);
        to(1, d);
        return success();
      })
      .Case<arith::SubFOp>([&](auto) {
        to(0, d);
        if (moving.contains(op->getOperand(1)))
          to(1, arith::NegFOp::create(builder, op->getLoc(), d));
        return success();
      })
      .Case<arith::NegFOp>([&](auto) {
        to(0, arith::NegFOp::create(builder, op->getLoc(), d));
        return success();
      })
      .Case<arith::MulFOp>([&](auto) {
        if (moving.contains(op->getOperand(0)))
          to(0, ops.multiply(d, operand(1)));
        if (moving.contains(op->getOperand(1)))
          to(1, ops.multiply(d, operand(0)));
        return success();
      })
      .Case<moe::GradientOfOp>([&](auto) {
        to(1, d);
        return success();
      })
      .Case<arith::DivFOp>([&](auto) {
        Value part = quotient(d, operand(1));
        to(0, part);
        if (moving.contains(op->getOperand(1)))
          to(1, unlessZero(d, arith::NegFOp::create(builder, op->getLoc(), ops.multiply(part, result))));
        return success();
      })
      .Case<arith::MaximumFOp, arith::MaxNumFOp>([&](auto) {
        split(P::OGE);
        return success();
      })
      .Case<arith::MinimumFOp, arith::MinNumFOp>([&](auto) {
        split(P::OLE);
        return success();
      })
      .Case<arith::SelectOp>([&](arith::SelectOp select) {
        Value zero = ops.number(0);
        add(select.getTrueValue(), ops.select(select.getCondition(), d, zero));
        add(select.getFalseValue(), ops.select(select.getCondition(), zero, d));
        return success();
      })
      .Case<arith::ExtFOp, arith::TruncFOp>([&](auto) {
        to(0, d);
        return success();
      })
      .Case<math::ExpOp>([&](auto) {
        to(0, ops.multiply(d, result));
        return success();
      })
      .Case<math::ExpM1Op>([&](auto) {
        to(0, ops.multiply(d, ops.add(result, magnitude(1))));
        return success();
      })
      .Case<math::LogOp>([&](auto) {
        to(0, quotient(d, operand(0)));
        return success();
      })
      .Case<math::Log1pOp>([&](auto) {
        to(0, quotient(d, ops.add(operand(0), magnitude(1))));
        return success();
      })
      .Case<math::TanhOp>([&](auto) {
        to(0, ops.multiply(d, ops.subtract(magnitude(1), ops.multiply(result, result))));
        return success();
      })
      .Case<math::ErfOp>([&](auto) {
        Value square = ops.multiply(operand(0), operand(0));
        Value bell = math::ExpOp::create(builder, op->getLoc(), arith::NegFOp::create(builder, op->getLoc(), square));
        to(0, ops.multiply(d, ops.scaled(bell, 2 / std::sqrt(std::acos(-1.0)))));
        return success();
      })
      .Case<math::SqrtOp>([&](auto) {
        to(0, quotient(d, ops.scaled(result, 2)));
        return success();
      })
      .Case<math::AbsFOp>([&](auto) {
        Value zero = magnitude(0), flat = ops.isZero(operand(0));
        to(0, ops.select(flat, zero, ops.multiply(d, sign(operand(0)))));
        return success();
      })
      .Case<math::CopySignOp>([&](auto) {
        to(0, ops.multiply(d, ops.multiply(sign(operand(0)), sign(operand(1)))));
        return success();
      })
      .Case<moe::ApplyOp>([&](moe::ApplyOp apply) {
        if (apply.getDerivative())
          return apply.emitOpError("a derivative has no derivative here"), failure();
        Value slope = moe::ApplyOp::create(builder, op->getLoc(), apply.getX().getType(), apply.getX(),
                                           apply.getFunction(), /*derivative=*/true);
        to(0, ops.multiply(d, slope));
        return success();
      })
      .Default([](Operation *other) { return other->emitOpError("has no gradient rule"), failure(); });
}

FailureOr<Value> ScalarGradient::of(Region &region, ValueRange arguments, unsigned index, Value d) {
  IRMapping mapping;
  Block &block = region.front();
  mapping.map(block.getArguments(), arguments);
  moving.insert(arguments[index]);
  SmallVector<Operation *> body;
  for (Operation &op : block.without_terminator()) {
    Operation *copy = builder.clone(op, mapping);
    body.push_back(copy);
    bool moves = llvm::any_of(copy->getOperands(), [&](Value v) { return moving.contains(v) && isFloat(v); });
    for (Value result : copy->getResults())
      if (moves && isFloat(result))
        moving.insert(result);
  }
  add(mapping.lookup(block.getTerminator()->getOperand(0)), d);
  for (Operation *op : llvm::reverse(body))
    if (Value of = op->getNumResults() == 1 ? gradients.lookup(op->getResult(0)) : Value())
      if (failed(differentiate(op, of)))
        return failure();
  return gradients.lookup(arguments[index]);
}

} // namespace moec
