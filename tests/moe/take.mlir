// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.take: from rows and from one vector.
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.take %{{.*}} at %{{.*}} : tensor<?x8xf32>, tensor<?x2xi32> -> tensor<?x2xf32>
// CHECK: moe.take %{{.*}} at %{{.*}} : tensor<8xf32>, tensor<?x2xi32> -> tensor<?x2xf32>
func.func @take(%x: tensor<?x8xf32>, %v: tensor<8xf32>, %i: tensor<?x2xi32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  %a = moe.take %x at %i : tensor<?x8xf32>, tensor<?x2xi32> -> tensor<?x2xf32>
  %b = moe.take %v at %i : tensor<8xf32>, tensor<?x2xi32> -> tensor<?x2xf32>
  return %a, %b : tensor<?x2xf32>, tensor<?x2xf32>
}

// VALUE-LABEL: @take_outside_is_zero
// VALUE-NEXT: 0: tensor<1x3> {{\[\[}}3, 0, 0{{\]\]}}
// VALUE-NEXT: 1: tensor<1x3> {{\[\[}}6, 0, 0{{\]\]}}
func.func @take_outside_is_zero(%x: tensor<?x3xf32> {moe.value = dense<[[1.0, 2.0, 3.0]]> : tensor<1x3xf32>},
    %v: tensor<3xf32> {moe.value = dense<[4.0, 5.0, 6.0]> : tensor<3xf32>},
    %i: tensor<?x3xi32> {moe.value = dense<[[2, -1, 3]]> : tensor<1x3xi32>}) -> (tensor<?x3xf32>, tensor<?x3xf32>) {
  %a = moe.take %x at %i : tensor<?x3xf32>, tensor<?x3xi32> -> tensor<?x3xf32>
  %b = moe.take %v at %i : tensor<3xf32>, tensor<?x3xi32> -> tensor<?x3xf32>
  return %a, %b : tensor<?x3xf32>, tensor<?x3xf32>
}
