// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.grouped_matmul: plain, grouped, gathered with prologue, two parts and epilogue.
// RUN: moec-opt %s | moec-opt | FileCheck %s
// RUN: moec-opt %s --moe-evaluate -o /dev/null 2>&1 | FileCheck %s --check-prefix=VALUE

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

// VALUE-LABEL: @matmul_plain_values
// VALUE-NEXT: 0: tensor<2x2> {{\[\[}}1, 3], [3, 8{{\]\]}}
func.func @matmul_plain_values(%x: tensor<?x2xf32> {moe.value = dense<[[1.0, 2.0], [3.0, 5.0]]> : tensor<2x2xf32>},
    %w: tensor<2x2xf32> {moe.value = dense<[[1.0, 0.0], [1.0, 1.0]]> : tensor<2x2xf32>}) -> tensor<?x2xf32> {
  %z = moe.grouped_matmul %x : tensor<?x2xf32> by %w : tensor<2x2xf32> -> tensor<?x2xf32>
  return %z : tensor<?x2xf32>
}

// VALUE-LABEL: @matmul_fused_values_with_an_empty_group
// VALUE-NEXT: 0: tensor<2x1> {{\[\[}}-3], [-23{{\]\]}}
func.func @matmul_fused_values_with_an_empty_group(%i: tensor<?x1xi32> {moe.value = dense<[[1], [1]]> : tensor<2x1xi32>},
    %x: tensor<?x2xf32> {moe.value = dense<[[1.0, 2.0], [3.0, 5.0]]> : tensor<2x2xf32>},
    %g: tensor<2x1x2xf32> {moe.value = dense<[[[1.0, 1.0]], [[1.0, -1.0]]]> : tensor<2x1x2xf32>},
    %u: tensor<2x1x2xf32> {moe.value = dense<[[[0.0, 0.0]], [[1.0, 0.0]]]> : tensor<2x1x2xf32>},
    %v: tensor<?xf32> {moe.value = dense<[2.0, 2.0]> : tensor<2xf32>},
    %b: tensor<2x1xf32> {moe.value = dense<[[100.0], [1.0]]> : tensor<2x1xf32>}) -> tensor<?x1xf32> {
  %r = moe.dispatch %i : tensor<?x1xi32> -> !moe.route<2 groups, 1 choices>
  %s = moe.gather %v, %r : tensor<?xf32>, !moe.route<2 groups, 1 choices> -> tensor<?xf32>
  %h = moe.grouped_matmul %x : tensor<?x2xf32> by %g : tensor<2x1x2xf32>, %u : tensor<2x1x2xf32> over %r : !moe.route<2 groups, 1 choices> gathered
      -> tensor<?x1xf32> prologue(%a, %f = %s row : tensor<?xf32>) {
    %0 = arith.mulf %a, %f : f32
    moe.yield %0 : f32
  } epilogue(%p, %q, %c = %b col : tensor<2x1xf32>) {
    %0 = arith.mulf %p, %q : f32
    %1 = arith.addf %0, %c : f32
    moe.yield %1 : f32
  }
  return %h : tensor<?x1xf32>
}

// A transposed matrix is [G,K,N]: rows of group 0 by [[1, 2], [3, 4]].
// CHECK: moe.grouped_matmul %{{.*}} : tensor<?x2xf32> by %{{.*}} : tensor<2x3xf32> transposed -> tensor<?x3xf32>
// VALUE-LABEL: @transposed_values
// VALUE-NEXT: 0: tensor<1x3> {{\[\[}}9, 12, 15{{\]\]}}
func.func @transposed_values(%a: tensor<?x2xf32> {moe.value = dense<[[1.0, 2.0]]> : tensor<1x2xf32>},
    %b: tensor<2x3xf32> {moe.value = dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>}) -> tensor<?x3xf32> {
  %0 = moe.grouped_matmul %a : tensor<?x2xf32> by %b : tensor<2x3xf32> transposed -> tensor<?x3xf32>
  return %0 : tensor<?x3xf32>
}
