// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.top_tokens
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.top_tokens %{{.*}} {
// CHECK: moe.top_tokens %{{.*}} present %{{.*}} {
func.func @top_tokens(%x: tensor<?x3xf32>, %p: tensor<?x1xi32>) -> (tensor<?x3xi32>, tensor<?x3xi32>) {
  %a = moe.top_tokens %x {mode = 0 : i32, value = 3.0 : f64, round = 0 : i32, scope = 0 : i32} : (tensor<?x3xf32>) -> tensor<?x3xi32>
  %b = moe.top_tokens %x present %p {mode = 1 : i32, value = 1.5 : f64, over = 3 : i64, round = 2 : i32, least = 1 : i64, scope = 1 : i32} : (tensor<?x3xf32>, tensor<?x1xi32>) -> tensor<?x3xi32>
  return %a, %b : tensor<?x3xi32>, tensor<?x3xi32>
}

// VALUE-LABEL: @top_tokens_values
// VALUE-NEXT: 0: tensor<4x2> {{\[\[}}0, 0], [1, 1], [1, 0], [0, 1{{\]\]}}
// VALUE-NEXT: 1: tensor<4x2> {{\[\[}}1, 1], [0, 0], [1, 0], [0, 1{{\]\]}}
func.func @top_tokens_values(%x: tensor<?x2xf32> {moe.value = dense<[[1.0, 0x7FC00000], [3.0, 2.0], [3.0, 0x7FC00000], [0.0, 1.0]]> : tensor<4x2xf32>},
    %p: tensor<?x1xi32> {moe.value = dense<[[1], [0], [1], [1]]> : tensor<4x1xi32>}) -> (tensor<?x2xi32>, tensor<?x2xi32>) {
  %a = moe.top_tokens %x {mode = 0 : i32, value = 2.0 : f64, round = 0 : i32, scope = 0 : i32} : (tensor<?x2xf32>) -> tensor<?x2xi32>
  %b = moe.top_tokens %x present %p {mode = 1 : i32, value = 0.5 : f64, round = 2 : i32, scope = 0 : i32} : (tensor<?x2xf32>, tensor<?x1xi32>) -> tensor<?x2xi32>
  return %a, %b : tensor<?x2xi32>, tensor<?x2xi32>
}
