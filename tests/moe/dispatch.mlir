// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.dispatch and !moe.route
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK: moe.dispatch %{{.*}} : tensor<?x2xi32> -> !moe.route<4 groups, 2 choices>
func.func @dispatch(%i: tensor<?x2xi32>) -> !moe.route<4 groups, 2 choices> {
  %r = moe.dispatch %i : tensor<?x2xi32> -> !moe.route<4 groups, 2 choices>
  return %r : !moe.route<4 groups, 2 choices>
}
