// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.slot_inputs
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.slot_inputs %{{.*}} weighted %{{.*}}, %{{.*}} : tensor<?x8xbf16>, tensor<?x6xf32>, !moe.route<3 groups, 6 choices, rows 0 0 6> -> tensor<?x8xbf16>
func.func @slot_inputs(%x: tensor<?x8xbf16>, %w: tensor<?x6xf32>) -> tensor<?x8xbf16> {
  %r = moe.slots batch : !moe.route<3 groups, 6 choices, rows 0 0 6>
  %a = moe.slot_inputs %x weighted %w, %r : tensor<?x8xbf16>, tensor<?x6xf32>, !moe.route<3 groups, 6 choices, rows 0 0 6> -> tensor<?x8xbf16>
  return %a : tensor<?x8xbf16>
}

// VALUE-LABEL: @slot_inputs_round_once
// VALUE-NEXT: 0: tensor<2x2> {{\[\[}}1, 2], [1.015625, 2.03125{{\]\]}}
func.func @slot_inputs_round_once(%x: tensor<?x2xbf16> {moe.value = dense<[[1.0, 2.0], [0.0, 0.0]]> : tensor<2x2xbf16>},
    %w: tensor<?x2xf32> {moe.value = dense<[[1.00390625, 1.01171875], [1.0, 1.0]]> : tensor<2x2xf32>}) -> tensor<?x2xbf16> {
  %r = moe.slots batch : !moe.route<1 groups, 2 choices, rows 0 0 2>
  %a = moe.slot_inputs %x weighted %w, %r : tensor<?x2xbf16>, tensor<?x2xf32>, !moe.route<1 groups, 2 choices, rows 0 0 2> -> tensor<?x2xbf16>
  return %a : tensor<?x2xbf16>
}
