// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.take: from rows and from one vector.
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK: moe.take %{{.*}} at %{{.*}} : tensor<?x8xf32>, tensor<?x2xi32> -> tensor<?x2xf32>
// CHECK: moe.take %{{.*}} at %{{.*}} : tensor<8xf32>, tensor<?x2xi32> -> tensor<?x2xf32>
func.func @take(%x: tensor<?x8xf32>, %v: tensor<8xf32>, %i: tensor<?x2xi32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  %a = moe.take %x at %i : tensor<?x8xf32>, tensor<?x2xi32> -> tensor<?x2xf32>
  %b = moe.take %v at %i : tensor<8xf32>, tensor<?x2xi32> -> tensor<?x2xf32>
  return %a, %b : tensor<?x2xf32>, tensor<?x2xf32>
}
