// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.softmax
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.softmax %{{.*}} : tensor<?x8xf32>
func.func @softmax(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %a = moe.softmax %x : tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}

// VALUE-LABEL: @softmax_values
// VALUE-NEXT: 0: tensor<3x2> {{\[\[}}0.5, 0.5], [1, 0], [nan, nan{{\]\]}}
func.func @softmax_values(%x: tensor<?x2xf32> {moe.value = dense<[[0.0, 0.0], [0.0, 0xFF800000], [0x7FC00000, 0.0]]> : tensor<3x2xf32>}) -> tensor<?x2xf32> {
  %a = moe.softmax %x : tensor<?x2xf32>
  return %a : tensor<?x2xf32>
}

// VALUE-LABEL: @softmax_segments
// VALUE-NEXT: 0: tensor<1x4> {{\[\[}}0.5, 0.5, 0.5, 0.5{{\]\]}}
func.func @softmax_segments(%x: tensor<?x4xf32> {moe.value = dense<[[0.0, 0.0, 9.0, 9.0]]> : tensor<1x4xf32>}) -> tensor<?x4xf32> {
  %a = moe.softmax %x segments 2 : tensor<?x4xf32>
  return %a : tensor<?x4xf32>
}
