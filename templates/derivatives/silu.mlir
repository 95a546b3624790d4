// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// silu'(x) = s (1 + x (1 - s)),   s = 1 / (1 + exp(-x))
//
// NOTE: the lower bound keeps 0 * -inf = NaN out; at -128 the exponential is inf in f32 and s 0.
func.func @silu_derivative(%x: f32) -> f32 {
  %low = arith.constant -128.0 : f32
  %one = arith.constant 1.0 : f32
  %v = arith.maximumf %x, %low : f32
  %negv = arith.negf %v : f32
  %e = math.exp %negv : f32
  %den = arith.addf %one, %e : f32
  %s = arith.divf %one, %den : f32
  %c = arith.subf %one, %s : f32
  %vc = arith.mulf %v, %c : f32
  %p = arith.addf %one, %vc : f32
  %y = arith.mulf %s, %p : f32
  func.return %y : f32
}
