// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// reduce, softmax, top_k, member and take: what their labels refuse.
// RUN: moec-opt %s -split-input-file -verify-diagnostics

func.func @reduce_c1_segments_divide(%x: tensor<?x8xf32>) -> tensor<?x3xf32> {
  // expected-error @below {{'moe.reduce' op C1: segments (3) must divide the columns (8)}}
  %a = moe.reduce sum %x segments 3 : tensor<?x8xf32> -> tensor<?x3xf32>
  return %a : tensor<?x3xf32>
}

// -----
func.func @reduce_c2_result_shape(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error @below {{'moe.reduce' op C2: the result must be tensor<?x4xf32>, found 'tensor<?x8xf32>'}}
  %a = moe.reduce max %x segments 4 : tensor<?x8xf32> -> tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}

// -----
func.func @softmax_c1_type(%x: tensor<?x8xbf16>) -> tensor<?x8xbf16> {
  // expected-error @below {{'moe.softmax' op C1: the input must be a [?,N] tensor of f32, found 'tensor<?x8xbf16>'}}
  %a = moe.softmax %x : tensor<?x8xbf16>
  return %a : tensor<?x8xbf16>
}

// -----
func.func @top_k_c1_k_exceeds_segment(%x: tensor<?x8xf32>) -> tensor<?x12xi32> {
  // expected-error @below {{'moe.top_k' op C1: k (3) must be 1..2}}
  %a = moe.top_k 3 of %x segments 4 : tensor<?x8xf32> -> tensor<?x12xi32>
  return %a : tensor<?x12xi32>
}

// -----
func.func @top_k_c2_segments_divide(%x: tensor<?x8xf32>) -> tensor<?x3xi32> {
  // expected-error @below {{'moe.top_k' op C2: segments (3) must divide the columns (8)}}
  %a = moe.top_k 1 of %x segments 3 : tensor<?x8xf32> -> tensor<?x3xi32>
  return %a : tensor<?x3xi32>
}

// -----
func.func @top_k_c3_result_shape(%x: tensor<?x8xf32>) -> tensor<?x2xi32> {
  // expected-error @below {{'moe.top_k' op C3: the ids must be tensor<?x8xi32>, found 'tensor<?x2xi32>'}}
  %a = moe.top_k 2 of %x segments 4 : tensor<?x8xf32> -> tensor<?x2xi32>
  return %a : tensor<?x2xi32>
}

// -----
func.func @member_c1_types(%x: tensor<?x2xi32>) -> tensor<?x8xf32> {
  // expected-error @below {{'moe.member' op C1: the ids must be [?,k] of i32 and the mask [?,N] of i1, found 'tensor<?x2xi32>' and 'tensor<?x8xf32>'}}
  %a = moe.member %x : tensor<?x2xi32> -> tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}

// -----
func.func @take_c1_ids(%x: tensor<?x8xf32>, %i: tensor<?x2xf32>) -> tensor<?x2xf32> {
  // expected-error @below {{'moe.take' op C1: the ids must be a [?,k] tensor of i32, found 'tensor<?x2xf32>'}}
  %a = moe.take %x at %i : tensor<?x8xf32>, tensor<?x2xf32> -> tensor<?x2xf32>
  return %a : tensor<?x2xf32>
}

// -----
func.func @take_c2_values(%x: tensor<?xf32>, %i: tensor<?x2xi32>) -> tensor<?x2xf32> {
  // expected-error @below {{'moe.take' op C2: the values must be a [?,N] tensor of f32 or i32, or a [N] tensor of f32, found 'tensor<?xf32>'}}
  %a = moe.take %x at %i : tensor<?xf32>, tensor<?x2xi32> -> tensor<?x2xf32>
  return %a : tensor<?x2xf32>
}

// -----
func.func @take_c3_result(%x: tensor<8xf32>, %i: tensor<?x2xi32>) -> tensor<?x3xf32> {
  // expected-error @below {{'moe.take' op C3: the result must be 'tensor<?x2xf32>', found 'tensor<?x3xf32>'}}
  %a = moe.take %x at %i : tensor<8xf32>, tensor<?x2xi32> -> tensor<?x3xf32>
  return %a : tensor<?x3xf32>
}

// -----
func.func @put_c1_values(%v: tensor<?x3xf32>, %i: tensor<?x2xi32>) -> tensor<?x8xf32> {
  // expected-error @below {{'moe.put' op C1: the values must be [?,k] of f32 and the ids [?,k] of i32, found 'tensor<?x3xf32>' and 'tensor<?x2xi32>'}}
  %a = moe.put %v at %i : tensor<?x3xf32>, tensor<?x2xi32> -> tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}

// -----
func.func @put_c2_result(%v: tensor<?x2xf32>, %i: tensor<?x2xi32>) -> tensor<?x8xi32> {
  // expected-error @below {{'moe.put' op C2: the result must be a [?,N] tensor of f32, found 'tensor<?x8xi32>'}}
  %a = moe.put %v at %i : tensor<?x2xf32>, tensor<?x2xi32> -> tensor<?x8xi32>
  return %a : tensor<?x8xi32>
}
