// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.token_total
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK: moe.token_total sum %{{.*}} : tensor<?x3xi32> -> tensor<3xi32>
// CHECK: moe.token_total max %{{.*}} : tensor<?x2xf32> -> tensor<2xf32>
// CHECK: moe.token_total mean %{{.*}} : tensor<?x2xf32> -> tensor<2xf32>
func.func @token_total(%i: tensor<?x3xi32>, %x: tensor<?x2xf32>) -> (tensor<3xi32>, tensor<2xf32>, tensor<2xf32>) {
  %a = moe.token_total sum %i : tensor<?x3xi32> -> tensor<3xi32>
  %b = moe.token_total max %x : tensor<?x2xf32> -> tensor<2xf32>
  %c = moe.token_total mean %x : tensor<?x2xf32> -> tensor<2xf32>
  return %a, %b, %c : tensor<3xi32>, tensor<2xf32>, tensor<2xf32>
}
