// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// relu2(x) = max(x, 0)^2
func.func @relu2(%x: f32) -> f32 {
  %zero = arith.constant 0.0 : f32
  %r = arith.maximumf %x, %zero : f32
  %y = arith.mulf %r, %r : f32
  func.return %y : f32
}
