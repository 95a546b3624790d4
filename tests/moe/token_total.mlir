// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.token_total
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.token_total sum %{{.*}} : tensor<?x3xi32> -> tensor<3xi32>
// CHECK: moe.token_total max %{{.*}} : tensor<?x2xf32> -> tensor<2xf32>
// CHECK: moe.token_total mean %{{.*}} : tensor<?x2xf32> -> tensor<2xf32>
func.func @token_total(%i: tensor<?x3xi32>, %x: tensor<?x2xf32>) -> (tensor<3xi32>, tensor<2xf32>, tensor<2xf32>) {
  %a = moe.token_total sum %i : tensor<?x3xi32> -> tensor<3xi32>
  %b = moe.token_total max %x : tensor<?x2xf32> -> tensor<2xf32>
  %c = moe.token_total mean %x : tensor<?x2xf32> -> tensor<2xf32>
  return %a, %b, %c : tensor<3xi32>, tensor<2xf32>, tensor<2xf32>
}

// VALUE-LABEL: @token_total_values
// VALUE-NEXT: 0: tensor<2> [4, -2]
// VALUE-NEXT: 1: tensor<2> [3, 7]
// VALUE-NEXT: 2: tensor<2> [2, nan]
func.func @token_total_values(%i: tensor<?x2xi32> {moe.value = dense<[[1, 2], [3, -4], [0, 0]]> : tensor<3x2xi32>},
    %x: tensor<?x2xf32> {moe.value = dense<[[1.0, 0x7FC00000], [3.0, 0x7FC00000], [2.0, 7.0]]> : tensor<3x2xf32>}) -> (tensor<2xi32>, tensor<2xf32>, tensor<2xf32>) {
  %a = moe.token_total sum %i : tensor<?x2xi32> -> tensor<2xi32>
  %b = moe.token_total max %x : tensor<?x2xf32> -> tensor<2xf32>
  %c = moe.token_total mean %x : tensor<?x2xf32> -> tensor<2xf32>
  return %a, %b, %c : tensor<2xi32>, tensor<2xf32>, tensor<2xf32>
}
