// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.grouped_matmul: plain, grouped, gathered with prologue, two parts and epilogue.
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK-LABEL: @plain
// CHECK: moe.grouped_matmul %{{.*}} : tensor<?x8xbf16> by %{{.*}} : tensor<4x8xbf16> -> tensor<?x4xf32>{{$}}
func.func @plain(%x: tensor<?x8xbf16>, %w: tensor<4x8xbf16>) -> tensor<?x4xf32> {
  %z = moe.grouped_matmul %x : tensor<?x8xbf16> by %w : tensor<4x8xbf16> -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// CHECK-LABEL: @fused
// CHECK: moe.grouped_matmul %{{.*}} : tensor<?x8xf32> by %{{.*}} : tensor<4x6x8xf32>, %{{.*}} : tensor<4x6x8xf32> over %{{.*}} : !moe.route<4 groups, 2 choices> gathered -> tensor<?x6xbf16> prologue(%{{.*}}, %{{.*}} = %{{.*}} row : tensor<?xf32>) {
// CHECK: } epilogue(%{{.*}}, %{{.*}}, %{{.*}} = %{{.*}} col : tensor<4x6xf32>) {
func.func @fused(%x: tensor<?x8xf32>, %g: tensor<4x6x8xf32>, %u: tensor<4x6x8xf32>, %r: !moe.route<4 groups, 2 choices>, %w: tensor<?xf32>,
                 %b: tensor<4x6xf32>) -> tensor<?x6xbf16> {
  %h = moe.grouped_matmul %x : tensor<?x8xf32> by %g : tensor<4x6x8xf32>, %u : tensor<4x6x8xf32> over %r : !moe.route<4 groups, 2 choices> gathered
      -> tensor<?x6xbf16> prologue(%a, %s = %w row : tensor<?xf32>) {
    %0 = arith.mulf %a, %s : f32
    moe.yield %0 : f32
  } epilogue(%p, %q, %c = %b col : tensor<4x6xf32>) {
    %0 = arith.mulf %p, %q : f32
    %1 = arith.addf %0, %c : f32
    %2 = arith.truncf %1 : f32 to bf16
    moe.yield %2 : bf16
  }
  return %h : tensor<?x6xbf16>
}
