// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.slot_products: over choices, and over slots that all tokens of a scope share.
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.slot_products %{{.*}}, %{{.*}} over %{{.*}} : tensor<?x2xf32>, tensor<?x2xf32>, !moe.route<2 groups, 2 choices> -> tensor<?x2xf32>
// VALUE-LABEL: @slot_products
// VALUE-NEXT: 0: tensor<2x2> {{\[\[}}5, 5], [0, 25{{\]\]}}
// VALUE-NEXT: 1: tensor<2x1> {{\[\[}}16], [36{{\]\]}}
func.func @slot_products(%i: tensor<?x2xi32> {moe.value = dense<[[1, 0], [-1, 0]]> : tensor<2x2xi32>},
    %a: tensor<?x2xf32> {moe.value = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>},
    %w: tensor<?x1xf32> {moe.value = dense<[[1.0], [1.0]]> : tensor<2x1xf32>}) -> (tensor<?x2xf32>, tensor<?x1xf32>) {
  %r = moe.dispatch %i : tensor<?x2xi32> -> !moe.route<2 groups, 2 choices>
  %rows = moe.gather %a, %r : tensor<?x2xf32>, !moe.route<2 groups, 2 choices> -> tensor<?x2xf32>
  %0 = moe.slot_products %a, %rows over %r : tensor<?x2xf32>, tensor<?x2xf32>, !moe.route<2 groups, 2 choices> -> tensor<?x2xf32>
  %s = moe.slots batch : !moe.route<1 groups, 1 choices, rows 0 1 0>
  %slot = moe.slot_inputs %a weighted %w, %s : tensor<?x2xf32>, tensor<?x1xf32>, !moe.route<1 groups, 1 choices, rows 0 1 0> -> tensor<?x2xf32>
  %1 = moe.slot_products %a, %slot over %s : tensor<?x2xf32>, tensor<?x2xf32>, !moe.route<1 groups, 1 choices, rows 0 1 0> -> tensor<?x1xf32>
  return %0, %1 : tensor<?x2xf32>, tensor<?x1xf32>
}
