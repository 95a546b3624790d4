// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.slots
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.slots sequence : !moe.route<3 groups, 6 choices, rows 0 6 0>
func.func @slots() -> !moe.route<3 groups, 6 choices, rows 0 6 0> {
  %a = moe.slots sequence : !moe.route<3 groups, 6 choices, rows 0 6 0>
  return %a : !moe.route<3 groups, 6 choices, rows 0 6 0>
}

// VALUE-LABEL: @slots_of_sequences
// VALUE-NEXT: 0: route offsets [0, 4, 8] tokens [0, 0, 2, 2, 0, 0, 2, 2] choices [0, 1, 0, 1, 2, 3, 2, 3] rows [0, 1, 4, 5, 0, 1, 4, 5, 2, 3, 6, 7, 2, 3, 6, 7]
func.func @slots_of_sequences() -> !moe.route<2 groups, 4 choices, rows 0 4 0> attributes {moe.tokens = 4 : i64, moe.sequence = 2 : i64} {
  %a = moe.slots sequence : !moe.route<2 groups, 4 choices, rows 0 4 0>
  return %a : !moe.route<2 groups, 4 choices, rows 0 4 0>
}
