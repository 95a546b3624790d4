// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.reduce: rows and segments.
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK-LABEL: @reduce
// CHECK: moe.reduce sum %{{.*}} : tensor<?x8xf32> -> tensor<?xf32>
// CHECK: moe.reduce max %{{.*}} segments 4 : tensor<?x8xf32> -> tensor<?x4xf32>
func.func @reduce(%x: tensor<?x8xf32>) -> (tensor<?xf32>, tensor<?x4xf32>) {
  %a = moe.reduce sum %x : tensor<?x8xf32> -> tensor<?xf32>
  %b = moe.reduce max %x segments 4 : tensor<?x8xf32> -> tensor<?x4xf32>
  return %a, %b : tensor<?xf32>, tensor<?x4xf32>
}
