// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.top_k: of a row and of segments.
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.top_k 3 of %{{.*}} : tensor<?x8xf32> -> tensor<?x3xi32>
// CHECK: moe.top_k 2 of %{{.*}} segments 4 : tensor<?x8xf32> -> tensor<?x8xi32>
func.func @top_k(%x: tensor<?x8xf32>) -> (tensor<?x3xi32>, tensor<?x8xi32>) {
  %a = moe.top_k 3 of %x : tensor<?x8xf32> -> tensor<?x3xi32>
  %b = moe.top_k 2 of %x segments 4 : tensor<?x8xf32> -> tensor<?x8xi32>
  return %a, %b : tensor<?x3xi32>, tensor<?x8xi32>
}

// VALUE-LABEL: @top_k_ties_and_nan
// VALUE-NEXT: 0: tensor<4x2> {{\[\[}}1, 2], [1, 2], [0, 1], [0, 1{{\]\]}}
func.func @top_k_ties_and_nan(%x: tensor<?x3xf32> {moe.value = dense<[[1.0, 3.0, 3.0], [0x7FC00000, 2.0, 0xFF800000], [0x7FC00000, 0x7FC00000, 0x7FC00000], [-0.0, 0.0, -1.0]]> : tensor<4x3xf32>}) -> tensor<?x2xi32> {
  %a = moe.top_k 2 of %x : tensor<?x3xf32> -> tensor<?x2xi32>
  return %a : tensor<?x2xi32>
}

// VALUE-LABEL: @top_k_segments
// VALUE-NEXT: 0: tensor<1x2> {{\[\[}}1, 2{{\]\]}}
func.func @top_k_segments(%x: tensor<?x4xf32> {moe.value = dense<[[1.0, 2.0, 4.0, 3.0]]> : tensor<1x4xf32>}) -> tensor<?x2xi32> {
  %a = moe.top_k 1 of %x segments 2 : tensor<?x4xf32> -> tensor<?x2xi32>
  return %a : tensor<?x2xi32>
}
