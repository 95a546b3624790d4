// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// identity'(x) = 1
func.func @identity_derivative(%x: f32) -> f32 {
  %one = arith.constant 1.0 : f32
  func.return %one : f32
}
