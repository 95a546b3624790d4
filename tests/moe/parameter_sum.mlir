// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.parameter_sum and moe.scaled_rows.
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.scaled_rows 2.000000e+00 %{{.*}} by %{{.*}} : tensor<2x2xf32>, tensor<2xf32> -> tensor<2x2xf32>
// CHECK: moe.parameter_sum %{{.*}}, %{{.*}} : tensor<2x2xf32>
// VALUE-LABEL: @sums
// VALUE-NEXT: 0: tensor<2x2> {{\[\[}}7, 14], [33, 44{{\]\]}}
func.func @sums(%w: tensor<2x2xf32> {moe.value = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>},
    %v: tensor<2xf32> {moe.value = dense<[3.0, 5.0]> : tensor<2xf32>}) -> tensor<2x2xf32> attributes {moe.tokens = 0 : i64} {
  %0 = moe.scaled_rows 2.0 %w by %v : tensor<2x2xf32>, tensor<2xf32> -> tensor<2x2xf32>
  %1 = moe.parameter_sum %0, %w : tensor<2x2xf32>
  return %1 : tensor<2x2xf32>
}
