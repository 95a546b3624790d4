// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ops that look at several tokens, and row ops beside them: what their labels refuse.
// RUN: moec-opt %s -split-input-file -verify-diagnostics

// expected-error @below {{C2: rows 1 -2 3 must not be negative}}
func.func private @route_c2(!moe.route<4 groups, 2 choices, rows 1 -2 3>)

// -----
func.func @columns_c1() -> tensor<?x4xf32> {
  // expected-error @below {{'moe.columns' op C1: the result must be a [?,N] tensor of i32, found 'tensor<?x4xf32>'}}
  %a = moe.columns : tensor<?x4xf32>
  return %a : tensor<?x4xf32>
}

// -----
func.func @prefix_sum_c1(%x: tensor<?x4xi32>) -> tensor<?x4xi32> {
  // expected-error @below {{'moe.prefix_sum' op C1: the input must be a [?,N] tensor of f32, found 'tensor<?x4xi32>'}}
  %a = moe.prefix_sum %x : tensor<?x4xi32>
  return %a : tensor<?x4xi32>
}

// -----
func.func @lookup_c1(%p: tensor<?x4xf32>, %i: tensor<?xi32>) -> tensor<?x4xf32> {
  // expected-error @below {{'moe.lookup' op C1: the table must be a [V,N] tensor of f32, found 'tensor<?x4xf32>'}}
  %a = moe.lookup %p at %i : tensor<?x4xf32>, tensor<?xi32> -> tensor<?x4xf32>
  return %a : tensor<?x4xf32>
}

// -----
func.func @lookup_c2(%p: tensor<9x4xf32>, %i: tensor<?xf32>) -> tensor<?x4xf32> {
  // expected-error @below {{'moe.lookup' op C2: the index must be a [?] tensor of i32, found 'tensor<?xf32>'}}
  %a = moe.lookup %p at %i : tensor<9x4xf32>, tensor<?xf32> -> tensor<?x4xf32>
  return %a : tensor<?x4xf32>
}

// -----
func.func @lookup_c3(%p: tensor<9x4xf32>, %i: tensor<?xi32>) -> tensor<?x5xf32> {
  // expected-error @below {{'moe.lookup' op C3: the result must be tensor<?x4xf32>, found 'tensor<?x5xf32>'}}
  %a = moe.lookup %p at %i : tensor<9x4xf32>, tensor<?xi32> -> tensor<?x5xf32>
  return %a : tensor<?x5xf32>
}

// -----
func.func @softmax_c2(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error @below {{'moe.softmax' op C2: segments (3) must divide the columns (8)}}
  %a = moe.softmax %x segments 3 : tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}

// -----
func.func @capacity_c1(%i: tensor<?x2xf32>) -> tensor<?x2xf32> {
  // expected-error @below {{'moe.capacity' op C1: ids and kept must be one [?,K] of i32, queue beside keys the same, found 'tensor<?x2xf32>' and 'tensor<?x2xf32>'}}
  %a = moe.capacity %i {groups = 4 : i64, mode = 0 : i32, value = 3.0 : f64, round = 1 : i32, scope = 0 : i32} : (tensor<?x2xf32>) -> tensor<?x2xf32>
  return %a : tensor<?x2xf32>
}

// -----
func.func @capacity_c2(%i: tensor<?x2xi32>, %r: tensor<?x3xf32>) -> tensor<?x2xi32> {
  // expected-error @below {{'moe.capacity' op C2: ranked must be [?,N] of f32 with N >= 4, found 'tensor<?x3xf32>'}}
  %a = moe.capacity %i ranked %r {groups = 4 : i64, mode = 0 : i32, value = 3.0 : f64, round = 1 : i32, scope = 0 : i32} : (tensor<?x2xi32>, tensor<?x3xf32>) -> tensor<?x2xi32>
  return %a : tensor<?x2xi32>
}

// -----
func.func @capacity_c3(%i: tensor<?x2xi32>) -> tensor<?x2xi32> {
  // expected-error @below {{'moe.capacity' op C3: times (1) and over (0) must be positive, 0 <= least (0) <= most (2147483647) and 0 <= value (3.000000e+00)}}
  %a = moe.capacity %i {groups = 4 : i64, over = 0 : i64, mode = 0 : i32, value = 3.0 : f64, round = 1 : i32, scope = 0 : i32} : (tensor<?x2xi32>) -> tensor<?x2xi32>
  return %a : tensor<?x2xi32>
}

// -----
func.func @capacity_c4(%i: tensor<?x2xi32>, %c: tensor<1xi32>) -> tensor<?x2xi32> {
  // expected-error @below {{'moe.capacity' op C4: places and mode given come together}}
  %a = moe.capacity %i places %c {groups = 4 : i64, mode = 0 : i32, value = 3.0 : f64, round = 1 : i32, scope = 0 : i32} : (tensor<?x2xi32>, tensor<1xi32>) -> tensor<?x2xi32>
  return %a : tensor<?x2xi32>
}

// -----
func.func @top_tokens_c1(%x: tensor<?x3xf32>) -> tensor<?x2xi32> {
  // expected-error @below {{'moe.top_tokens' op C1: the values must be [?,N] of f32 and the mask [?,N] of i32, found 'tensor<?x3xf32>' and 'tensor<?x2xi32>'}}
  %a = moe.top_tokens %x {mode = 0 : i32, value = 3.0 : f64, round = 1 : i32, scope = 0 : i32} : (tensor<?x3xf32>) -> tensor<?x2xi32>
  return %a : tensor<?x2xi32>
}

// -----
func.func @top_tokens_c2(%x: tensor<?x3xf32>, %p: tensor<?x1xf32>) -> tensor<?x3xi32> {
  // expected-error @below {{'moe.top_tokens' op C2: present must be [?,1] of i32, found 'tensor<?x1xf32>'}}
  %a = moe.top_tokens %x present %p {mode = 0 : i32, value = 3.0 : f64, round = 1 : i32, scope = 0 : i32} : (tensor<?x3xf32>, tensor<?x1xf32>) -> tensor<?x3xi32>
  return %a : tensor<?x3xi32>
}

// -----
func.func @top_tokens_c3(%x: tensor<?x3xf32>) -> tensor<?x3xi32> {
  // expected-error @below {{'moe.top_tokens' op C3: the mode must be fixed or share}}
  %a = moe.top_tokens %x {mode = 2 : i32, value = 3.0 : f64, round = 1 : i32, scope = 0 : i32} : (tensor<?x3xf32>) -> tensor<?x3xi32>
  return %a : tensor<?x3xi32>
}

// -----
func.func @token_reduce_c1(%x: tensor<?x3xi32>) -> tensor<?x3xi32> {
  // expected-error @below {{'moe.token_reduce' op C1: the values must be [?,N] of f32, found 'tensor<?x3xi32>'}}
  %a = moe.token_reduce sum %x over batch : tensor<?x3xi32>
  return %a : tensor<?x3xi32>
}

// -----
func.func @token_reduce_c2(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
  // expected-error @below {{'moe.token_reduce' op C2: the scope must be batch or sequence}}
  %a = moe.token_reduce sum %x over group : tensor<?x3xf32>
  return %a : tensor<?x3xf32>
}

// -----
func.func @slots_c1() -> !moe.route<4 groups, 6 choices> {
  // expected-error @below {{'moe.slots' op C1: the groups (4) must divide the choices (6)}}
  %a = moe.slots batch : !moe.route<4 groups, 6 choices>
  return %a : !moe.route<4 groups, 6 choices>
}

// -----
func.func @slots_c2() -> !moe.route<3 groups, 6 choices> {
  // expected-error @below {{'moe.slots' op C2: the scope must be batch or sequence}}
  %a = moe.slots group : !moe.route<3 groups, 6 choices>
  return %a : !moe.route<3 groups, 6 choices>
}

// -----
func.func @slot_inputs_c1(%x: tensor<?x8xf32>, %w: tensor<?x6xf32>, %r: !moe.route<3 groups, 6 choices>) -> tensor<?x8xf32> {
  // expected-error @below {{'moe.slot_inputs' op C1: the route must come from moe.slots}}
  %a = moe.slot_inputs %x weighted %w, %r : tensor<?x8xf32>, tensor<?x6xf32>, !moe.route<3 groups, 6 choices> -> tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}

// -----
func.func @slot_inputs_c2(%x: tensor<?x8xbf16>, %w: tensor<?x6xf32>) -> tensor<?x8xf32> {
  %r = moe.slots batch : !moe.route<3 groups, 6 choices, rows 0 0 6>
  // expected-error @below {{'moe.slot_inputs' op C2: x and the result must be one [?,H] of f32, bf16 or f16, found 'tensor<?x8xbf16>' and 'tensor<?x8xf32>'}}
  %a = moe.slot_inputs %x weighted %w, %r : tensor<?x8xbf16>, tensor<?x6xf32>, !moe.route<3 groups, 6 choices, rows 0 0 6> -> tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}

// -----
func.func @slot_inputs_c3(%x: tensor<?x8xf32>, %w: tensor<?x5xf32>) -> tensor<?x8xf32> {
  %r = moe.slots batch : !moe.route<3 groups, 6 choices, rows 0 0 6>
  // expected-error @below {{'moe.slot_inputs' op C3: the weights must be tensor<?x6xf32>, found 'tensor<?x5xf32>'}}
  %a = moe.slot_inputs %x weighted %w, %r : tensor<?x8xf32>, tensor<?x5xf32>, !moe.route<3 groups, 6 choices, rows 0 0 6> -> tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}

// -----
func.func @slot_rows_c1(%m: tensor<?x8xf32>) -> tensor<?x9xf32> {
  %r = moe.slots batch : !moe.route<3 groups, 6 choices, rows 0 0 6>
  // expected-error @below {{'moe.slot_rows' op C1: x and the result must be [?,M] and [?,N] of f32 with N <= M, found 'tensor<?x8xf32>' and 'tensor<?x9xf32>'}}
  %a = moe.slot_rows batch %m, %r of 6 : tensor<?x8xf32>, !moe.route<3 groups, 6 choices, rows 0 0 6> -> tensor<?x9xf32>
  return %a : tensor<?x9xf32>
}

// -----
func.func @slot_rows_c2(%m: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %r = moe.slots batch : !moe.route<3 groups, 6 choices, rows 0 0 6>
  // expected-error @below {{'moe.slot_rows' op C2: expected 6 slots as the route has, or a slot of 0..7 for each of them}}
  %a = moe.slot_rows batch %m, %r of 8 : tensor<?x8xf32>, !moe.route<3 groups, 6 choices, rows 0 0 6> -> tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}

// -----
func.func @slot_rows_c2_numbers(%m: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %r = moe.slots batch : !moe.route<1 groups, 2 choices, rows 0 0 2>
  // expected-error @below {{'moe.slot_rows' op C2: expected 2 slots as the route has, or a slot of 0..7 for each of them}}
  %a = moe.slot_rows batch %m, %r of 8 at [0, 8] : tensor<?x8xf32>, !moe.route<1 groups, 2 choices, rows 0 0 2> -> tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}

// -----
func.func @slot_rows_c3(%m: tensor<?x8xf32>, %r: !moe.route<1 groups, 2 choices>) -> tensor<?x8xf32> {
  // expected-error @below {{'moe.slot_rows' op C3: the scope must be batch or sequence}}
  %a = moe.slot_rows group %m, %r of 2 : tensor<?x8xf32>, !moe.route<1 groups, 2 choices> -> tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}

// -----
func.func @square_sums_c1(%w: tensor<4x8xf32>) -> tensor<5xf32> {
  // expected-error @below {{'moe.square_sums' op C1: expected a parameter [N,K] and [N] of f32, found 'tensor<4x8xf32>' and 'tensor<5xf32>'}}
  %a = moe.square_sums %w : tensor<4x8xf32> -> tensor<5xf32>
  return %a : tensor<5xf32>
}

// -----
func.func @token_total_c1_values(%x: tensor<?x3xi32>) -> tensor<3xi32> {
  // expected-error @below {{'moe.token_total' op C1: the values must be [?,N] of f32, or of i32 for a sum, found 'tensor<?x3xi32>'}}
  %a = moe.token_total max %x : tensor<?x3xi32> -> tensor<3xi32>
  return %a : tensor<3xi32>
}

// -----
func.func @token_total_c1_result(%x: tensor<?x3xf32>) -> tensor<4xf32> {
  // expected-error @below {{'moe.token_total' op C1: the result must be 'tensor<3xf32>', found 'tensor<4xf32>'}}
  %a = moe.token_total sum %x : tensor<?x3xf32> -> tensor<4xf32>
  return %a : tensor<4xf32>
}

// -----
func.func @columns_c2_numbers() -> tensor<?x3xi32> {
  // expected-error @below {{'moe.columns' op C2: 2 numbers for 3 columns}}
  %a = moe.columns of [3, 1] : tensor<?x3xi32>
  return %a : tensor<?x3xi32>
}
