// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// dispatch, gather, combine, !moe.route: what their labels refuse.
// RUN: moec-opt %s -split-input-file -verify-diagnostics

// expected-error @below {{C1: groups (0) and choices (2) must be 1..65536}}
func.func private @route_c1_groups(!moe.route<0 groups, 2 choices>)

// -----
func.func @dispatch_c1_type(%i: tensor<?x2xf32>) -> !moe.route<4 groups, 2 choices> {
  // expected-error @below {{'moe.dispatch' op C1: the ids must be a [?,K] tensor of i32, found 'tensor<?x2xf32>'}}
  %r = moe.dispatch %i : tensor<?x2xf32> -> !moe.route<4 groups, 2 choices>
  return %r : !moe.route<4 groups, 2 choices>
}

// -----
func.func @dispatch_c2_choices(%i: tensor<?x3xi32>) -> !moe.route<4 groups, 2 choices> {
  // expected-error @below {{'moe.dispatch' op C2: the ids have 3 choices, the route 2}}
  %r = moe.dispatch %i : tensor<?x3xi32> -> !moe.route<4 groups, 2 choices>
  return %r : !moe.route<4 groups, 2 choices>
}

// -----
func.func @gather_c1_shapes(%w: tensor<?x3xf32>, %r: !moe.route<4 groups, 2 choices>) -> tensor<?xf32> {
  // expected-error @below {{'moe.gather' op C1: cannot bring 'tensor<?x3xf32>' to rows as 'tensor<?xf32>'; expected [?,H] -> [?,H], [?] -> [?], [?,2] -> [?] or [?,2*M] -> [?,M]}}
  %c = moe.gather %w, %r : tensor<?x3xf32>, !moe.route<4 groups, 2 choices> -> tensor<?xf32>
  return %c : tensor<?xf32>
}

// -----
func.func @gather_c1_columns(%w: tensor<?x6xf32>, %r: !moe.route<4 groups, 2 choices>) -> tensor<?x4xf32> {
  // expected-error @below {{'moe.gather' op C1: cannot bring 'tensor<?x6xf32>' to rows as 'tensor<?x4xf32>'; expected [?,H] -> [?,H], [?] -> [?], [?,2] -> [?] or [?,2*M] -> [?,M]}}
  %c = moe.gather %w, %r : tensor<?x6xf32>, !moe.route<4 groups, 2 choices> -> tensor<?x4xf32>
  return %c : tensor<?x4xf32>
}

// -----
func.func @combine_c1_columns(%o: tensor<?x8xf32>, %r: !moe.route<4 groups, 2 choices>) -> tensor<?x4xf32> {
  // expected-error @below {{'moe.combine' op C1: rows and result must be [?,H] of f32, bf16 or f16, found 'tensor<?x8xf32>' and 'tensor<?x4xf32>'}}
  %a = moe.combine %o : tensor<?x8xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x4xf32>
  return %a : tensor<?x4xf32>
}

// -----
func.func @combine_c2_weights(%o: tensor<?x8xf32>, %r: !moe.route<4 groups, 2 choices>, %w: tensor<?x3xf32>) -> tensor<?x8xf32> {
  // expected-error @below {{'moe.combine' op C2: the weights must be tensor<?x2xf32>, found 'tensor<?x3xf32>'}}
  %a = moe.combine %o : tensor<?x8xf32> over %r : !moe.route<4 groups, 2 choices> weighted %w : tensor<?x3xf32> -> tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}

// -----
func.func @combine_c3_without_epilogue(%o: tensor<?x8xf32>, %r: !moe.route<4 groups, 2 choices>) -> tensor<?x8xbf16> {
  // expected-error @below {{'moe.combine' op C3: without an epilogue the result must be f32 and there are no operands, found 'tensor<?x8xbf16>' and 0}}
  %a = moe.combine %o : tensor<?x8xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x8xbf16>
  return %a : tensor<?x8xbf16>
}

// -----
func.func @combine_c4_kinds(%o: tensor<?x8xf32>, %r: !moe.route<4 groups, 2 choices>, %s: tensor<?x2xf32>) -> tensor<?x8xf32> {
  // expected-error @below {{'moe.combine' op C4: operand 0 is segment, expected elem, row, col or scalar}}
  %a = moe.combine %o : tensor<?x8xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x8xf32> epilogue(%acc, %e = %s segment : tensor<?x2xf32>) {
    moe.yield %acc : f32
  }
  return %a : tensor<?x8xf32>
}
