// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.put
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK: moe.put %{{.*}} at %{{.*}} : tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x8xf32>
func.func @put(%v: tensor<?x2xf32>, %i: tensor<?x2xi32>) -> tensor<?x8xf32> {
  %a = moe.put %v at %i : tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}
