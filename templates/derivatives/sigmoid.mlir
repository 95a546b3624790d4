// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// sigmoid'(x) = s (1 - s) = s(x) s(-x),   s(x) = 1 / (1 + exp(-x))
//
// The second form loses no digits where s is close to 1; both exponents are of -|x|, so that nothing overflows.
func.func @sigmoid_derivative(%x: f32) -> f32 {
  %one = arith.constant 1.0 : f32
  %a = math.absf %x : f32
  %nega = arith.negf %a : f32
  %e = math.exp %nega : f32
  %den = arith.addf %one, %e : f32
  %square = arith.mulf %den, %den : f32
  %y = arith.divf %e, %square : f32
  func.return %y : f32
}
