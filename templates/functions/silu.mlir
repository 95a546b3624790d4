// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// silu(x) = x / (1 + exp(-x))
//
// NOTE: the lower bound keeps -inf / inf = NaN out; at -128 the exponential is inf in f32 and the quotient 0.
func.func @silu(%x: f32) -> f32 {
  %low = arith.constant -128.0 : f32
  %one = arith.constant 1.0 : f32
  %v = arith.maximumf %x, %low : f32
  %negv = arith.negf %v : f32
  %e = math.exp %negv : f32
  %den = arith.addf %one, %e : f32
  %y = arith.divf %v, %den : f32
  func.return %y : f32
}
