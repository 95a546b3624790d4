// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// sqrtsoftplus'(x) = s / (2 sqrtsoftplus(x)),   s = 1 / (1 + exp(-x))
//
// NOTE: below -80 the derivative is less than 1e-17; the bound keeps 0 / 0 out.
func.func @sqrtsoftplus_derivative(%x: f32) -> f32 {
  %low = arith.constant -80.0 : f32
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %two = arith.constant 2.0 : f32
  %v = arith.maximumf %x, %low : f32
  %negv = arith.negf %v : f32
  %es = math.exp %negv : f32
  %den = arith.addf %one, %es : f32
  %r = arith.maximumf %v, %zero : f32
  %a = math.absf %v : f32
  %nega = arith.negf %a : f32
  %e = math.exp %nega : f32
  %l = math.log1p %e : f32
  %p = arith.addf %r, %l : f32
  %f = math.sqrt %p : f32
  %twof = arith.mulf %two, %f : f32
  %both = arith.mulf %den, %twof : f32
  %y = arith.divf %one, %both : f32
  func.return %y : f32
}
