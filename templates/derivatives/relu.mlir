// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// relu'(x) = 1 where x > 0, else 0
func.func @relu_derivative(%x: f32) -> f32 {
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %c = arith.cmpf ogt, %x, %zero : f32
  %y = arith.select %c, %one, %zero : f32
  func.return %y : f32
}
