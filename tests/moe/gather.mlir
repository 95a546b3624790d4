// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.gather: rows, one value per token, one value per slot.
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK: moe.gather %{{.*}}, %{{.*}} : tensor<?x8xbf16>, !moe.route<4 groups, 2 choices> -> tensor<?x8xbf16>
// CHECK: moe.gather %{{.*}}, %{{.*}} : tensor<?xf32>, !moe.route<4 groups, 2 choices> -> tensor<?xf32>
// CHECK: moe.gather %{{.*}}, %{{.*}} : tensor<?x2xf32>, !moe.route<4 groups, 2 choices> -> tensor<?xf32>
func.func @gather(%x: tensor<?x8xbf16>, %v: tensor<?xf32>, %w: tensor<?x2xf32>, %r: !moe.route<4 groups, 2 choices>)
    -> (tensor<?x8xbf16>, tensor<?xf32>, tensor<?xf32>) {
  %a = moe.gather %x, %r : tensor<?x8xbf16>, !moe.route<4 groups, 2 choices> -> tensor<?x8xbf16>
  %b = moe.gather %v, %r : tensor<?xf32>, !moe.route<4 groups, 2 choices> -> tensor<?xf32>
  %c = moe.gather %w, %r : tensor<?x2xf32>, !moe.route<4 groups, 2 choices> -> tensor<?xf32>
  return %a, %b, %c : tensor<?x8xbf16>, tensor<?xf32>, tensor<?xf32>
}
