// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.columns
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK: moe.columns : tensor<?x4xi32>
func.func @columns() -> tensor<?x4xi32> {
  %a = moe.columns : tensor<?x4xi32>
  return %a : tensor<?x4xi32>
}
