// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.columns
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.columns : tensor<?x4xi32>
// CHECK: moe.columns of [3, 1, -1] : tensor<?x3xi32>
func.func @columns() -> (tensor<?x4xi32>, tensor<?x3xi32>) {
  %a = moe.columns : tensor<?x4xi32>
  %b = moe.columns of [3, 1, -1] : tensor<?x3xi32>
  return %a, %b : tensor<?x4xi32>, tensor<?x3xi32>
}

// VALUE-LABEL: @columns_values
// VALUE-NEXT: 0: tensor<2x4> {{\[\[}}0, 1, 2, 3], [0, 1, 2, 3{{\]\]}}
// VALUE-NEXT: 1: tensor<2x3> {{\[\[}}3, 1, -1], [3, 1, -1{{\]\]}}
func.func @columns_values() -> (tensor<?x4xi32>, tensor<?x3xi32>) attributes {moe.tokens = 2 : i64} {
  %a = moe.columns : tensor<?x4xi32>
  %b = moe.columns of [3, 1, -1] : tensor<?x3xi32>
  return %a, %b : tensor<?x4xi32>, tensor<?x3xi32>
}
