// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.prefix_sum
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.prefix_sum %{{.*}} : tensor<?x4xf32>
func.func @prefix_sum(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %a = moe.prefix_sum %x : tensor<?x4xf32>
  return %a : tensor<?x4xf32>
}

// VALUE-LABEL: @prefix_sum_values
// VALUE-NEXT: 0: tensor<1x4> {{\[\[}}0, 1, 3, nan{{\]\]}}
func.func @prefix_sum_values(%x: tensor<?x4xf32> {moe.value = dense<[[1.0, 2.0, 0x7FC00000, 4.0]]> : tensor<1x4xf32>}) -> tensor<?x4xf32> {
  %a = moe.prefix_sum %x : tensor<?x4xf32>
  return %a : tensor<?x4xf32>
}
