// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.row_program: values.
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// VALUE-LABEL: @row_program_values
// VALUE-NEXT: 0: tensor<2x2> {{\[\[}}1, 3], [1, 2{{\]\]}}
// VALUE-NEXT: 1: tensor<2x2> {{\[\[}}3, 3], [0, 0{{\]\]}}
func.func @row_program_values(%z: tensor<?x4xf32> {moe.value = dense<[[1.0, 3.0, 2.0, 3.0], [0x7FC00000, 0.0, 0.0, -1.0]]> : tensor<2x4xf32>}) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %i, %v = moe.row_program (%a = %z : tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
    %ids = moe.top_k 2 of %a : tensor<?x4xf32> -> tensor<?x2xi32>
    %t = moe.take %a at %ids : tensor<?x4xf32>, tensor<?x2xi32> -> tensor<?x2xf32>
    moe.yield %ids, %t : tensor<?x2xi32>, tensor<?x2xf32>
  }
  return %i, %v : tensor<?x2xi32>, tensor<?x2xf32>
}
