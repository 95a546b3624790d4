// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.gather: rows, one value per token, one value per slot, columns of a slot.
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.gather %{{.*}}, %{{.*}} : tensor<?x8xbf16>, !moe.route<4 groups, 2 choices> -> tensor<?x8xbf16>
// CHECK: moe.gather %{{.*}}, %{{.*}} : tensor<?xf32>, !moe.route<4 groups, 2 choices> -> tensor<?xf32>
// CHECK: moe.gather %{{.*}}, %{{.*}} : tensor<?x2xf32>, !moe.route<4 groups, 2 choices> -> tensor<?xf32>
// CHECK: moe.gather %{{.*}}, %{{.*}} : tensor<?x8xbf16>, !moe.route<4 groups, 2 choices> -> tensor<?x4xbf16>
func.func @gather(%x: tensor<?x8xbf16>, %v: tensor<?xf32>, %w: tensor<?x2xf32>, %r: !moe.route<4 groups, 2 choices>)
    -> (tensor<?x8xbf16>, tensor<?xf32>, tensor<?xf32>) {
  %a = moe.gather %x, %r : tensor<?x8xbf16>, !moe.route<4 groups, 2 choices> -> tensor<?x8xbf16>
  %b = moe.gather %v, %r : tensor<?xf32>, !moe.route<4 groups, 2 choices> -> tensor<?xf32>
  %c = moe.gather %w, %r : tensor<?x2xf32>, !moe.route<4 groups, 2 choices> -> tensor<?xf32>
  %d = moe.gather %x, %r : tensor<?x8xbf16>, !moe.route<4 groups, 2 choices> -> tensor<?x4xbf16>
  %e = moe.gather %x, %r : tensor<?x8xbf16>, !moe.route<4 groups, 2 choices> -> tensor<?x1xbf16>
  return %a, %b, %c : tensor<?x8xbf16>, tensor<?xf32>, tensor<?xf32>
}

// VALUE-LABEL: @gather_values
// VALUE-NEXT: 0: tensor<2x2> {{\[\[}}3, 4], [1, 2{{\]\]}}
// VALUE-NEXT: 1: tensor<2> [8, 7]
// VALUE-NEXT: 2: tensor<2> [20, 10]
func.func @gather_values(%i: tensor<?x1xi32> {moe.value = dense<[[1], [0], [-1]]> : tensor<3x1xi32>},
    %x: tensor<?x2xf32> {moe.value = dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>},
    %w: tensor<?x1xf32> {moe.value = dense<[[7.0], [8.0], [9.0]]> : tensor<3x1xf32>},
    %v: tensor<?xf32> {moe.value = dense<[10.0, 20.0, 30.0]> : tensor<3xf32>}) -> (tensor<?x2xf32>, tensor<?xf32>, tensor<?xf32>) {
  %r = moe.dispatch %i : tensor<?x1xi32> -> !moe.route<2 groups, 1 choices>
  %a = moe.gather %x, %r : tensor<?x2xf32>, !moe.route<2 groups, 1 choices> -> tensor<?x2xf32>
  %b = moe.gather %w, %r : tensor<?x1xf32>, !moe.route<2 groups, 1 choices> -> tensor<?xf32>
  %c = moe.gather %v, %r : tensor<?xf32>, !moe.route<2 groups, 1 choices> -> tensor<?xf32>
  return %a, %b, %c : tensor<?x2xf32>, tensor<?xf32>, tensor<?xf32>
}

// Token 0 chose expert 1, then 0; token 1 expert 0 with its second choice. Rows: (0,1), (1,1), (0,0).
// VALUE-LABEL: @gather_slot_columns
// VALUE-NEXT: 0: tensor<3x2> {{\[\[}}4, 5], [10, 11], [1, 2{{\]\]}}
// VALUE-NEXT: 1: tensor<3x3> {{\[\[}}4, 5, 6], [10, 11, 12], [1, 2, 3{{\]\]}}
func.func @gather_slot_columns(%i: tensor<?x2xi32> {moe.value = dense<[[1, 0], [-1, 0]]> : tensor<2x2xi32>},
    %x: tensor<?x6xf32> {moe.value = dense<[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [7.0, 8.0, 9.0, 10.0, 11.0, 12.0]]> : tensor<2x6xf32>})
    -> (tensor<?x2xf32>, tensor<?x3xf32>) {
  %r = moe.dispatch %i : tensor<?x2xi32> -> !moe.route<2 groups, 2 choices>
  %a = moe.gather %x, %r : tensor<?x6xf32>, !moe.route<2 groups, 2 choices> -> tensor<?x2xf32>
  %b = moe.gather %x, %r : tensor<?x6xf32>, !moe.route<2 groups, 2 choices> -> tensor<?x3xf32>
  return %a, %b : tensor<?x2xf32>, tensor<?x3xf32>
}
