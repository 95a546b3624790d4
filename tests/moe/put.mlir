// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.put
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.put %{{.*}} at %{{.*}} : tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x8xf32>
func.func @put(%v: tensor<?x2xf32>, %i: tensor<?x2xi32>) -> tensor<?x8xf32> {
  %a = moe.put %v at %i : tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}

// VALUE-LABEL: @put_adds_and_ignores
// VALUE-NEXT: 0: tensor<2x3> {{\[\[}}0, 3, 0], [4, 0, 0{{\]\]}}
func.func @put_adds_and_ignores(%v: tensor<?x2xf32> {moe.value = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>},
    %i: tensor<?x2xi32> {moe.value = dense<[[1, 1], [-1, 0]]> : tensor<2x2xi32>}) -> tensor<?x3xf32> {
  %a = moe.put %v at %i : tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x3xf32>
  return %a : tensor<?x3xf32>
}
