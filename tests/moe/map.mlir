// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.map: every operand kind, and a result of one value per row.
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

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

// VALUE-LABEL: @map_kinds_values
// VALUE-NEXT: 0: tensor<1x4> {{\[\[}}12, 14.5, 0, 0{{\]\]}}
func.func @map_kinds_values(%x: tensor<?x4xf32> {moe.value = dense<[[1.0, 2.0, 3.0, 4.0]]> : tensor<1x4xf32>},
    %n: tensor<?xf32> {moe.value = dense<[10.0]> : tensor<1xf32>},
    %b: tensor<4xf32> {moe.value = dense<[0.0, 0.5, 0.0, 0.0]> : tensor<4xf32>},
    %m: tensor<?x2xi1> {moe.value = dense<[[true, false]]> : tensor<1x2xi1>},
    %t: tensor<1xf32> {moe.value = dense<[2.0]> : tensor<1xf32>}) -> tensor<?x4xf32> {
  %y = moe.map (%a = %x elem : tensor<?x4xf32>, %c = %n row : tensor<?xf32>, %d = %b col : tensor<4xf32>,
                %e = %m segment : tensor<?x2xi1>, %f = %t scalar : tensor<1xf32>) -> tensor<?x4xf32> {
    %zero = arith.constant 0.0 : f32
    %0 = arith.mulf %a, %f : f32
    %1 = arith.addf %0, %c : f32
    %2 = arith.addf %1, %d : f32
    %3 = arith.select %e, %2, %zero : f32
    moe.yield %3 : f32
  }
  return %y : tensor<?x4xf32>
}

// VALUE-LABEL: @map_rounds_where_it_says_so
// VALUE-NEXT: 0: tensor<4> [1, 1.015625, inf, nan]
// VALUE-NEXT: 1: tensor<4> [1.003906, 1.011719, inf, nan]
// VALUE-NEXT: 2: tensor<4> [1, 1, 2.147484e+09, 0]
func.func @map_rounds_where_it_says_so(%x: tensor<?xf32> {moe.value = dense<[1.00390625, 1.01171875, 0x7F7FFFFF, 0x7FC00000]> : tensor<4xf32>}) -> (tensor<?xbf16>, tensor<?xf16>, tensor<?xi32>) {
  %y = moe.map (%a = %x elem : tensor<?xf32>) -> tensor<?xbf16> {
    %0 = arith.truncf %a : f32 to bf16
    moe.yield %0 : bf16
  }
  %h = moe.map (%a = %x elem : tensor<?xf32>) -> tensor<?xf16> {
    %0 = arith.truncf %a : f32 to f16
    moe.yield %0 : f16
  }
  %i = moe.map (%a = %x elem : tensor<?xf32>) -> tensor<?xi32> {
    %0 = arith.fptosi %a : f32 to i32
    moe.yield %0 : i32
  }
  return %y, %h, %i : tensor<?xbf16>, tensor<?xf16>, tensor<?xi32>
}

// VALUE-LABEL: @map_columns_of_groups
// VALUE-NEXT: 0: tensor<2x1> {{\[\[}}12], [21{{\]\]}}
func.func @map_columns_of_groups(%i: tensor<?x1xi32> {moe.value = dense<[[1], [0]]> : tensor<2x1xi32>},
    %x: tensor<?x1xf32> {moe.value = dense<[[1.0], [2.0]]> : tensor<2x1xf32>},
    %b: tensor<2x1xf32> {moe.value = dense<[[10.0], [20.0]]> : tensor<2x1xf32>}) -> tensor<?x1xf32> {
  %r = moe.dispatch %i : tensor<?x1xi32> -> !moe.route<2 groups, 1 choices>
  %g = moe.gather %x, %r : tensor<?x1xf32>, !moe.route<2 groups, 1 choices> -> tensor<?x1xf32>
  %y = moe.map (%a = %g elem : tensor<?x1xf32>, %c = %b col : tensor<2x1xf32>) -> tensor<?x1xf32> {
    %0 = arith.addf %a, %c : f32
    moe.yield %0 : f32
  }
  return %y : tensor<?x1xf32>
}
