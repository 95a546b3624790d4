// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.rows_of: rows that were saved meet rows of the same route made again.
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.rows_of %{{.*}} over %{{.*}} : tensor<?x2xf32>, !moe.route<2 groups, 1 choices>
// VALUE-LABEL: @rows_of
// VALUE-NEXT: 0: tensor<2x2> {{\[\[}}2, 4], [6, 8{{\]\]}}
func.func @rows_of(%i: tensor<?x1xi32> {moe.value = dense<[[0], [1]]> : tensor<2x1xi32>},
    %x: tensor<?x2xf32> {moe.value = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>}) -> tensor<?x2xf32> {
  %r = moe.dispatch %i : tensor<?x1xi32> -> !moe.route<2 groups, 1 choices>
  %saved = moe.rows_of %x over %r : tensor<?x2xf32>, !moe.route<2 groups, 1 choices>
  %rows = moe.gather %x, %r : tensor<?x2xf32>, !moe.route<2 groups, 1 choices> -> tensor<?x2xf32>
  %sum = moe.map (%a = %saved elem : tensor<?x2xf32>, %b = %rows elem : tensor<?x2xf32>) -> tensor<?x2xf32> {
    %c = arith.addf %a, %b : f32
    moe.yield %c : f32
  }
  return %sum : tensor<?x2xf32>
}
