// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.grouped_outer: over the rows of every group, and of all tokens.
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.grouped_outer %{{.*}}, %{{.*}} over %{{.*}} : !moe.route<4 groups, 2 choices>, tensor<?x3xbf16>, tensor<?x8xbf16> -> tensor<4x3x8xf32>
// CHECK: moe.grouped_outer %{{.*}}, %{{.*}} : tensor<?x3xbf16>, tensor<?x8xbf16> -> tensor<3x8xf32>
func.func @grouped_outer(%a: tensor<?x3xbf16>, %b: tensor<?x8xbf16>, %r: !moe.route<4 groups, 2 choices>)
    -> (tensor<4x3x8xf32>, tensor<3x8xf32>) {
  %0 = moe.grouped_outer %a, %b over %r : !moe.route<4 groups, 2 choices>, tensor<?x3xbf16>, tensor<?x8xbf16> -> tensor<4x3x8xf32>
  %1 = moe.grouped_outer %a, %b : tensor<?x3xbf16>, tensor<?x8xbf16> -> tensor<3x8xf32>
  return %0, %1 : tensor<4x3x8xf32>, tensor<3x8xf32>
}

// Group 0 has no row, group 1 the tokens 0 and 2, group 2 token 1.
// VALUE-LABEL: @grouped_outer_values
// VALUE-NEXT: 0: tensor<3x1x2> {{\[\[}}[0, 0]], {{\[}}[8, 13]], {{\[}}[4, 8]{{\]\]}}
// VALUE-NEXT: 1: tensor<1x2> {{\[\[}}12, 21{{\]\]}}
func.func @grouped_outer_values(%i: tensor<?x1xi32> {moe.value = dense<[[1], [2], [1]]> : tensor<3x1xi32>},
    %a: tensor<?x1xf32> {moe.value = dense<[[2.0], [4.0], [3.0]]> : tensor<3x1xf32>},
    %b: tensor<?x2xf32> {moe.value = dense<[[1.0, 2.0], [1.0, 2.0], [2.0, 3.0]]> : tensor<3x2xf32>})
    -> (tensor<3x1x2xf32>, tensor<1x2xf32>) {
  %r = moe.dispatch %i : tensor<?x1xi32> -> !moe.route<3 groups, 1 choices>
  %ra = moe.gather %a, %r : tensor<?x1xf32>, !moe.route<3 groups, 1 choices> -> tensor<?x1xf32>
  %rb = moe.gather %b, %r : tensor<?x2xf32>, !moe.route<3 groups, 1 choices> -> tensor<?x2xf32>
  %0 = moe.grouped_outer %ra, %rb over %r : !moe.route<3 groups, 1 choices>, tensor<?x1xf32>, tensor<?x2xf32> -> tensor<3x1x2xf32>
  %1 = moe.grouped_outer %a, %b : tensor<?x1xf32>, tensor<?x2xf32> -> tensor<1x2xf32>
  return %0, %1 : tensor<3x1x2xf32>, tensor<1x2xf32>
}
