// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.map: every operand kind, and a result of one value per row.
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK-LABEL: @map_kinds
// CHECK: moe.map (%{{.*}} = %{{.*}} elem : tensor<?x8xf32>, %{{.*}} = %{{.*}} row : tensor<?xf32>, %{{.*}} = %{{.*}} col : tensor<8xf32>, %{{.*}} = %{{.*}} segment : tensor<?x2xi1>, %{{.*}} = %{{.*}} scalar : tensor<1xf32>) -> tensor<?x8xbf16> {
// CHECK-NEXT: arith.addf
func.func @map_kinds(%x: tensor<?x8xf32>, %n: tensor<?xf32>, %b: tensor<8xf32>, %m: tensor<?x2xi1>, %t: tensor<1xf32>)
    -> tensor<?x8xbf16> {
  %y = moe.map (%a = %x elem : tensor<?x8xf32>, %c = %n row : tensor<?xf32>, %d = %b col : tensor<8xf32>,
                %e = %m segment : tensor<?x2xi1>, %f = %t scalar : tensor<1xf32>) -> tensor<?x8xbf16> {
    %s = arith.addf %a, %c : f32
    %u = arith.mulf %d, %f : f32
    %v = arith.select %e, %s, %u : f32
    %w = arith.truncf %v : f32 to bf16
    moe.yield %w : bf16
  }
  return %y : tensor<?x8xbf16>
}

// CHECK-LABEL: @map_rows
// CHECK: moe.map (%{{.*}} = %{{.*}} elem : tensor<?xf32>) -> tensor<?xf32> {
func.func @map_rows(%n: tensor<?xf32>) -> tensor<?xf32> {
  %y = moe.map (%a = %n elem : tensor<?xf32>) -> tensor<?xf32> {
    %s = math.sqrt %a : f32
    moe.yield %s : f32
  }
  return %y : tensor<?xf32>
}

// CHECK-LABEL: @map_constant
// CHECK: moe.map () -> tensor<?x2xf32> {
func.func @map_constant() -> tensor<?x2xf32> {
  %y = moe.map () -> tensor<?x2xf32> {
    %s = arith.constant 1.0 : f32
    moe.yield %s : f32
  }
  return %y : tensor<?x2xf32>
}
