// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// gelu_tanh(x) = x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))
//
// NOTE: the lower bound keeps -inf * 0 = NaN out; below it 1 + tanh is 0 even in f64.
func.func @gelu_tanh(%x: f32) -> f32 {
  %low = arith.constant -16.0 : f32
  %half = arith.constant 0.5 : f32
  %one = arith.constant 1.0 : f32
  %cubic = arith.constant 0.044715 : f32
  %scale = arith.constant 0.79788456080286536 : f32
  %v = arith.maximumf %x, %low : f32
  %v2 = arith.mulf %v, %v : f32
  %v3 = arith.mulf %v2, %v : f32
  %c = arith.mulf %v3, %cubic : f32
  %u = arith.addf %v, %c : f32
  %w = arith.mulf %u, %scale : f32
  %t = math.tanh %w : f32
  %s = arith.addf %one, %t : f32
  %h = arith.mulf %v, %half : f32
  %y = arith.mulf %h, %s : f32
  func.return %y : f32
}
