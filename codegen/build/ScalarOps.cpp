// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/ScalarOps.h"

#include "codegen/moe/MoeDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace moec {

// ---- f32 --------------------------------------------------------------------------------------------------------

Value ScalarOps::number(double value) {
  return arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(float(value)));
}
Value ScalarOps::toF32(Value value) {
  return value.getType().isF32() ? value : arith::ExtFOp::create(builder, loc, builder.getF32Type(), value);
}
Value ScalarOps::fromF32(Value value, Type type) {
  return type.isF32() ? value : arith::TruncFOp::create(builder, loc, type, value);
}
Value ScalarOps::add(Value a, Value b) { return arith::AddFOp::create(builder, loc, a, b); }
Value ScalarOps::subtract(Value a, Value b) { return arith::SubFOp::create(builder, loc, a, b); }
Value ScalarOps::multiply(Value a, Value b) { return arith::MulFOp::create(builder, loc, a, b); }
Value ScalarOps::divide(Value a, Value b) { return arith::DivFOp::create(builder, loc, a, b); }
Value ScalarOps::scaled(Value a, double factor) { return factor == 1 ? a : multiply(a, number(factor)); }

Value ScalarOps::atMost(Value a, double limit) {
  Value bound = number(limit);
  return select(isGreater(a, bound), bound, a);
}
Value ScalarOps::atLeast(Value a, double limit) {
  Value bound = number(limit);
  Value below = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OLT, a, bound);
  return select(below, bound, a);
}

Value ScalarOps::squareRoot(Value a) { return math::SqrtOp::create(builder, loc, a); }
Value ScalarOps::softCapped(Value a, double cap) {
  return scaled(math::TanhOp::create(builder, loc, divide(a, number(cap))), cap);
}
Value ScalarOps::isGreater(Value a, Value b) {
  return arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGT, a, b);
}
Value ScalarOps::isZero(Value a) {
  return arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OEQ, a, number(0));
}
Value ScalarOps::withGradientOf(Value value, Value of) {
  return functions.differentiated() ? moe::GradientOfOp::create(builder, loc, value, of) : value;
}

Value ScalarOps::apply(StringRef function, const char *key, Value x) {
  return functions.apply(builder, loc, function, key, x);
}

// ---- i32 --------------------------------------------------------------------------------------------------------

Value ScalarOps::integer(int32_t value) {
  return arith::ConstantOp::create(builder, loc, builder.getI32IntegerAttr(value));
}
Value ScalarOps::plus(Value a, int32_t b) { return arith::AddIOp::create(builder, loc, a, integer(b)); }
Value ScalarOps::times(Value a, int32_t b) { return arith::MulIOp::create(builder, loc, a, integer(b)); }
Value ScalarOps::quotient(Value a, int32_t b) { return arith::DivSIOp::create(builder, loc, a, integer(b)); }
Value ScalarOps::remainder(Value a, int32_t b) { return arith::RemSIOp::create(builder, loc, a, integer(b)); }
Value ScalarOps::equal(Value a, int32_t b) { return equal(a, integer(b)); }
Value ScalarOps::equal(Value a, Value b) { return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, a, b); }
Value ScalarOps::isLess(Value a, Value b) {
  return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, a, b);
}
Value ScalarOps::isIndex(Value id, int64_t count) {
  // -1 is the largest number without a sign
  return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ult, id, integer(int32_t(count)));
}
Value ScalarOps::isChosen(Value id) {
  return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::sge, id, integer(0));
}

// ---- any type ---------------------------------------------------------------------------------------------------

Value ScalarOps::either(Value a, Value b) { return arith::OrIOp::create(builder, loc, a, b); }
Value ScalarOps::select(Value condition, Value a, Value b) {
  return arith::SelectOp::create(builder, loc, condition, a, b);
}

} // namespace moec
