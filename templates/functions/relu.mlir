// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// relu(x) = max(x, 0)
func.func @relu(%x: f32) -> f32 {
  %zero = arith.constant 0.0 : f32
  %y = arith.maximumf %x, %zero : f32
  func.return %y : f32
}
