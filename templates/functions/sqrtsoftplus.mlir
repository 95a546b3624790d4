// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// sqrtsoftplus(x) = sqrt(max(x, 0) + log1p(exp(-|x|)))
//
// The exponent is never positive, so nothing overflows.
func.func @sqrtsoftplus(%x: f32) -> f32 {
  %zero = arith.constant 0.0 : f32
  %r = arith.maximumf %x, %zero : f32
  %a = math.absf %x : f32
  %nega = arith.negf %a : f32
  %e = math.exp %nega : f32
  %l = math.log1p %e : f32
  %s = arith.addf %r, %l : f32
  %y = math.sqrt %s : f32
  func.return %y : f32
}
