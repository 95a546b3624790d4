// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.square_sums
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK: moe.square_sums %{{.*}} : tensor<4x8xbf16> -> tensor<4xf32>
func.func @square_sums(%w: tensor<4x8xbf16>) -> tensor<4xf32> {
  %a = moe.square_sums %w : tensor<4x8xbf16> -> tensor<4xf32>
  return %a : tensor<4xf32>
}
