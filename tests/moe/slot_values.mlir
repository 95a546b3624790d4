// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.slot_values: the transpose of gathering slots.
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.slot_values %{{.*}}, %{{.*}} : tensor<?xf32>, !moe.route<2 groups, 2 choices> -> tensor<?x2xf32>
// VALUE-LABEL: @slot_values
// VALUE-NEXT: 0: tensor<2x2> {{\[\[}}1, 2], [0, 4{{\]\]}}
func.func @slot_values(%i: tensor<?x2xi32> {moe.value = dense<[[1, 0], [-1, 0]]> : tensor<2x2xi32>},
    %v: tensor<?x2xf32> {moe.value = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>}) -> tensor<?x2xf32> {
  %r = moe.dispatch %i : tensor<?x2xi32> -> !moe.route<2 groups, 2 choices>
  %rows = moe.gather %v, %r : tensor<?x2xf32>, !moe.route<2 groups, 2 choices> -> tensor<?xf32>
  %0 = moe.slot_values %rows, %r : tensor<?xf32>, !moe.route<2 groups, 2 choices> -> tensor<?x2xf32>
  return %0 : tensor<?x2xf32>
}
