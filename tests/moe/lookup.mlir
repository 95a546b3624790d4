// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.lookup
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.lookup %{{.*}} at %{{.*}} : tensor<9x4xf32>, tensor<?xi32> -> tensor<?x4xf32>
func.func @lookup(%p: tensor<9x4xf32>, %i: tensor<?xi32>) -> tensor<?x4xf32> {
  %a = moe.lookup %p at %i : tensor<9x4xf32>, tensor<?xi32> -> tensor<?x4xf32>
  return %a : tensor<?x4xf32>
}

// VALUE-LABEL: @lookup_outside_is_minus_one
// VALUE-NEXT: 0: tensor<3x2> {{\[\[}}3, 4], [-1, -1], [-1, -1{{\]\]}}
func.func @lookup_outside_is_minus_one(%p: tensor<2x2xf32> {moe.value = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>},
    %i: tensor<?xi32> {moe.value = dense<[1, -1, 2]> : tensor<3xi32>}) -> tensor<?x2xf32> {
  %a = moe.lookup %p at %i : tensor<2x2xf32>, tensor<?xi32> -> tensor<?x2xf32>
  return %a : tensor<?x2xf32>
}
