// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.top_k: of a row and of segments.
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK: moe.top_k 3 of %{{.*}} : tensor<?x8xf32> -> tensor<?x3xi32>
// CHECK: moe.top_k 2 of %{{.*}} segments 4 : tensor<?x8xf32> -> tensor<?x8xi32>
func.func @top_k(%x: tensor<?x8xf32>) -> (tensor<?x3xi32>, tensor<?x8xi32>) {
  %a = moe.top_k 3 of %x : tensor<?x8xf32> -> tensor<?x3xi32>
  %b = moe.top_k 2 of %x segments 4 : tensor<?x8xf32> -> tensor<?x8xi32>
  return %a, %b : tensor<?x3xi32>, tensor<?x8xi32>
}
