// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// gelu_tanh'(x) = (1 + t) / 2 + x / 2 (1 - t^2) c (1 + 3 a x^2)
// t = tanh(c (x + a x^3)),   c = sqrt(2 / pi),   a = 0.044715
//
// NOTE: the bounds keep inf * 0 = NaN out; beyond them 1 - t^2 is 0.
func.func @gelu_tanh_derivative(%x: f32) -> f32 {
  %low = arith.constant -16.0 : f32
  %high = arith.constant 16.0 : f32
  %half = arith.constant 0.5 : f32
  %one = arith.constant 1.0 : f32
  %bounded = arith.maximumf %x, %low : f32
  %v = arith.minimumf %bounded, %high : f32
  %c = arith.constant 0.79788456080286536 : f32
  %a = arith.constant 0.044715 : f32
  %a3 = arith.constant 0.134145 : f32
  %vv = arith.mulf %v, %v : f32
  %av = arith.mulf %a, %vv : f32
  %onea = arith.addf %one, %av : f32
  %va = arith.mulf %v, %onea : f32
  %u = arith.mulf %c, %va : f32
  %t = math.tanh %u : f32
  %s = arith.addf %one, %t : f32
  %first = arith.mulf %half, %s : f32
  %tt = arith.mulf %t, %t : f32
  %q = arith.subf %one, %tt : f32
  %av3 = arith.mulf %a3, %vv : f32
  %onea3 = arith.addf %one, %av3 : f32
  %du = arith.mulf %c, %onea3 : f32
  %qdu = arith.mulf %q, %du : f32
  %hv = arith.mulf %half, %v : f32
  %second = arith.mulf %hv, %qdu : f32
  %y = arith.addf %first, %second : f32
  func.return %y : f32
}
