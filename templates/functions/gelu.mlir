// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// gelu(x) = x/2 * (1 + erf(x / sqrt(2)))
//
// NOTE: the lower bound keeps -inf * 0 = NaN out; below it 1 + erf is 0 even in f64.
func.func @gelu(%x: f32) -> f32 {
  %low = arith.constant -16.0 : f32
  %half = arith.constant 0.5 : f32
  %one = arith.constant 1.0 : f32
  %rsqrt2 = arith.constant 0.70710678118654752 : f32
  %v = arith.maximumf %x, %low : f32
  %u = arith.mulf %v, %rsqrt2 : f32
  %e = math.erf %u : f32
  %s = arith.addf %one, %e : f32
  %h = arith.mulf %v, %half : f32
  %y = arith.mulf %h, %s : f32
  func.return %y : f32
}
