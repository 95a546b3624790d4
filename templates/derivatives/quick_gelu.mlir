// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// quick_gelu'(x) = s (1 + 1.702 x (1 - s)),   s = 1 / (1 + exp(-1.702 x))
//
// NOTE: the lower bound keeps 0 * -inf = NaN out; at -128 the exponential is inf in f32 and s 0.
func.func @quick_gelu_derivative(%x: f32) -> f32 {
  %low = arith.constant -128.0 : f32
  %one = arith.constant 1.0 : f32
  %v = arith.maximumf %x, %low : f32
  %alpha = arith.constant 1.702 : f32
  %u = arith.mulf %alpha, %v : f32
  %negu = arith.negf %u : f32
  %e = math.exp %negu : f32
  %den = arith.addf %one, %e : f32
  %s = arith.divf %one, %den : f32
  %c = arith.subf %one, %s : f32
  %uc = arith.mulf %u, %c : f32
  %p = arith.addf %one, %uc : f32
  %y = arith.mulf %s, %p : f32
  func.return %y : f32
}
