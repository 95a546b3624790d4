// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.combine: plain, weighted, with an epilogue.
// RUN: moec-opt %s | moec-opt | FileCheck %s

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
