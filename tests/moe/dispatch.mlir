// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.dispatch and !moe.route
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.dispatch %{{.*}} : tensor<?x2xi32> -> !moe.route<4 groups, 2 choices>
func.func @dispatch(%i: tensor<?x2xi32>) -> !moe.route<4 groups, 2 choices> {
  %r = moe.dispatch %i : tensor<?x2xi32> -> !moe.route<4 groups, 2 choices>
  return %r : !moe.route<4 groups, 2 choices>
}

// VALUE-LABEL: @dispatch_empty_groups_and_no_ids
// VALUE-NEXT: 0: route offsets [0, 2, 2, 4, 4] tokens [0, 2, 0, 1] choices [1, 0, 0, 1] rows [2, 0, -1, 3, 1, -1]
func.func @dispatch_empty_groups_and_no_ids(%i: tensor<?x2xi32> {moe.value = dense<[[2, 0], [-1, 2], [0, 5]]> : tensor<3x2xi32>}) -> !moe.route<4 groups, 2 choices> {
  %r = moe.dispatch %i : tensor<?x2xi32> -> !moe.route<4 groups, 2 choices>
  return %r : !moe.route<4 groups, 2 choices>
}
