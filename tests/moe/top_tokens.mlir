// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.top_tokens
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK: moe.top_tokens %{{.*}} {
// CHECK: moe.top_tokens %{{.*}} present %{{.*}} {
func.func @top_tokens(%x: tensor<?x3xf32>, %p: tensor<?x1xi32>) -> (tensor<?x3xi32>, tensor<?x3xi32>) {
  %a = moe.top_tokens %x {mode = 0 : i32, value = 3.0 : f64, round = 0 : i32, scope = 0 : i32} : (tensor<?x3xf32>) -> tensor<?x3xi32>
  %b = moe.top_tokens %x present %p {mode = 1 : i32, value = 1.5 : f64, over = 3 : i64, round = 2 : i32, least = 1 : i64, scope = 1 : i32} : (tensor<?x3xf32>, tensor<?x1xi32>) -> tensor<?x3xi32>
  return %a, %b : tensor<?x3xi32>, tensor<?x3xi32>
}
