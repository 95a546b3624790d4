// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.capacity: dropping, and by rank with keys.
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.capacity %{{.*}} {groups = 4 : i64, mode = 0 : i32
// CHECK: moe.capacity %{{.*}} keys %{{.*}} ranked %{{.*}} present %{{.*}} places %{{.*}}
func.func @capacity(%i: tensor<?x2xi32>, %k: tensor<?x1xf32>, %r: tensor<?x5xf32>, %p: tensor<?x1xi32>, %c: tensor<1xi32>) -> (tensor<?x2xi32>, tensor<?x2xi32>) {
  %a = moe.capacity %i {groups = 4 : i64, mode = 0 : i32, value = 3.0 : f64, round = 1 : i32, scope = 0 : i32} : (tensor<?x2xi32>) -> tensor<?x2xi32>
  %b:2 = moe.capacity %i keys %k ranked %r present %p places %c {groups = 4 : i64, mode = 2 : i32, round = 1 : i32, scope = 1 : i32, token_major} : (tensor<?x2xi32>, tensor<?x1xf32>, tensor<?x5xf32>, tensor<?x1xi32>, tensor<1xi32>) -> (tensor<?x2xi32>, tensor<?x2xi32>)
  return %a, %b#0 : tensor<?x2xi32>, tensor<?x2xi32>
}

// VALUE-LABEL: @capacity_drops
// VALUE-NEXT: 0: tensor<4x2> {{\[\[}}0, 1], [0, 1], [-1, 2], [-1, -1{{\]\]}}
func.func @capacity_drops(%i: tensor<?x2xi32> {moe.value = dense<[[0, 1], [0, 1], [0, 2], [-1, 0]]> : tensor<4x2xi32>}) -> tensor<?x2xi32> {
  %a = moe.capacity %i {groups = 3 : i64, mode = 0 : i32, value = 2.0 : f64, round = 1 : i32, scope = 0 : i32} : (tensor<?x2xi32>) -> tensor<?x2xi32>
  return %a : tensor<?x2xi32>
}

// VALUE-LABEL: @capacity_keys_nan_last
// VALUE-NEXT: 0: tensor<3x1> {{\[\[}}0], [-1], [0{{\]\]}}
func.func @capacity_keys_nan_last(%i: tensor<?x1xi32> {moe.value = dense<[[0], [0], [0]]> : tensor<3x1xi32>},
    %k: tensor<?x1xf32> {moe.value = dense<[[1.0], [0x7FC00000], [1.0]]> : tensor<3x1xf32>}) -> tensor<?x1xi32> {
  %a:2 = moe.capacity %i keys %k {groups = 1 : i64, mode = 0 : i32, value = 2.0 : f64, round = 1 : i32, scope = 0 : i32} : (tensor<?x1xi32>, tensor<?x1xf32>) -> (tensor<?x1xi32>, tensor<?x1xi32>)
  return %a#0 : tensor<?x1xi32>
}

// VALUE-LABEL: @capacity_next_best
// VALUE-NEXT: 0: tensor<3x1> {{\[\[}}0], [1], [-1{{\]\]}}
func.func @capacity_next_best(%i: tensor<?x1xi32> {moe.value = dense<[[0], [0], [0]]> : tensor<3x1xi32>},
    %r: tensor<?x2xf32> {moe.value = dense<[[5.0, 1.0], [5.0, 1.0], [5.0, 1.0]]> : tensor<3x2xf32>}) -> tensor<?x1xi32> {
  %a = moe.capacity %i ranked %r {groups = 2 : i64, mode = 0 : i32, value = 1.0 : f64, round = 1 : i32, scope = 0 : i32} : (tensor<?x1xi32>, tensor<?x2xf32>) -> tensor<?x1xi32>
  return %a : tensor<?x1xi32>
}

// VALUE-LABEL: @capacity_of_sequences
// VALUE-NEXT: 0: tensor<4x1> {{\[\[}}0], [-1], [0], [-1{{\]\]}}
func.func @capacity_of_sequences(%i: tensor<?x1xi32> {moe.value = dense<[[0], [0], [0], [0]]> : tensor<4x1xi32>},
    %c: tensor<1xi32> {moe.value = dense<[1]> : tensor<1xi32>}) -> tensor<?x1xi32> attributes {moe.sequence = 2 : i64} {
  %a = moe.capacity %i places %c {groups = 1 : i64, mode = 2 : i32, round = 0 : i32, scope = 1 : i32} : (tensor<?x1xi32>, tensor<1xi32>) -> tensor<?x1xi32>
  return %a : tensor<?x1xi32>
}
