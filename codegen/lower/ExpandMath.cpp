// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Elementary functions as arithmetic, on scalars and vectors alike. Errors are against a float64 evaluation over all
// finite f32 inputs of the useful range; tests/cpu checks them.
//
//     exp x    = 2^n p(r), n = round(x / ln 2), r = x - n ln 2 in two parts, p of degree 7: 1 ulp
//     expm1 x  = exp x - 1, and x times the Taylor series of (exp x - 1) / x to x^8 where |x| < 1/2: 4 ulp
//     tanh x   = sign(x) (1 - 2 / (exp(2|x|) + 1)), and x times the Taylor series of tanh(x)/x to x^8 below 1/4: 3 ulp
//     erf x    = Abramowitz and Stegun 7.1.26, absolute error 2e-7
//     log x    = e ln 2 + log m, m in [sqrt(1/2), sqrt 2), log m through 2 atanh((m-1)/(m+1)): 2 ulp
//     log1p x  = log(u) x / (u - 1), u = 1 + x (x where u is 1): the rounding of 1 + x cancels

#include "codegen/lower/Emitter.h"

using namespace mlir;

namespace moec {
namespace {

class MathExpander {
public:
  MathExpander(Operation *op, const IsaFacts &isa) : e(OpBuilder(op), op->getLoc(), isa) {
    auto vector = dyn_cast<VectorType>(op->getResult(0).getType());
    lanes = vector ? vector.getNumElements() : 0;
  }

  Value expand(Operation *op) {
    Value x = op->getOperand(0);
    if (llvm::isa<math::ExpOp>(op))
      return exp(x);
    if (llvm::isa<math::ExpM1Op>(op))
      return expm1(x);
    if (llvm::isa<math::TanhOp>(op))
      return tanh(x);
    if (llvm::isa<math::ErfOp>(op))
      return erf(x);
    if (llvm::isa<math::LogOp>(op))
      return log(x);
    if (llvm::isa<math::Log1pOp>(op))
      return log1p(x);
    return {};
  }

private:
  Value k(double v) {
    if (lanes)
      return e.constant(v, lanes);
    return arith::ConstantOp::create(e.b, e.loc, e.b.getF32FloatAttr(float(v)));
  }
  Value ki(int32_t v) { return lanes ? e.constantI32(v, lanes) : e.c32(v); }
  Type ints() { return lanes ? Type(e.vec(e.b.getI32Type(), lanes)) : Type(e.b.getI32Type()); }
  Type floats() { return lanes ? Type(e.vec(e.f32(), lanes)) : e.f32(); }
  Value add(Value x, Value y) { return e.addF(x, y); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(e.b, e.loc, x, y); }
  Value mul(Value x, Value y) { return e.mulF(x, y); }
  Value div(Value x, Value y) { return arith::DivFOp::create(e.b, e.loc, x, y); }
  Value cmp(arith::CmpFPredicate p, Value x, Value y) { return arith::CmpFOp::create(e.b, e.loc, p, x, y); }
  Value abs(Value x) { return math::AbsFOp::create(e.b, e.loc, x); }
  Value horner(Value x, ArrayRef<double> coefficients) {
    Value p = k(coefficients.front());
    for (double c : coefficients.drop_front())
      p = e.fma(p, x, k(c));
    return p;
  }

  // The clamps keep both factors of 2^n normal; beyond them the product overflows to inf or underflows to 0 by itself.
  // Comparisons are ordered, so a NaN passes through them.
  Value exp(Value x) {
    x = e.select(cmp(arith::CmpFPredicate::OGT, x, k(89.0)), k(89.0), x);
    x = e.select(cmp(arith::CmpFPredicate::OLT, x, k(-104.0)), k(-104.0), x);
    const double magic = 12582912.0; // 1.5 * 2^23: adding it rounds to an integer in the low mantissa bits
    Value t = e.fma(x, k(1.44269504088896341), k(magic));
    Value n = sub(t, k(magic));
    Value r = e.fma(n, k(-0.693359375), x);
    r = e.fma(n, k(2.12194440054690583e-4), r);
    Value p = horner(r, {1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
                         5.0000001201e-1, 1.0, 1.0});
    Value bits = e.sub(e.bitcast(t, ints()), ki(0x4B400000));
    Value half = arith::ShRSIOp::create(e.b, e.loc, bits, ki(1));
    auto power = [&](Value i) {
      return e.bitcast(arith::ShLIOp::create(e.b, e.loc, e.add(i, ki(127)), ki(23)), floats());
    };
    return mul(mul(p, power(half)), power(e.sub(bits, half)));
  }

  Value expm1(Value x) {
    Value small =
        mul(x, horner(x, {1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1.0}));
    return e.select(cmp(arith::CmpFPredicate::OLT, abs(x), k(0.5)), small, sub(exp(x), k(1.0)));
  }

  Value tanh(Value x) {
    Value a = abs(x);
    Value big = sub(k(1.0), div(k(2.0), add(exp(mul(a, k(2.0))), k(1.0))));
    big = math::CopySignOp::create(e.b, e.loc, big, x);
    Value y = mul(x, x);
    Value small = mul(x, horner(y, {62.0 / 2835, -17.0 / 315, 2.0 / 15, -1.0 / 3, 1.0}));
    return e.select(cmp(arith::CmpFPredicate::OLT, a, k(0.25)), small, big);
  }

  Value erf(Value x) {
    Value a = abs(x);
    Value t = div(k(1.0), e.fma(a, k(0.3275911), k(1.0)));
    Value p = mul(t, horner(t, {1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592}));
    Value minusSquare = mul(a, arith::NegFOp::create(e.b, e.loc, a));
    Value y = sub(k(1.0), mul(p, exp(minusSquare)));
    return math::CopySignOp::create(e.b, e.loc, y, x);
  }

  Value log(Value x) {
    // denormals are scaled into the normal range first
    Value tiny = cmp(arith::CmpFPredicate::OLT, x, k(1.17549435e-38));
    Value scaled = e.select(tiny, mul(x, k(8388608.0)), x);
    Value bits = e.bitcast(scaled, ints());
    Value shifted = e.sub(bits, ki(0x3f3504f3)); // sqrt(1/2): the exponent field of m becomes that of [0.707, 1.414)
    Value exponent = arith::ShRSIOp::create(e.b, e.loc, shifted, ki(23));
    Value mantissa = e.bitcast(e.sub(bits, arith::ShLIOp::create(e.b, e.loc, exponent, ki(23))), floats());
    Value n = arith::SIToFPOp::create(e.b, e.loc, floats(), exponent);
    n = add(n, e.select(tiny, k(-23.0), k(0.0)));
    Value f = sub(mantissa, k(1.0));
    Value s = div(f, add(mantissa, k(1.0)));
    Value z = mul(s, s);
    Value tail = mul(z, horner(z, {2.0 / 9, 2.0 / 7, 2.0 / 5, 2.0 / 3}));
    Value m = e.fma(s, tail, mul(k(2.0), s));
    Value y = e.fma(n, k(0.693359375), e.fma(n, k(-2.12194440054690583e-4), m));
    const double inf = std::numeric_limits<double>::infinity();
    y = e.select(cmp(arith::CmpFPredicate::OEQ, x, k(inf)), x, y);
    y = e.select(cmp(arith::CmpFPredicate::OEQ, x, k(0.0)), k(-inf), y);
    Value invalid = cmp(arith::CmpFPredicate::ULT, x, k(0.0)); // negative or NaN
    return e.select(invalid, k(std::numeric_limits<double>::quiet_NaN()), y);
  }

  Value log1p(Value x) {
    Value u = add(x, k(1.0));
    Value d = sub(u, k(1.0));
    Value y = mul(log(u), div(x, d));
    y = e.select(cmp(arith::CmpFPredicate::OEQ, d, k(0.0)), x, y);
    const double inf = std::numeric_limits<double>::infinity();
    return e.select(cmp(arith::CmpFPredicate::OEQ, x, k(inf)), x, y);
  }

  Emitter e;
  int64_t lanes;
};

} // namespace

void expandMath(Operation *root, const IsaFacts &isa) {
  SmallVector<Operation *> work;
  root->walk([&](Operation *op) {
    if (llvm::isa<math::ExpOp, math::ExpM1Op, math::TanhOp, math::ErfOp, math::LogOp, math::Log1pOp>(op))
      work.push_back(op);
  });
  for (Operation *op : work) {
    Value value = MathExpander(op, isa).expand(op);
    op->replaceAllUsesWith(ValueRange{value});
    op->erase();
  }
}

} // namespace moec
