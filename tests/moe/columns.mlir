// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.columns
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK: moe.columns : tensor<?x4xi32>
// CHECK: moe.columns of [3, 1, -1] : tensor<?x3xi32>
func.func @columns() -> (tensor<?x4xi32>, tensor<?x3xi32>) {
  %a = moe.columns : tensor<?x4xi32>
  %b = moe.columns of [3, 1, -1] : tensor<?x3xi32>
  return %a, %b : tensor<?x4xi32>, tensor<?x3xi32>
}
