// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.grouped_matmul: what its labels refuse.
// RUN: moec-opt %s -split-input-file -verify-diagnostics

func.func @matmul_c1_parts(%x: tensor<?x8xf32>, %w: tensor<4x6x8xf32>, %r: !moe.route<4 groups, 2 choices>, %v: tensor<?xf32>) -> tensor<?x6xf32> {
  // expected-error @below {{'moe.grouped_matmul' op C1: there are one or two parts, found 3}}
  %z = moe.grouped_matmul %x : tensor<?x8xf32> by %w : tensor<4x6x8xf32>, %w : tensor<4x6x8xf32>, %w : tensor<4x6x8xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x6xf32>
  return %z : tensor<?x6xf32>
}

// -----
func.func @matmul_c1_rank(%x: tensor<?x8xf32>, %w: tensor<4x6x8xf32>, %r: !moe.route<4 groups, 2 choices>, %v: tensor<?xf32>) -> tensor<?x6xf32> {
  // expected-error @below {{'moe.grouped_matmul' op C1: B must be [N,K] of f32, bf16 or f16, found 'tensor<4x6x8xf32>'}}
  %z = moe.grouped_matmul %x : tensor<?x8xf32> by %w : tensor<4x6x8xf32> -> tensor<?x6xf32>
  return %z : tensor<?x6xf32>
}

// -----
func.func @matmul_c2_groups(%x: tensor<?x8xf32>, %w: tensor<3x6x8xf32>, %r: !moe.route<4 groups, 2 choices>, %v: tensor<?xf32>) -> tensor<?x6xf32> {
  // expected-error @below {{'moe.grouped_matmul' op C2: B has 3 groups, the route 4}}
  %z = moe.grouped_matmul %x : tensor<?x8xf32> by %w : tensor<3x6x8xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x6xf32>
  return %z : tensor<?x6xf32>
}

// -----
func.func @matmul_c3_depth(%x: tensor<?x8xf32>, %w: tensor<4x6x9xf32>, %r: !moe.route<4 groups, 2 choices>, %v: tensor<?xf32>) -> tensor<?x6xf32> {
  // expected-error @below {{'moe.grouped_matmul' op C3: A must be [?,9] of f32, bf16 or f16 to fit B, found 'tensor<?x8xf32>'}}
  %z = moe.grouped_matmul %x : tensor<?x8xf32> by %w : tensor<4x6x9xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x6xf32>
  return %z : tensor<?x6xf32>
}

// -----
func.func @matmul_c4_columns(%x: tensor<?x8xf32>, %w: tensor<4x6x8xf32>, %r: !moe.route<4 groups, 2 choices>, %v: tensor<?xf32>) -> tensor<?x7xf32> {
  // expected-error @below {{'moe.grouped_matmul' op C4: the result must be [?,6] of f32, bf16 or f16, found 'tensor<?x7xf32>'}}
  %z = moe.grouped_matmul %x : tensor<?x8xf32> by %w : tensor<4x6x8xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x7xf32>
  return %z : tensor<?x7xf32>
}

// -----
func.func @matmul_c6_kinds(%x: tensor<?x8xf32>, %w: tensor<4x6x8xf32>, %r: !moe.route<4 groups, 2 choices>, %v: tensor<8xf32>) -> tensor<?x6xf32> {
  // expected-error @below {{'moe.grouped_matmul' op C6: operand 0 is col, expected row or scalar}}
  %z = moe.grouped_matmul %x : tensor<?x8xf32> by %w : tensor<4x6x8xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x6xf32> prologue(%a, %b = %v col : tensor<8xf32>) {
    moe.yield %a : f32
  }
  return %z : tensor<?x6xf32>
}

// -----
func.func @matmul_c7_columns_per_group(%x: tensor<?x8xf32>, %w: tensor<4x6x8xf32>, %r: !moe.route<4 groups, 2 choices>, %v: tensor<6xf32>) -> tensor<?x6xf32> {
  // expected-error @below {{'moe.grouped_matmul' op C7: operand 0 of kind col must have shape [4,6], found 'tensor<6xf32>'}}
  %z = moe.grouped_matmul %x : tensor<?x8xf32> by %w : tensor<4x6x8xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x6xf32> epilogue(%a, %b = %v col : tensor<6xf32>) {
    moe.yield %a : f32
  }
  return %z : tensor<?x6xf32>
}

// -----
func.func @matmul_c8_without_epilogue(%x: tensor<?x8xf32>, %w: tensor<4x6x8xf32>, %r: !moe.route<4 groups, 2 choices>, %v: tensor<?xf32>) -> tensor<?x6xf32> {
  // expected-error @below {{'moe.grouped_matmul' op C8: without an epilogue there is one part and the result is f32, found 2 and 'tensor<?x6xf32>'}}
  %z = moe.grouped_matmul %x : tensor<?x8xf32> by %w : tensor<4x6x8xf32>, %w : tensor<4x6x8xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x6xf32>
  return %z : tensor<?x6xf32>
}

// -----
func.func @matmul_c5_gathered(%x: tensor<?x8xf32>, %w: tensor<6x8xf32>) -> tensor<?x6xf32> {
  // expected-error @below {{'moe.grouped_matmul' op C5: gathered needs a route}}
  %z = "moe.grouped_matmul"(%x, %w) <{epilogue_kinds = [], gathered, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0>, prologue_kinds = []}> ({}, {}) : (tensor<?x8xf32>, tensor<6x8xf32>) -> tensor<?x6xf32>
  return %z : tensor<?x6xf32>
}
