// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a layer as a whole must be: labels L1..L10 of LayerChecks.h and F2.
// RUN: moec-opt %s -split-input-file --moe-fuse-stages --moe-print-plan -verify-diagnostics

// expected-error @below {{L1: a layer is one func.func with one block}}
module {
}

// -----
// expected-error @below {{'func.func' op L2: argument 0 must be a tensor with a moe.role}}
func.func @layer_l2_role(%x: tensor<?x8xf32>) {
  return
}

// -----
// expected-error @below {{'func.func' op L2: the role of argument 1 must be of a-z, 0-9, _ and ., found "w\0A*/"}}
func.func @layer_l2_role_letters(%x: tensor<?x8xf32> {moe.role = "x"}, %w: tensor<4x8xf32> {moe.role = "w\0A*/"}) {
  return
}

// -----
// expected-error @below {{'func.func' op L2: parameter w must have a static shape of rank 1..3 of f32, bf16 or f16, found 'tensor<?x8xf32>'}}
func.func @layer_l2_parameter(%x: tensor<?x8xf32> {moe.role = "x"}, %w: tensor<?x8xf32> {moe.role = "w"}) {
  return
}

// -----
// expected-error @below {{'func.func' op L3: no result has the moe.role "y"}}
func.func @layer_l3_no_y(%x: tensor<?x8xf32> {moe.role = "x"}) {
  return
}

// -----
// expected-error @below {{'func.func' op L3: result 0 must be one of y [?,H] f32, bf16 or f16, logits [?,n] f32, ids [?,K] i32, weights [?,K] f32, probabilities [?,n] f32, choice_counts [n] i32, losses [n] f32, logit_mean [1] f32, logit_max [1] f32, diversity [1] f32, dropped_tokens [1] i32, found "z" 'tensor<?x8xf32>'}}
func.func @layer_l3_role(%x: tensor<?x8xf32> {moe.role = "x"}) -> (tensor<?x8xf32> {moe.role = "z"}) {
  return %x : tensor<?x8xf32>
}

// -----
func.func @layer_l4_ops(%x: tensor<?x8xf32> {moe.role = "x"}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  // expected-error @below {{'arith.addf' op L4: a layer holds only moe ops}}
  %y = arith.addf %x, %x : tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----
func.func @layer_l5_rows(%x: tensor<?x8xf32> {moe.role = "x"}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  %i = moe.top_k 2 of %x : tensor<?x8xf32> -> tensor<?x2xi32>
  %r = moe.dispatch %i : tensor<?x2xi32> -> !moe.route<4 groups, 2 choices>
  %g = moe.gather %x, %r : tensor<?x8xf32>, !moe.route<4 groups, 2 choices> -> tensor<?x8xf32>
  // expected-error @below {{'moe.map' op L5: operand 'tensor<?x8xf32>' has rows of a route where tokens are expected}}
  %y = moe.map (%a = %x elem : tensor<?x8xf32>, %b = %g elem : tensor<?x8xf32>) -> tensor<?x8xf32> {
    moe.yield %a : f32
  }
  return %y : tensor<?x8xf32>
}

// -----
// expected-error @below {{'func.func' op L5: result 'tensor<?x8xf32>' has rows of a route, results are tokens}}
func.func @layer_l5_result(%x: tensor<?x8xf32> {moe.role = "x"}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  %i = moe.top_k 2 of %x : tensor<?x8xf32> -> tensor<?x2xi32>
  %r = moe.dispatch %i : tensor<?x2xi32> -> !moe.route<4 groups, 2 choices>
  %g = moe.gather %x, %r : tensor<?x8xf32>, !moe.route<4 groups, 2 choices> -> tensor<?x8xf32>
  return %g : tensor<?x8xf32>
}

// -----
func.func @layer_l6_groups(%x: tensor<?x8xf32> {moe.role = "x"}, %b: tensor<4x8xf32> {moe.role = "b"}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  // expected-error @below {{'moe.map' op L6: operand 1 has a row for each of 4 groups, but the rows are tokens}}
  %y = moe.map (%a = %x elem : tensor<?x8xf32>, %c = %b col : tensor<4x8xf32>) -> tensor<?x8xf32> {
    moe.yield %a : f32
  }
  return %y : tensor<?x8xf32>
}

// -----
// expected-error @below {{L2: moe.members of argument 1 must hold a role, one expert for each group of 'tensor<2x4x8xf32>' and the shapes of their tensors}}
func.func @layer_l2_members_shapes(%x: tensor<?x8xf32> {moe.role = "x"}, %b: tensor<2x4x8xf32> {moe.role = "experts.class0.up", moe.members = {role = "experts.up", experts = array<i64: 0, 1>, shapes = array<i64: 4, 8, 5, 8>}}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  %y = moe.softmax %x : tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----
// expected-error @below {{L2: moe.members of argument 1 must hold a role, one expert for each group of 'tensor<2x4x8xf32>' and the shapes of their tensors}}
func.func @layer_l2_members_experts(%x: tensor<?x8xf32> {moe.role = "x"}, %b: tensor<2x4x8xf32> {moe.role = "experts.class0.up", moe.members = {role = "experts.up", experts = array<i64: 0>, shapes = array<i64: 4, 8>}}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  %y = moe.softmax %x : tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----
func.func @layer_l7_k(%x: tensor<?x300xf32> {moe.role = "x"}) -> (tensor<?x300xf32> {moe.role = "y"}) {
  // expected-error @below {{'moe.top_k' op L7: k (257) is larger than 256}}
  %i = moe.top_k 257 of %x : tensor<?x300xf32> -> tensor<?x257xi32>
  %y = moe.softmax %x : tensor<?x300xf32>
  return %y : tensor<?x300xf32>
}

// -----
func.func @layer_f2_columns_per_group(%x: tensor<?x8xf32> {moe.role = "x"}, %b: tensor<4x8xbf16> {moe.role = "b"}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  %i = moe.top_k 2 of %x : tensor<?x8xf32> -> tensor<?x2xi32>
  %r = moe.dispatch %i : tensor<?x2xi32> -> !moe.route<4 groups, 2 choices>
  %g = moe.gather %x, %r : tensor<?x8xf32>, !moe.route<4 groups, 2 choices> -> tensor<?x8xf32>
  // expected-error @below {{'moe.map' op F2: operand 1 has columns per group of another type than f32, which only the epilogue of a matmul of that route can use}}
  %h = moe.map (%a = %g elem : tensor<?x8xf32>, %c = %b col : tensor<4x8xbf16>) -> tensor<?x8xf32> {
    moe.yield %a : f32
  }
  %y = moe.combine %h : tensor<?x8xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----
func.func @layer_l8_read(%x: tensor<?x8xf32> {moe.role = "x"}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  %t = moe.token_total sum %x : tensor<?x8xf32> -> tensor<8xf32>
  // expected-error @below {{'moe.map' op L8: a token_total is a result of the layer, no stage reads it}}
  %y = moe.map (%a = %x elem : tensor<?x8xf32>, %b = %t col : tensor<8xf32>) -> tensor<?x8xf32> {
    moe.yield %a : f32
  }
  return %y : tensor<?x8xf32>
}

// -----
// expected-error @below {{'func.func' op L8: result 'tensor<4xf32>' is of the whole call, which only a token_total makes}}
func.func @layer_l8_made(%x: tensor<?x8xf32> {moe.role = "x"}, %w: tensor<4x8xf32> {moe.role = "w"}) -> (tensor<?x8xf32> {moe.role = "y"}, tensor<4xf32> {moe.role = "losses"}) {
  %y = moe.softmax %x : tensor<?x8xf32>
  %s = moe.square_sums %w : tensor<4x8xf32> -> tensor<4xf32>
  return %y, %s : tensor<?x8xf32>, tensor<4xf32>
}

// -----
func.func @layer_l9(%x: tensor<?x8xf32> {moe.role = "x"}, %w: tensor<8x8xf32> {moe.role = "w"}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  // expected-error @below {{'moe.grouped_matmul' op L9: belongs to backward passes; moec makes them from the forward layer}}
  %y = moe.grouped_matmul %x : tensor<?x8xf32> by %w : tensor<8x8xf32> transposed -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----
func.func @layer_l9_gradient_of(%x: tensor<?x8xf32> {moe.role = "x"}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  // expected-error @below {{'moe.map' op L9: belongs to backward passes; moec makes them from the forward layer}}
  %y = moe.map (%a = %x elem : tensor<?x8xf32>) -> tensor<?x8xf32> {
    %b = moe.gradient_of %a as %a : f32
    moe.yield %b : f32
  }
  return %y : tensor<?x8xf32>
}

// -----
// expected-error @below {{'func.func' op L3: ids and weights come together, found only ids}}
func.func @layer_l3_ids(%x: tensor<?x8xf32> {moe.role = "x"}) -> (tensor<?x8xf32> {moe.role = "y"}, tensor<?x2xi32> {moe.role = "ids"}) {
  %i = moe.top_k 2 of %x : tensor<?x8xf32> -> tensor<?x2xi32>
  return %x, %i : tensor<?x8xf32>, tensor<?x2xi32>
}

// -----
func.func @layer_l10_scope(%x: tensor<?x8xf32> {moe.role = "x"}, %m: tensor<?x8xf32> {moe.role = "output_mask"}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  %r = moe.slots batch : !moe.route<2 groups, 2 choices, rows 0 0 2>
  // expected-error @below {{'moe.slot_rows' op L10: the route must come from slots of scope sequence}}
  %a = moe.slot_rows sequence %m, %r of 2 : tensor<?x8xf32>, !moe.route<2 groups, 2 choices, rows 0 0 2> -> tensor<?x8xf32>
  %y = moe.combine %a : tensor<?x8xf32> over %r : !moe.route<2 groups, 2 choices, rows 0 0 2> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----
func.func @layer_l10_tokens(%x: tensor<?x8xf32> {moe.role = "x"}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  %r = moe.slots batch : !moe.route<2 groups, 2 choices, rows 0 0 2>
  // expected-error @below {{'moe.slot_rows' op L10: x must be a mask of the layer that slot_rows alone reads, with 2 slots of each scope}}
  %a = moe.slot_rows batch %x, %r of 2 : tensor<?x8xf32>, !moe.route<2 groups, 2 choices, rows 0 0 2> -> tensor<?x8xf32>
  %y = moe.combine %a : tensor<?x8xf32> over %r : !moe.route<2 groups, 2 choices, rows 0 0 2> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----
func.func @layer_l10_shared(%x: tensor<?x8xf32> {moe.role = "x"}, %m: tensor<?x8xf32> {moe.role = "output_mask"}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  %r = moe.slots batch : !moe.route<2 groups, 2 choices, rows 0 0 2>
  %s = moe.softmax %m : tensor<?x8xf32>
  // expected-error @below {{'moe.slot_rows' op L10: x must be a mask of the layer that slot_rows alone reads, with 2 slots of each scope}}
  %a = moe.slot_rows batch %m, %r of 2 : tensor<?x8xf32>, !moe.route<2 groups, 2 choices, rows 0 0 2> -> tensor<?x8xf32>
  %y = moe.combine %a : tensor<?x8xf32> over %r : !moe.route<2 groups, 2 choices, rows 0 0 2> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
