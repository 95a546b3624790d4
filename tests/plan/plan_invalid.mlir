// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a layer must be for a launch plan: labels P1..P7 of PlanStages.h.
// RUN: moec-opt %s -split-input-file --moe-fuse-stages --moe-print-plan -verify-diagnostics

// expected-error @below {{'func.func' op P1: parameter w has stack "pile", axes "out_in", part "all"; expected single, per_expert, stacked, flat_rows or interleaved_columns; out_in or in_out; all, first_half, second_half, even or odd}}
func.func @plan_p1_storage(%x: tensor<?x8xf32> {moe.role = "x"}, %w: tensor<8x8xf32> {moe.role = "w", moe.storage = {stack = "pile"}}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  %y = moe.grouped_matmul %x : tensor<?x8xf32> by %w : tensor<8x8xf32> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----
// expected-error @below {{'func.func' op P1: parameter w has stack stacked but no expert axis}}
func.func @plan_p1_expert_axis(%x: tensor<?x8xf32> {moe.role = "x"}, %w: tensor<8x8xf32> {moe.role = "w", moe.storage = {stack = "stacked"}}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  %y = moe.grouped_matmul %x : tensor<?x8xf32> by %w : tensor<8x8xf32> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----
// expected-error @below {{'func.func' op P2: result y must be made by a stage of its own}}
func.func @plan_p2_stage(%x: tensor<?x8xf32> {moe.role = "x"}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  return %x : tensor<?x8xf32>
}

// -----
// expected-error @below {{'func.func' op P2: y has 4 columns, x has 8}}
func.func @plan_p2_columns(%x: tensor<?x8xf32> {moe.role = "x"}, %w: tensor<4x8xf32> {moe.role = "w"}) -> (tensor<?x4xf32> {moe.role = "y"}) {
  %y = moe.grouped_matmul %x : tensor<?x8xf32> by %w : tensor<4x8xf32> -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----
// expected-error @below {{'func.func' op P3: 72 buffers, 1 steps, 72 arguments of a step, 0 routes; at most 256, 256, 64, 16}}
func.func @plan_p3_arguments(%x: tensor<?x8xf32> {moe.role = "x"}, %b0: tensor<8xf32> {moe.role = "b0"}, %b1: tensor<8xf32> {moe.role = "b1"}, %b2: tensor<8xf32> {moe.role = "b2"}, %b3: tensor<8xf32> {moe.role = "b3"}, %b4: tensor<8xf32> {moe.role = "b4"}, %b5: tensor<8xf32> {moe.role = "b5"}, %b6: tensor<8xf32> {moe.role = "b6"}, %b7: tensor<8xf32> {moe.role = "b7"}, %b8: tensor<8xf32> {moe.role = "b8"}, %b9: tensor<8xf32> {moe.role = "b9"}, %b10: tensor<8xf32> {moe.role = "b10"}, %b11: tensor<8xf32> {moe.role = "b11"}, %b12: tensor<8xf32> {moe.role = "b12"}, %b13: tensor<8xf32> {moe.role = "b13"}, %b14: tensor<8xf32> {moe.role = "b14"}, %b15: tensor<8xf32> {moe.role = "b15"}, %b16: tensor<8xf32> {moe.role = "b16"}, %b17: tensor<8xf32> {moe.role = "b17"}, %b18: tensor<8xf32> {moe.role = "b18"}, %b19: tensor<8xf32> {moe.role = "b19"}, %b20: tensor<8xf32> {moe.role = "b20"}, %b21: tensor<8xf32> {moe.role = "b21"}, %b22: tensor<8xf32> {moe.role = "b22"}, %b23: tensor<8xf32> {moe.role = "b23"}, %b24: tensor<8xf32> {moe.role = "b24"}, %b25: tensor<8xf32> {moe.role = "b25"}, %b26: tensor<8xf32> {moe.role = "b26"}, %b27: tensor<8xf32> {moe.role = "b27"}, %b28: tensor<8xf32> {moe.role = "b28"}, %b29: tensor<8xf32> {moe.role = "b29"}, %b30: tensor<8xf32> {moe.role = "b30"}, %b31: tensor<8xf32> {moe.role = "b31"}, %b32: tensor<8xf32> {moe.role = "b32"}, %b33: tensor<8xf32> {moe.role = "b33"}, %b34: tensor<8xf32> {moe.role = "b34"}, %b35: tensor<8xf32> {moe.role = "b35"}, %b36: tensor<8xf32> {moe.role = "b36"}, %b37: tensor<8xf32> {moe.role = "b37"}, %b38: tensor<8xf32> {moe.role = "b38"}, %b39: tensor<8xf32> {moe.role = "b39"}, %b40: tensor<8xf32> {moe.role = "b40"}, %b41: tensor<8xf32> {moe.role = "b41"}, %b42: tensor<8xf32> {moe.role = "b42"}, %b43: tensor<8xf32> {moe.role = "b43"}, %b44: tensor<8xf32> {moe.role = "b44"}, %b45: tensor<8xf32> {moe.role = "b45"}, %b46: tensor<8xf32> {moe.role = "b46"}, %b47: tensor<8xf32> {moe.role = "b47"}, %b48: tensor<8xf32> {moe.role = "b48"}, %b49: tensor<8xf32> {moe.role = "b49"}, %b50: tensor<8xf32> {moe.role = "b50"}, %b51: tensor<8xf32> {moe.role = "b51"}, %b52: tensor<8xf32> {moe.role = "b52"}, %b53: tensor<8xf32> {moe.role = "b53"}, %b54: tensor<8xf32> {moe.role = "b54"}, %b55: tensor<8xf32> {moe.role = "b55"}, %b56: tensor<8xf32> {moe.role = "b56"}, %b57: tensor<8xf32> {moe.role = "b57"}, %b58: tensor<8xf32> {moe.role = "b58"}, %b59: tensor<8xf32> {moe.role = "b59"}, %b60: tensor<8xf32> {moe.role = "b60"}, %b61: tensor<8xf32> {moe.role = "b61"}, %b62: tensor<8xf32> {moe.role = "b62"}, %b63: tensor<8xf32> {moe.role = "b63"}, %b64: tensor<8xf32> {moe.role = "b64"}, %b65: tensor<8xf32> {moe.role = "b65"}, %b66: tensor<8xf32> {moe.role = "b66"}, %b67: tensor<8xf32> {moe.role = "b67"}, %b68: tensor<8xf32> {moe.role = "b68"}, %b69: tensor<8xf32> {moe.role = "b69"}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  %y = moe.map (%a = %x elem : tensor<?x8xf32>, %c0 = %b0 col : tensor<8xf32>, %c1 = %b1 col : tensor<8xf32>, %c2 = %b2 col : tensor<8xf32>, %c3 = %b3 col : tensor<8xf32>, %c4 = %b4 col : tensor<8xf32>, %c5 = %b5 col : tensor<8xf32>, %c6 = %b6 col : tensor<8xf32>, %c7 = %b7 col : tensor<8xf32>, %c8 = %b8 col : tensor<8xf32>, %c9 = %b9 col : tensor<8xf32>, %c10 = %b10 col : tensor<8xf32>, %c11 = %b11 col : tensor<8xf32>, %c12 = %b12 col : tensor<8xf32>, %c13 = %b13 col : tensor<8xf32>, %c14 = %b14 col : tensor<8xf32>, %c15 = %b15 col : tensor<8xf32>, %c16 = %b16 col : tensor<8xf32>, %c17 = %b17 col : tensor<8xf32>, %c18 = %b18 col : tensor<8xf32>, %c19 = %b19 col : tensor<8xf32>, %c20 = %b20 col : tensor<8xf32>, %c21 = %b21 col : tensor<8xf32>, %c22 = %b22 col : tensor<8xf32>, %c23 = %b23 col : tensor<8xf32>, %c24 = %b24 col : tensor<8xf32>, %c25 = %b25 col : tensor<8xf32>, %c26 = %b26 col : tensor<8xf32>, %c27 = %b27 col : tensor<8xf32>, %c28 = %b28 col : tensor<8xf32>, %c29 = %b29 col : tensor<8xf32>, %c30 = %b30 col : tensor<8xf32>, %c31 = %b31 col : tensor<8xf32>, %c32 = %b32 col : tensor<8xf32>, %c33 = %b33 col : tensor<8xf32>, %c34 = %b34 col : tensor<8xf32>, %c35 = %b35 col : tensor<8xf32>, %c36 = %b36 col : tensor<8xf32>, %c37 = %b37 col : tensor<8xf32>, %c38 = %b38 col : tensor<8xf32>, %c39 = %b39 col : tensor<8xf32>, %c40 = %b40 col : tensor<8xf32>, %c41 = %b41 col : tensor<8xf32>, %c42 = %b42 col : tensor<8xf32>, %c43 = %b43 col : tensor<8xf32>, %c44 = %b44 col : tensor<8xf32>, %c45 = %b45 col : tensor<8xf32>, %c46 = %b46 col : tensor<8xf32>, %c47 = %b47 col : tensor<8xf32>, %c48 = %b48 col : tensor<8xf32>, %c49 = %b49 col : tensor<8xf32>, %c50 = %b50 col : tensor<8xf32>, %c51 = %b51 col : tensor<8xf32>, %c52 = %b52 col : tensor<8xf32>, %c53 = %b53 col : tensor<8xf32>, %c54 = %b54 col : tensor<8xf32>, %c55 = %b55 col : tensor<8xf32>, %c56 = %b56 col : tensor<8xf32>, %c57 = %b57 col : tensor<8xf32>, %c58 = %b58 col : tensor<8xf32>, %c59 = %b59 col : tensor<8xf32>, %c60 = %b60 col : tensor<8xf32>, %c61 = %b61 col : tensor<8xf32>, %c62 = %b62 col : tensor<8xf32>, %c63 = %b63 col : tensor<8xf32>, %c64 = %b64 col : tensor<8xf32>, %c65 = %b65 col : tensor<8xf32>, %c66 = %b66 col : tensor<8xf32>, %c67 = %b67 col : tensor<8xf32>, %c68 = %b68 col : tensor<8xf32>, %c69 = %b69 col : tensor<8xf32>) -> tensor<?x8xf32> {
    moe.yield %a : f32
  }
  return %y : tensor<?x8xf32>
}

// -----
// expected-error @below {{'func.func' op P4: parameter b is used as a vector, which must be f32 of rank 1 or 2, found 'tensor<8xbf16>'}}
func.func @plan_p4_vector_type(%x: tensor<?x8xf32> {moe.role = "x"}, %b: tensor<8xbf16> {moe.role = "b"}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  %y = moe.map (%a = %x elem : tensor<?x8xf32>, %c = %b col : tensor<8xbf16>) -> tensor<?x8xf32> {
    moe.yield %a : f32
  }
  return %y : tensor<?x8xf32>
}

// -----
// expected-error @below {{'func.func' op P5: ids have 2 columns, weights 3}}
func.func @plan_p5_columns(%x: tensor<?x8xf32> {moe.role = "x"}) -> (tensor<?x8xf32> {moe.role = "y"}, tensor<?x2xi32> {moe.role = "ids"}, tensor<?x3xf32> {moe.role = "weights"}) {
  %y = moe.softmax %x : tensor<?x8xf32>
  %i = moe.top_k 2 of %x : tensor<?x8xf32> -> tensor<?x2xi32>
  %j = moe.top_k 3 of %x : tensor<?x8xf32> -> tensor<?x3xi32>
  %w = moe.take %x at %j : tensor<?x8xf32>, tensor<?x3xi32> -> tensor<?x3xf32>
  return %y, %i, %w : tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x3xf32>
}

// -----
// expected-error @below {{'func.func' op P5: ids have 2 columns, expert_weights 3}}
func.func @plan_p5_input_columns(%x: tensor<?x8xf32> {moe.role = "x"}, %w: tensor<?x3xf32> {moe.role = "expert_weights"}) -> (tensor<?x8xf32> {moe.role = "y"}, tensor<?x2xi32> {moe.role = "ids"}, tensor<?x2xf32> {moe.role = "weights"}) {
  %y = moe.softmax %x : tensor<?x8xf32>
  %i = moe.top_k 2 of %x : tensor<?x8xf32> -> tensor<?x2xi32>
  %v = moe.take %x at %i : tensor<?x8xf32>, tensor<?x2xi32> -> tensor<?x2xf32>
  return %y, %i, %v : tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>
}

// -----
// expected-error @below {{'func.func' op P7: logits have 8 columns, noise 3}}
func.func @plan_p7_columns(%x: tensor<?x8xf32> {moe.role = "x"}, %n: tensor<?x3xf32> {moe.role = "noise"}) -> (tensor<?x8xf32> {moe.role = "y"}, tensor<?x8xf32> {moe.role = "logits"}) {
  %y = moe.softmax %x : tensor<?x8xf32>
  %z = moe.softmax %y : tensor<?x8xf32>
  return %y, %z : tensor<?x8xf32>, tensor<?x8xf32>
}

// -----
// expected-error @below {{'func.func' op P6: spec_hash must be 64 hex digits, found "12"}}
func.func @plan_p6_hash(%x: tensor<?x8xf32> {moe.role = "x"}) -> (tensor<?x8xf32> {moe.role = "y"}) attributes {moe.layer = {spec_hash = "12"}} {
  %y = moe.softmax %x : tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
