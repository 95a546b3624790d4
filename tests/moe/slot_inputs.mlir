// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.slot_inputs
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK: moe.slot_inputs %{{.*}} weighted %{{.*}}, %{{.*}} : tensor<?x8xbf16>, tensor<?x6xf32>, !moe.route<3 groups, 6 choices, rows 0 0 6> -> tensor<?x8xbf16>
func.func @slot_inputs(%x: tensor<?x8xbf16>, %w: tensor<?x6xf32>) -> tensor<?x8xbf16> {
  %r = moe.slots batch : !moe.route<3 groups, 6 choices, rows 0 0 6>
  %a = moe.slot_inputs %x weighted %w, %r : tensor<?x8xbf16>, tensor<?x6xf32>, !moe.route<3 groups, 6 choices, rows 0 0 6> -> tensor<?x8xbf16>
  return %a : tensor<?x8xbf16>
}
