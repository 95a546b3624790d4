// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.slot_rows: rows of every scope's slots, in the order of the route; some of the slots.
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.slot_rows batch %{{.*}}, %{{.*}} of 4 : tensor<?x8xf32>, !moe.route<2 groups, 4 choices, rows 0 0 4> -> tensor<?x8xf32>
// CHECK: moe.slot_rows sequence %{{.*}}, %{{.*}} of 6 at [0, 1, 4, 5] : tensor<?x8xf32>, !moe.route<2 groups, 4 choices, rows 0 4 0> -> tensor<?x5xf32>
func.func @slot_rows(%m: tensor<?x8xf32>, %n: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x5xf32>) {
  %r = moe.slots batch : !moe.route<2 groups, 4 choices, rows 0 0 4>
  %s = moe.slots sequence : !moe.route<2 groups, 4 choices, rows 0 4 0>
  %a = moe.slot_rows batch %m, %r of 4 : tensor<?x8xf32>, !moe.route<2 groups, 4 choices, rows 0 0 4> -> tensor<?x8xf32>
  %b = moe.slot_rows sequence %n, %s of 6 at [0, 1, 4, 5] : tensor<?x8xf32>, !moe.route<2 groups, 4 choices, rows 0 4 0> -> tensor<?x5xf32>
  return %a, %b : tensor<?x8xf32>, tensor<?x5xf32>
}

// 4 tokens in 2 sequences, 2 experts of one slot: rows are (expert 0, sequence 0), (0, 1), (1, 0), (1, 1).
// VALUE-LABEL: @slot_rows_of_sequences
// VALUE-NEXT: 0: tensor<4x2> {{\[\[}}1, 2], [5, 6], [3, 4], [7, 8{{\]\]}}
// VALUE-NEXT: 1: tensor<4x1> {{\[\[}}1], [5], [3], [7{{\]\]}}
func.func @slot_rows_of_sequences(%m: tensor<?x2xf32> {moe.value = dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]> : tensor<4x2xf32>})
    -> (tensor<?x2xf32>, tensor<?x1xf32>) attributes {moe.tokens = 4 : i64, moe.sequence = 2 : i64} {
  %r = moe.slots sequence : !moe.route<2 groups, 2 choices, rows 0 2 0>
  %a = moe.slot_rows sequence %m, %r of 2 : tensor<?x2xf32>, !moe.route<2 groups, 2 choices, rows 0 2 0> -> tensor<?x2xf32>
  %b = moe.slot_rows sequence %m, %r of 2 : tensor<?x2xf32>, !moe.route<2 groups, 2 choices, rows 0 2 0> -> tensor<?x1xf32>
  return %a, %b : tensor<?x2xf32>, tensor<?x1xf32>
}

// Slots 2 and 0 of 3, of one scope of 5 tokens.
// VALUE-LABEL: @slot_rows_of_some
// VALUE-NEXT: 0: tensor<2x1> {{\[\[}}30], [10{{\]\]}}
func.func @slot_rows_of_some(%m: tensor<?x1xf32> {moe.value = dense<[[10.0], [20.0], [30.0]]> : tensor<3x1xf32>}) -> tensor<?x1xf32>
    attributes {moe.tokens = 5 : i64} {
  %r = moe.slots batch : !moe.route<2 groups, 2 choices, rows 0 0 2>
  %a = moe.slot_rows batch %m, %r of 3 at [2, 0] : tensor<?x1xf32>, !moe.route<2 groups, 2 choices, rows 0 0 2> -> tensor<?x1xf32>
  return %a : tensor<?x1xf32>
}
