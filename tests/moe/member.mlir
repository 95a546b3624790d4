// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.member
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.member %{{.*}} : tensor<?x2xi32> -> tensor<?x8xi1>
func.func @member(%x: tensor<?x2xi32>) -> tensor<?x8xi1> {
  %a = moe.member %x : tensor<?x2xi32> -> tensor<?x8xi1>
  return %a : tensor<?x8xi1>
}

// VALUE-LABEL: @member_twice_and_outside
// VALUE-NEXT: 0: tensor<2x4> {{\[\[}}0, 1, 0, 0], [0, 0, 0, 0{{\]\]}}
func.func @member_twice_and_outside(%i: tensor<?x2xi32> {moe.value = dense<[[1, 1], [-1, 4]]> : tensor<2x2xi32>}) -> tensor<?x4xi1> {
  %a = moe.member %i : tensor<?x2xi32> -> tensor<?x4xi1>
  return %a : tensor<?x4xi1>
}
