// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.prefix_sum
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK: moe.prefix_sum %{{.*}} : tensor<?x4xf32>
func.func @prefix_sum(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %a = moe.prefix_sum %x : tensor<?x4xf32>
  return %a : tensor<?x4xf32>
}
