// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.combine: plain, weighted, with an epilogue.
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: moe.combine %{{.*}} : tensor<?x8xf32> over %{{.*}} : !moe.route<4 groups, 2 choices> -> tensor<?x8xf32>{{$}}
// CHECK: moe.combine %{{.*}} : tensor<?x8xf32> over %{{.*}} : !moe.route<4 groups, 2 choices> weighted %{{.*}} : tensor<?x2xf32> -> tensor<?x8xbf16> epilogue(%{{.*}}, %{{.*}} = %{{.*}} elem : tensor<?x8xf32>, %{{.*}} = %{{.*}} row : tensor<?xf32>, %{{.*}} = %{{.*}} col : tensor<8xf32>) {
func.func @combine(%o: tensor<?x8xf32>, %r: !moe.route<4 groups, 2 choices>, %w: tensor<?x2xf32>, %s: tensor<?x8xf32>, %g: tensor<?xf32>,
                   %b: tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xbf16>) {
  %a = moe.combine %o : tensor<?x8xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x8xf32>
  %y = moe.combine %o : tensor<?x8xf32> over %r : !moe.route<4 groups, 2 choices> weighted %w : tensor<?x2xf32> -> tensor<?x8xbf16>
      epilogue(%acc, %e = %s elem : tensor<?x8xf32>, %f = %g row : tensor<?xf32>, %h = %b col : tensor<8xf32>) {
    %0 = arith.mulf %e, %f : f32
    %1 = arith.addf %acc, %0 : f32
    %2 = arith.addf %1, %h : f32
    %3 = arith.truncf %2 : f32 to bf16
    moe.yield %3 : bf16
  }
  return %a, %y : tensor<?x8xf32>, tensor<?x8xbf16>
}

// VALUE-LABEL: @combine_values
// VALUE-NEXT: 0: tensor<3x1> {{\[\[}}2], [10], [0{{\]\]}}
// VALUE-NEXT: 1: tensor<3x1> {{\[\[}}105], [270], [300{{\]\]}}
func.func @combine_values(%i: tensor<?x2xi32> {moe.value = dense<[[1, 0], [-1, 0], [-1, -1]]> : tensor<3x2xi32>},
    %x: tensor<?x1xf32> {moe.value = dense<[[1.0], [10.0], [50.0]]> : tensor<3x1xf32>},
    %w: tensor<?x2xf32> {moe.value = dense<[[2.0, 3.0], [5.0, 7.0], [1.0, 1.0]]> : tensor<3x2xf32>},
    %s: tensor<?x1xf32> {moe.value = dense<[[100.0], [200.0], [300.0]]> : tensor<3x1xf32>}) -> (tensor<?x1xf32>, tensor<?x1xf32>) {
  %r = moe.dispatch %i : tensor<?x2xi32> -> !moe.route<2 groups, 2 choices>
  %o = moe.gather %x, %r : tensor<?x1xf32>, !moe.route<2 groups, 2 choices> -> tensor<?x1xf32>
  %a = moe.combine %o : tensor<?x1xf32> over %r : !moe.route<2 groups, 2 choices> -> tensor<?x1xf32>
  %b = moe.combine %o : tensor<?x1xf32> over %r : !moe.route<2 groups, 2 choices> weighted %w : tensor<?x2xf32> -> tensor<?x1xf32> epilogue(%acc, %e = %s elem : tensor<?x1xf32>) {
    %0 = arith.addf %acc, %e : f32
    moe.yield %0 : f32
  }
  return %a, %b : tensor<?x1xf32>, tensor<?x1xf32>
}

// Rows of 257 and 258.5 are 256 (a tie, to even) and 258 in bf16; the sum stays f32.
// VALUE-LABEL: @combine_rounded_rows
// VALUE-NEXT: 0: tensor<2x1> {{\[\[}}513], [259{{\]\]}}
func.func @combine_rounded_rows(%i: tensor<?x2xi32> {moe.value = dense<[[1, 0], [-1, 1]]> : tensor<2x2xi32>},
    %x: tensor<?x1xf32> {moe.value = dense<[[257.0], [258.5]]> : tensor<2x1xf32>},
    %w: tensor<?x2xf32> {moe.value = dense<[[1.0, 1.0], [1.0, 1.0]]> : tensor<2x2xf32>}) -> tensor<?x1xf32> {
  %r = moe.dispatch %i : tensor<?x2xi32> -> !moe.route<2 groups, 2 choices>
  %o = moe.gather %x, %r : tensor<?x1xf32>, !moe.route<2 groups, 2 choices> -> tensor<?x1xf32>
  %n = moe.map (%e = %o elem : tensor<?x1xf32>) -> tensor<?x1xbf16> {
    %0 = arith.truncf %e : f32 to bf16
    moe.yield %0 : bf16
  }
  %y = moe.combine %n : tensor<?x1xbf16> over %r : !moe.route<2 groups, 2 choices> weighted %w : tensor<?x2xf32> -> tensor<?x1xf32> epilogue(%acc) {
    %c = arith.constant 1.0 : f32
    %0 = arith.addf %acc, %c : f32
    moe.yield %0 : f32
  }
  return %y : tensor<?x1xf32>
}
