// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.capacity: dropping, and by rank with keys.
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK: moe.capacity %{{.*}} {groups = 4 : i64, mode = 0 : i32
// CHECK: moe.capacity %{{.*}} keys %{{.*}} ranked %{{.*}} present %{{.*}} places %{{.*}}
func.func @capacity(%i: tensor<?x2xi32>, %k: tensor<?x1xf32>, %r: tensor<?x5xf32>, %p: tensor<?x1xi32>, %c: tensor<1xi32>) -> (tensor<?x2xi32>, tensor<?x2xi32>) {
  %a = moe.capacity %i {groups = 4 : i64, mode = 0 : i32, value = 3.0 : f64, round = 1 : i32, scope = 0 : i32} : (tensor<?x2xi32>) -> tensor<?x2xi32>
  %b:2 = moe.capacity %i keys %k ranked %r present %p places %c {groups = 4 : i64, mode = 2 : i32, round = 1 : i32, scope = 1 : i32, token_major} : (tensor<?x2xi32>, tensor<?x1xf32>, tensor<?x5xf32>, tensor<?x1xi32>, tensor<1xi32>) -> (tensor<?x2xi32>, tensor<?x2xi32>)
  return %a, %b#0 : tensor<?x2xi32>, tensor<?x2xi32>
}
