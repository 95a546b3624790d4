// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.token_reduce
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK: moe.token_reduce sum %{{.*}} over batch : tensor<?x3xf32>
// CHECK: moe.token_reduce max %{{.*}} over sequence : tensor<?x3xf32>
func.func @token_reduce(%x: tensor<?x3xf32>) -> (tensor<?x3xf32>, tensor<?x3xf32>) {
  %a = moe.token_reduce sum %x over batch : tensor<?x3xf32>
  %b = moe.token_reduce max %x over sequence : tensor<?x3xf32>
  return %a, %b : tensor<?x3xf32>, tensor<?x3xf32>
}
