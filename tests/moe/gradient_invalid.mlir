// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the verifiers of MoeGradOps.td refuse, and layers that hold ops of backward passes.
// RUN: moec-opt %s -split-input-file -verify-diagnostics

func.func @outer_types(%a: tensor<?x3xbf16>, %b: tensor<?x8xf32>) {
  // expected-error @below {{C1: A and B must be [?,M] and [?,N] of one type}}
  %0 = moe.grouped_outer %a, %b : tensor<?x3xbf16>, tensor<?x8xf32> -> tensor<3x8xf32>
  return
}

// -----

func.func @outer_shape(%a: tensor<?x3xf32>, %b: tensor<?x8xf32>) {
  // expected-error @below {{C2: the result must be [1,3,8] of f32, found 'tensor<8x3xf32>'}}
  %0 = moe.grouped_outer %a, %b : tensor<?x3xf32>, tensor<?x8xf32> -> tensor<8x3xf32>
  return
}

// -----

func.func @sum_shape(%x: tensor<?x3xf32>, %r: !moe.route<4 groups, 2 choices>) {
  // expected-error @below {{C1: the input must be [?,N] of f32 and the result [N] or [4,N] of f32}}
  %0 = moe.group_sum %x over %r : tensor<?x3xf32>, !moe.route<4 groups, 2 choices> -> tensor<2x3xf32>
  return
}

// -----

func.func @values_shape(%x: tensor<?xf32>, %r: !moe.route<4 groups, 2 choices>) {
  // expected-error @below {{C2: the result must be [?,K] of f32, K the choices of the route}}
  %0 = moe.slot_values %x, %r : tensor<?xf32>, !moe.route<4 groups, 2 choices> -> tensor<?x3xf32>
  return
}

// -----

func.func @values_rank(%x: tensor<?x1xf32>, %r: !moe.route<4 groups, 2 choices>) {
  // expected-error @below {{C1: the values must be [?] of f32}}
  %0 = moe.slot_values %x, %r : tensor<?x1xf32>, !moe.route<4 groups, 2 choices> -> tensor<?x2xf32>
  return
}

// -----

func.func @products_width(%a: tensor<?x3xf32>, %b: tensor<?x4xf32>, %r: !moe.route<4 groups, 2 choices>) {
  // expected-error @below {{C1: a and rows must be [?,H] of f32, bf16 or f16}}
  %0 = moe.slot_products %a, %b over %r : tensor<?x3xf32>, tensor<?x4xf32>, !moe.route<4 groups, 2 choices> -> tensor<?x2xf32>
  return
}

// -----

func.func @rows_shape(%w: tensor<2x3xf32>, %v: tensor<3xf32>) {
  // expected-error @below {{C1: expected [N,K] and [N] -> [N,K] of f32}}
  %0 = moe.scaled_rows 2.0 %w by %v : tensor<2x3xf32>, tensor<3xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @dynamic_sum(%w: tensor<?x3xf32>) {
  // expected-error @below {{C1: the operands must be static tensors of f32, found 1 of}}
  %0 = moe.parameter_sum %w : tensor<?x3xf32>
  return
}

// -----

func.func @transposed_depth(%a: tensor<?x3xf32>, %b: tensor<2x3xf32>) {
  // expected-error @below {{C3: A must be [?,2] of f32, bf16 or f16 to fit B}}
  %0 = moe.grouped_matmul %a : tensor<?x3xf32> by %b : tensor<2x3xf32> transposed -> tensor<?x2xf32>
  return
}

// -----

func.func @gradient_of_type(%x: tensor<?x3xi32>) -> tensor<?x3xi32> {
  %0 = moe.map (%a = %x elem : tensor<?x3xi32>) -> tensor<?x3xi32> {
    // expected-error @below {{C1: the values must be f32, found 'i32'}}
    %b = moe.gradient_of %a as %a : i32
    moe.yield %b : i32
  }
  return %0 : tensor<?x3xi32>
}
