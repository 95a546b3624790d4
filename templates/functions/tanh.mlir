// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// tanh(x) = (exp(x) - exp(-x)) / (exp(x) + exp(-x))
func.func @tanh(%x: f32) -> f32 {
  %y = math.tanh %x : f32
  func.return %y : f32
}
