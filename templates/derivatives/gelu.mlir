// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// gelu'(x) = (1 + erf(x / sqrt(2))) / 2 + x exp(-x^2 / 2) / sqrt(2 pi)
//
// NOTE: the bounds keep inf * 0 = NaN out; beyond them the second term is 0 even in f64.
func.func @gelu_derivative(%x: f32) -> f32 {
  %low = arith.constant -16.0 : f32
  %high = arith.constant 16.0 : f32
  %half = arith.constant 0.5 : f32
  %one = arith.constant 1.0 : f32
  %bounded = arith.maximumf %x, %low : f32
  %v = arith.minimumf %bounded, %high : f32
  %rsqrt2 = arith.constant 0.70710678118654752 : f32
  %rsqrt2pi = arith.constant 0.39894228040143268 : f32
  %u = arith.mulf %v, %rsqrt2 : f32
  %e = math.erf %u : f32
  %s = arith.addf %one, %e : f32
  %cdf = arith.mulf %half, %s : f32
  %uu = arith.mulf %u, %u : f32
  %neg = arith.negf %uu : f32
  %g = math.exp %neg : f32
  %pdf = arith.mulf %rsqrt2pi, %g : f32
  %t = arith.mulf %v, %pdf : f32
  %y = arith.addf %cdf, %t : f32
  func.return %y : f32
}
