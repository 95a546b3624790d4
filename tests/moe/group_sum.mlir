// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.group_sum: per group, and over all rows.
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.group_sum %{{.*}} over %{{.*}} : tensor<?x2xf32>, !moe.route<3 groups, 1 choices> -> tensor<3x2xf32>
// CHECK: moe.group_sum %{{.*}} over %{{.*}} : tensor<?x2xf32>, !moe.route<3 groups, 1 choices> -> tensor<2xf32>
// VALUE-LABEL: @group_sum
// VALUE-NEXT: 0: tensor<3x2> {{\[\[}}0, 0], [3, 5], [1, 2{{\]\]}}
// VALUE-NEXT: 1: tensor<2> [4, 7]
func.func @group_sum(%i: tensor<?x1xi32> {moe.value = dense<[[1], [2], [1], [-1]]> : tensor<4x1xi32>},
    %x: tensor<?x2xf32> {moe.value = dense<[[1.0, 2.0], [1.0, 2.0], [2.0, 3.0], [9.0, 9.0]]> : tensor<4x2xf32>})
    -> (tensor<3x2xf32>, tensor<2xf32>) {
  %r = moe.dispatch %i : tensor<?x1xi32> -> !moe.route<3 groups, 1 choices>
  %rows = moe.gather %x, %r : tensor<?x2xf32>, !moe.route<3 groups, 1 choices> -> tensor<?x2xf32>
  %0 = moe.group_sum %rows over %r : tensor<?x2xf32>, !moe.route<3 groups, 1 choices> -> tensor<3x2xf32>
  %1 = moe.group_sum %rows over %r : tensor<?x2xf32>, !moe.route<3 groups, 1 choices> -> tensor<2xf32>
  return %0, %1 : tensor<3x2xf32>, tensor<2xf32>
}
