// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.token_reduce
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.token_reduce sum %{{.*}} over batch : tensor<?x3xf32>
// CHECK: moe.token_reduce max %{{.*}} over sequence : tensor<?x3xf32>
func.func @token_reduce(%x: tensor<?x3xf32>) -> (tensor<?x3xf32>, tensor<?x3xf32>) {
  %a = moe.token_reduce sum %x over batch : tensor<?x3xf32>
  %b = moe.token_reduce max %x over sequence : tensor<?x3xf32>
  return %a, %b : tensor<?x3xf32>, tensor<?x3xf32>
}

// VALUE-LABEL: @token_reduce_values
// VALUE-NEXT: 0: tensor<4x2> {{\[\[}}15, nan], [15, nan], [15, nan], [15, nan{{\]\]}}
// VALUE-NEXT: 1: tensor<4x2> {{\[\[}}2, 5], [2, 5], [8, nan], [8, nan{{\]\]}}
func.func @token_reduce_values(%x: tensor<?x2xf32> {moe.value = dense<[[1.0, 0x7FC00000], [2.0, 5.0], [4.0, 0x7FC00000], [8.0, 0x7FC00000]]> : tensor<4x2xf32>}) -> (tensor<?x2xf32>, tensor<?x2xf32>) attributes {moe.sequence = 2 : i64} {
  %a = moe.token_reduce sum %x over batch : tensor<?x2xf32>
  %b = moe.token_reduce max %x over sequence : tensor<?x2xf32>
  return %a, %b : tensor<?x2xf32>, tensor<?x2xf32>
}
