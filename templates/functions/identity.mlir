// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// identity(x) = x
func.func @identity(%x: f32) -> f32 {
  func.return %x : f32
}
