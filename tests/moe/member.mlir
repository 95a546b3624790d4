// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.member
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK: moe.member %{{.*}} : tensor<?x2xi32> -> tensor<?x8xi1>
func.func @member(%x: tensor<?x2xi32>) -> tensor<?x8xi1> {
  %a = moe.member %x : tensor<?x2xi32> -> tensor<?x8xi1>
  return %a : tensor<?x8xi1>
}
