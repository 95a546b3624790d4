// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.lookup
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK: moe.lookup %{{.*}} at %{{.*}} : tensor<9x4xf32>, tensor<?xi32> -> tensor<?x4xf32>
func.func @lookup(%p: tensor<9x4xf32>, %i: tensor<?xi32>) -> tensor<?x4xf32> {
  %a = moe.lookup %p at %i : tensor<9x4xf32>, tensor<?xi32> -> tensor<?x4xf32>
  return %a : tensor<?x4xf32>
}
