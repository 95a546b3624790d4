// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// relu2'(x) = 2 max(x, 0)
func.func @relu2_derivative(%x: f32) -> f32 {
  %zero = arith.constant 0.0 : f32
  %two = arith.constant 2.0 : f32
  %r = arith.maximumf %x, %zero : f32
  %y = arith.mulf %two, %r : f32
  func.return %y : f32
}
