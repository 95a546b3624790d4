// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// tanh'(x) = 1 - tanh(x)^2
func.func @tanh_derivative(%x: f32) -> f32 {
  %one = arith.constant 1.0 : f32
  %t = math.tanh %x : f32
  %q = arith.mulf %t, %t : f32
  %y = arith.subf %one, %q : f32
  func.return %y : f32
}
