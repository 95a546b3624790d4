// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// softplus'(x) = 1 / (1 + exp(-x))
func.func @softplus_derivative(%x: f32) -> f32 {
  %one = arith.constant 1.0 : f32
  %negx = arith.negf %x : f32
  %e = math.exp %negx : f32
  %den = arith.addf %one, %e : f32
  %y = arith.divf %one, %den : f32
  func.return %y : f32
}
