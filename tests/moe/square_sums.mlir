// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.square_sums
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.square_sums %{{.*}} : tensor<4x8xbf16> -> tensor<4xf32>
func.func @square_sums(%w: tensor<4x8xbf16>) -> tensor<4xf32> {
  %a = moe.square_sums %w : tensor<4x8xbf16> -> tensor<4xf32>
  return %a : tensor<4xf32>
}

// VALUE-LABEL: @square_sums_values
// VALUE-NEXT: 0: tensor<2> [5, 25]
func.func @square_sums_values(%w: tensor<2x2xbf16> {moe.value = dense<[[1.0, 2.0], [3.0, -4.0]]> : tensor<2x2xbf16>}) -> tensor<2xf32> attributes {moe.tokens = 0 : i64} {
  %a = moe.square_sums %w : tensor<2x2xbf16> -> tensor<2xf32>
  return %a : tensor<2xf32>
}
