// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.softmax
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK: moe.softmax %{{.*}} : tensor<?x8xf32>
func.func @softmax(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %a = moe.softmax %x : tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}
