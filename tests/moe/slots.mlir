// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.slots
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK: moe.slots sequence : !moe.route<3 groups, 6 choices, rows 0 6 0>
func.func @slots() -> !moe.route<3 groups, 6 choices, rows 0 6 0> {
  %a = moe.slots sequence : !moe.route<3 groups, 6 choices, rows 0 6 0>
  return %a : !moe.route<3 groups, 6 choices, rows 0 6 0>
}
