// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One line per scalar op, on doubles and 64-bit integers.

#include "codegen/interpret/ScalarRegion.h"

#include "codegen/moe/MoeDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/TypeSwitch.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace mlir;

namespace moec::interpret {

// To `bits` significant bits, none worth less than 2^least; beyond `most` there is infinity.
static double roundedTo(double v, int bits, int least, double most) {
  if (!std::isfinite(v) || v == 0)
    return v;
  int exponent;
  std::frexp(v, &exponent);
  int step = std::max(exponent - bits, least);
  double rounded = std::ldexp(std::nearbyint(std::ldexp(v, -step)), step);
  return std::fabs(rounded) > most ? std::copysign(HUGE_VAL, v) : rounded;
}

double roundedTo(Type type, double v) {
  if (type.isBF16())
    return roundedTo(v, 8, -133, 0x1.fep127);
  if (type.isF16())
    return roundedTo(v, 11, -24, 65504);
  return v;
}

// NOTE: with errors the element is half a step off, and none that the type holds. A draw between the two neighbours
// would be off by the middle of both on average, so that sums of many lay around another value than the exact one.
double Roundings::stored(Type type, double v) const {
  if (!narrow)
    return v;
  double nearest = roundedTo(type, v);
  if (!errors || !std::isfinite(nearest) || !(type.isBF16() || type.isF16()))
    return nearest;
  return errors->rounded(v, type.isBF16() ? DataType::BF16 : DataType::F16);
}

namespace {

using Instruction = ScalarRegion::Instruction;
using Function = Instruction::Function;

int64_t wrapped(uint64_t v, unsigned bits) {
  if (bits == 1)
    return int64_t(v & 1);
  return bits >= 64 ? int64_t(v) : int64_t(v << (64 - bits)) >> (64 - bits);
}
int64_t asSigned(int64_t v, unsigned bits) { return bits == 1 ? -v : v; }
uint64_t asUnsigned(int64_t v, unsigned bits) {
  return bits >= 64 ? uint64_t(v) : uint64_t(v) & ((uint64_t(1) << bits) - 1);
}

Scalar real(double v) { return {v, 0}; }
Scalar integer(const Instruction &i, uint64_t v) { return {0, wrapped(v, i.to)}; }

double nanOr(double a, double b, double v) { return std::isnan(a) || std::isnan(b) ? std::nan("") : v; }
// The larger or smaller one; of zeros +0 is larger.
double larger(double a, double b) { return a == b ? (std::signbit(a) ? b : a) : std::max(a, b); }
double smaller(double a, double b) { return a == b ? (std::signbit(a) ? a : b) : std::min(a, b); }

bool compareFloats(arith::CmpFPredicate predicate, double a, double b) {
  using P = arith::CmpFPredicate;
  bool unordered = std::isnan(a) || std::isnan(b);
  switch (predicate) {
  case P::AlwaysFalse:
    return false;
  case P::OEQ:
    return a == b;
  case P::OGT:
    return a > b;
  case P::OGE:
    return a >= b;
  case P::OLT:
    return a < b;
  case P::OLE:
    return a <= b;
  case P::ONE:
    return !unordered && a != b;
  case P::ORD:
    return !unordered;
  case P::UEQ:
    return unordered || a == b;
  case P::UGT:
    return unordered || a > b;
  case P::UGE:
    return unordered || a >= b;
  case P::ULT:
    return unordered || a < b;
  case P::ULE:
    return unordered || a <= b;
  case P::UNE:
    return unordered || a != b;
  case P::UNO:
    return unordered;
  case P::AlwaysTrue:
    return true;
  }
  return false;
}

bool compareIntegers(arith::CmpIPredicate predicate, int64_t a, int64_t b, unsigned bits) {
  using P = arith::CmpIPredicate;
  int64_t sa = asSigned(a, bits), sb = asSigned(b, bits);
  uint64_t ua = asUnsigned(a, bits), ub = asUnsigned(b, bits);
  switch (predicate) {
  case P::eq:
    return ua == ub;
  case P::ne:
    return ua != ub;
  case P::slt:
    return sa < sb;
  case P::sle:
    return sa <= sb;
  case P::sgt:
    return sa > sb;
  case P::sge:
    return sa >= sb;
  case P::ult:
    return ua < ub;
  case P::ule:
    return ua <= ub;
  case P::ugt:
    return ua > ub;
  case P::uge:
    return ua >= ub;
  }
  return false;
}

uint64_t toInteger(double v, unsigned bits, bool isSigned) {
  if (std::isnan(v))
    return 0;
  double most = std::ldexp(1.0, int(isSigned ? bits - 1 : bits)), least = isSigned ? -most : 0;
  if (v >= most)
    return isSigned ? (uint64_t(1) << (bits - 1)) - 1 : asUnsigned(-1, bits);
  if (v <= least)
    return isSigned ? uint64_t(-1) << (bits - 1) : 0;
  return isSigned ? uint64_t(int64_t(v)) : uint64_t(v);
}

} // namespace

// What ops do to a region that is being run.
struct ScalarOps {
  static void note(ScalarRegion &region, double a, double b) {
    double size = std::max(std::fabs(a), std::fabs(b)), gap = std::fabs(a - b);
    if (gap > 0 && std::isfinite(size))
      region.margin = std::min(region.margin, gap / size);
  }
  static bool divides(ScalarRegion &region, int64_t by) {
    region.byZero |= by == 0;
    return by != 0;
  }
};

namespace {

#define REAL(expression)                                                                                               \
  Function([](const Instruction &, const Scalar *v, ScalarRegion &) {                                                  \
    double a = v[0].real, b = v[1].real;                                                                               \
    (void)a, (void)b;                                                                                                  \
    return real(expression);                                                                                           \
  })
#define INTEGER(expression)                                                                                            \
  Function([](const Instruction &i, const Scalar *v, ScalarRegion &region) {                                           \
    int64_t a = asSigned(v[0].integer, i.from), b = asSigned(v[1].integer, i.from);                                    \
    uint64_t ua = asUnsigned(v[0].integer, i.from), ub = asUnsigned(v[1].integer, i.from);                             \
    (void)a, (void)b, (void)ua, (void)ub, (void)region;                                                                \
    return integer(i, uint64_t(expression));                                                                           \
  })

Function floatFunction(Operation &op) {
  return llvm::TypeSwitch<Operation *, Function>(&op)
      .Case<arith::AddFOp>([](auto) { return REAL(a + b); })
      .Case<arith::SubFOp>([](auto) { return REAL(a - b); })
      .Case<arith::MulFOp>([](auto) { return REAL(a * b); })
      .Case<arith::DivFOp>([](auto) { return REAL(a / b); })
      .Case<arith::NegFOp>([](auto) { return REAL(-a); })
      .Case<arith::MaximumFOp>([](auto) { return REAL(nanOr(a, b, larger(a, b))); })
      .Case<arith::MinimumFOp>([](auto) { return REAL(nanOr(a, b, smaller(a, b))); })
      .Case<arith::MaxNumFOp>([](auto) { return REAL(std::fmax(a, b)); })
      .Case<arith::MinNumFOp>([](auto) { return REAL(std::fmin(a, b)); })
      .Case<arith::ExtFOp, arith::TruncFOp>([](auto) { return REAL(a); })
      .Case<math::ExpOp>([](auto) { return REAL(std::exp(a)); })
      .Case<math::ExpM1Op>([](auto) { return REAL(std::expm1(a)); })
      .Case<math::LogOp>([](auto) { return REAL(std::log(a)); })
      .Case<math::Log1pOp>([](auto) { return REAL(std::log1p(a)); })
      .Case<math::TanhOp>([](auto) { return REAL(std::tanh(a)); })
      .Case<math::ErfOp>([](auto) { return REAL(std::erf(a)); })
      .Case<math::SqrtOp>([](auto) { return REAL(std::sqrt(a)); })
      .Case<math::AbsFOp>([](auto) { return REAL(std::fabs(a)); })
      .Case<math::CopySignOp>([](auto) { return REAL(std::copysign(a, b)); })
      .Default([](auto) { return nullptr; });
}

Function integerFunction(Operation &op) {
  return llvm::TypeSwitch<Operation *, Function>(&op)
      .Case<arith::AddIOp>([](auto) { return INTEGER(ua + ub); })
      .Case<arith::SubIOp>([](auto) { return INTEGER(ua - ub); })
      .Case<arith::MulIOp>([](auto) { return INTEGER(ua * ub); })
      .Case<arith::DivSIOp>([](auto) {
        return INTEGER(!ScalarOps::divides(region, b) ? 0 : b == -1 ? 0 - ua : uint64_t(a / b));
      })
      .Case<arith::RemSIOp>([](auto) { return INTEGER(!ScalarOps::divides(region, b) || b == -1 ? 0 : a % b); })
      .Case<arith::DivUIOp>([](auto) { return INTEGER(ScalarOps::divides(region, int64_t(ub)) ? ua / ub : 0); })
      .Case<arith::RemUIOp>([](auto) { return INTEGER(ScalarOps::divides(region, int64_t(ub)) ? ua % ub : 0); })
      .Case<arith::AndIOp>([](auto) { return INTEGER(ua & ub); })
      .Case<arith::OrIOp>([](auto) { return INTEGER(ua | ub); })
      .Case<arith::XOrIOp>([](auto) { return INTEGER(ua ^ ub); })
      .Case<arith::ShLIOp>([](auto) { return INTEGER(ub < i.from ? ua << ub : 0); })
      .Case<arith::ShRSIOp>([](auto) { return INTEGER(ub < i.from ? a >> ub : 0); })
      .Case<arith::ShRUIOp>([](auto) { return INTEGER(ub < i.from ? ua >> ub : 0); })
      .Case<arith::MaxSIOp>([](auto) { return INTEGER(std::max(a, b)); })
      .Case<arith::MinSIOp>([](auto) { return INTEGER(std::min(a, b)); })
      .Case<arith::MaxUIOp>([](auto) { return INTEGER(std::max(ua, ub)); })
      .Case<arith::MinUIOp>([](auto) { return INTEGER(std::min(ua, ub)); })
      .Case<arith::ExtSIOp>([](auto) { return INTEGER(a); })
      .Case<arith::ExtUIOp, arith::TruncIOp>([](auto) { return INTEGER(ua); })
      .Default([](auto) { return nullptr; });
}

#undef REAL
#undef INTEGER

Scalar select(const Instruction &, const Scalar *v, ScalarRegion &) { return v[0].integer ? v[1] : v[2]; }
Scalar constant(const Instruction &i, const Scalar *, ScalarRegion &) { return i.constant; }
Scalar cmpF(const Instruction &i, const Scalar *v, ScalarRegion &region) {
  ScalarOps::note(region, v[0].real, v[1].real);
  return {0, compareFloats(arith::CmpFPredicate(i.predicate), v[0].real, v[1].real)};
}
Scalar cmpI(const Instruction &i, const Scalar *v, ScalarRegion &) {
  return {0, compareIntegers(arith::CmpIPredicate(i.predicate), v[0].integer, v[1].integer, i.from)};
}
Scalar signedToFloat(const Instruction &i, const Scalar *v, ScalarRegion &) {
  return real(double(asSigned(v[0].integer, i.from)));
}
Scalar unsignedToFloat(const Instruction &i, const Scalar *v, ScalarRegion &) {
  return real(double(asUnsigned(v[0].integer, i.from)));
}
Scalar floatToSigned(const Instruction &i, const Scalar *v, ScalarRegion &) {
  return integer(i, toInteger(v[0].real, i.to, true));
}
Scalar floatToUnsigned(const Instruction &i, const Scalar *v, ScalarRegion &) {
  return integer(i, toInteger(v[0].real, i.to, false));
}
Scalar bitsOfFloat(const Instruction &i, const Scalar *v, ScalarRegion &) {
  float value = float(v[0].real);
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return integer(i, bits);
}
Scalar floatOfBits(const Instruction &, const Scalar *v, ScalarRegion &) {
  uint32_t bits = uint32_t(v[0].integer);
  float value;
  std::memcpy(&value, &bits, 4);
  return real(double(value));
}

Function conversion(Operation &op) {
  if (isa<arith::SelectOp>(op))
    return select;
  if (isa<arith::CmpFOp>(op))
    return cmpF;
  if (isa<arith::CmpIOp>(op))
    return cmpI;
  if (isa<arith::SIToFPOp>(op))
    return signedToFloat;
  if (isa<arith::UIToFPOp>(op))
    return unsignedToFloat;
  if (isa<arith::FPToSIOp>(op))
    return floatToSigned;
  if (isa<arith::FPToUIOp>(op))
    return floatToUnsigned;
  if (auto cast = dyn_cast<arith::BitcastOp>(op)) {
    Type in = cast.getIn().getType(), out = cast.getOut().getType();
    return in.isF32() && out.isInteger(32) ? bitsOfFloat : in.isInteger(32) && out.isF32() ? floatOfBits : nullptr;
  }
  return nullptr;
}

LogicalResult setConstant(arith::ConstantOp op, Instruction &instruction) {
  instruction.function = constant;
  if (auto number = dyn_cast<FloatAttr>(op.getValue()))
    instruction.constant.real = number.getValueAsDouble();
  else if (auto whole = dyn_cast<IntegerAttr>(op.getValue()); whole && whole.getValue().getBitWidth() <= 64)
    instruction.constant.integer = wrapped(whole.getValue().getZExtValue(), whole.getValue().getBitWidth());
  else
    return op.emitOpError("the interpreter knows scalar constants of at most 64 bits only");
  return success();
}

// How far a kernel's f32 result is from the exact one, in units of the last place: 1/2 where IEEE 754 rounds, about 2
// for polynomials (lower/ExpandMath.cpp).
double unitsOf(Operation &op) {
  if (isa<arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp, math::SqrtOp>(op))
    return 0.5;
  return isa<math::ExpOp, math::ExpM1Op, math::LogOp, math::Log1pOp, math::TanhOp, math::ErfOp>(op) ? 2 : 0;
}

unsigned bitsOf(Type type) { return type.isIntOrFloat() ? type.getIntOrFloatBitWidth() : 64; }

} // namespace

LogicalResult ScalarRegion::compile(Region &region, const Roundings &given) {
  if (region.empty())
    return success();
  round = given;
  hasRegion = true;
  llvm::DenseMap<Value, unsigned> placeOf;
  auto place = [&](Value value) {
    placeOf[value] = unsigned(places.size());
    places.emplace_back();
  };
  for (BlockArgument argument : region.getArguments()) {
    place(argument);
    integerArgument.push_back(argument.getType().isInteger());
  }
  for (Operation &op : region.front().without_terminator()) {
    Instruction instruction;
    Type type = op.getNumResults() == 1 ? op.getResult(0).getType() : Type();
    bool scalar = type && type.isIntOrFloat() && bitsOf(type) <= 64 && op.getNumOperands() <= 3;
    if (scalar)
      for (Function f : {conversion(op), floatFunction(op), integerFunction(op)})
        instruction.function = instruction.function ? instruction.function : f;
    auto literal = dyn_cast<arith::ConstantOp>(op);
    if (scalar && literal && failed(setConstant(literal, instruction)))
      return failure();
    if (!instruction.function)
      return op.emitOpError("the interpreter does not evaluate this op");
    for (auto [i, operand] : llvm::enumerate(op.getOperands()))
      instruction.operands[i] = placeOf.lookup(operand);
    if (op.getNumOperands())
      instruction.from = bitsOf(op.getOperand(0).getType());
    instruction.to = bitsOf(type);
    if (auto compare = dyn_cast<arith::CmpFOp>(op))
      instruction.predicate = int(compare.getPredicate());
    if (auto compare = dyn_cast<arith::CmpIOp>(op))
      instruction.predicate = int(compare.getPredicate());
    bool half = type.isBF16() || type.isF16();
    if (half && round.narrow && !isa<arith::SelectOp, arith::ConstantOp>(op)) {
      instruction.roundTo = type;
      narrow = true;
    }
    instruction.units = half ? 0 : unitsOf(op);
    place(op.getResult(0));
    instructions.push_back(instruction);
  }
  Value yielded = region.front().getTerminator()->getOperand(0);
  result = placeOf.lookup(yielded);
  integerResult = yielded.getType().isInteger();
  return success();
}

double ScalarRegion::run(ArrayRef<double> arguments) {
  for (size_t i = 0; i < arguments.size(); ++i)
    places[i] = integerArgument[i] ? Scalar{0, int64_t(arguments[i])} : Scalar{arguments[i], 0};
  Scalar *out = places.data() + arguments.size();
  for (const Instruction &i : instructions) {
    Scalar operands[3] = {places[i.operands[0]], places[i.operands[1]], places[i.operands[2]]};
    *out = i.function(i, operands, *this);
    if (i.units > 0 && round.errors)
      out->real = i.units > 1 ? round.errors->operation(out->real, 2 * i.units * out->real)
                              : round.errors->rounded(out->real, DataType::F32);
    if (i.roundTo)
      out->real = round.stored(i.roundTo, out->real);
    ++out;
  }
  return integerResult ? double(places[result].integer) : places[result].real;
}

} // namespace moec::interpret
