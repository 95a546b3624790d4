// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.reduce: rows and segments.
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK-LABEL: @reduce
// CHECK: moe.reduce sum %{{.*}} : tensor<?x8xf32> -> tensor<?xf32>
// CHECK: moe.reduce max %{{.*}} segments 4 : tensor<?x8xf32> -> tensor<?x4xf32>
func.func @reduce(%x: tensor<?x8xf32>) -> (tensor<?xf32>, tensor<?x4xf32>) {
  %a = moe.reduce sum %x : tensor<?x8xf32> -> tensor<?xf32>
  %b = moe.reduce max %x segments 4 : tensor<?x8xf32> -> tensor<?x4xf32>
  return %a, %b : tensor<?xf32>, tensor<?x4xf32>
}

// VALUE-LABEL: @reduce_values
// VALUE-NEXT: 0: tensor<2> [8, nan]
// VALUE-NEXT: 1: tensor<2x2> {{\[\[}}2, 3], [nan, 1{{\]\]}}
func.func @reduce_values(%x: tensor<?x4xf32> {moe.value = dense<[[1.0, 2.0, 3.0, 2.0], [0x7FC00000, 0x7FC00000, 0.0, 1.0]]> : tensor<2x4xf32>}) -> (tensor<?xf32>, tensor<?x2xf32>) {
  %a = moe.reduce sum %x : tensor<?x4xf32> -> tensor<?xf32>
  %b = moe.reduce max %x segments 2 : tensor<?x4xf32> -> tensor<?x2xf32>
  return %a, %b : tensor<?xf32>, tensor<?x2xf32>
}
