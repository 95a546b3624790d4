// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.map: what its labels refuse.
// RUN: moec-opt %s -split-input-file -verify-diagnostics

func.func @map_c1_elem_shape(%x: tensor<?x4xf32>) -> tensor<?x8xf32> {
  // expected-error @below {{'moe.map' op C1: operand 0 of kind elem must have shape [?,8], found 'tensor<?x4xf32>'}}
  %y = moe.map (%a = %x elem : tensor<?x4xf32>) -> tensor<?x8xf32> {
    moe.yield %a : f32
  }
  return %y : tensor<?x8xf32>
}

// -----
func.func @map_c1_col_shape(%x: tensor<7xf32>) -> tensor<?x8xf32> {
  // expected-error @below {{'moe.map' op C1: operand 0 of kind col must have shape [8] or [G,8], found 'tensor<7xf32>'}}
  %y = moe.map (%a = %x col : tensor<7xf32>) -> tensor<?x8xf32> {
    moe.yield %a : f32
  }
  return %y : tensor<?x8xf32>
}

// -----
func.func @map_c1_segment_divides(%x: tensor<?x3xf32>) -> tensor<?x8xf32> {
  // expected-error @below {{'moe.map' op C1: operand 0 of kind segment must have shape [?,S] with S a divisor of 8, found 'tensor<?x3xf32>'}}
  %y = moe.map (%a = %x segment : tensor<?x3xf32>) -> tensor<?x8xf32> {
    moe.yield %a : f32
  }
  return %y : tensor<?x8xf32>
}

// -----
func.func @map_c1_result_type(%x: tensor<?x8xf64>) -> tensor<?x8xf64> {
  // expected-error @below {{'moe.map' op C1: the result must be [?] or [?,N] of f32, bf16, f16, i32 or i1, found 'tensor<?x8xf64>'}}
  %y = moe.map (%a = %x elem : tensor<?x8xf64>) -> tensor<?x8xf64> {
    moe.yield %a : f64
  }
  return %y : tensor<?x8xf64>
}

// -----
func.func @map_c2_yield_type(%x: tensor<?x8xbf16>) -> tensor<?x8xf32> {
  // expected-error @below {{'moe.map' op C2: the region must yield one 'f32'}}
  %y = moe.map (%a = %x elem : tensor<?x8xbf16>) -> tensor<?x8xf32> {
    moe.yield %a : bf16
  }
  return %y : tensor<?x8xf32>
}

// -----
func.func @map_c3_scalar_ops_only(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = moe.map (%a = %x elem : tensor<?x8xf32>) -> tensor<?x8xf32> {
    // expected-error @below {{'vector.broadcast' op C3: a region of moe.map may hold scalar ops of arith, except remf, and math.{exp,expm1,log,log1p,tanh,erf,sqrt,absf,copysign} only}}
    %v = vector.broadcast %a : f32 to vector<4xf32>
    moe.yield %a : f32
  }
  return %y : tensor<?x8xf32>
}

// -----
func.func @map_text_kind(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error @below {{operand kind must be elem, row, col, segment or scalar, found 'column'}}
  %y = moe.map (%a = %x column : tensor<?x8xf32>) -> tensor<?x8xf32> {
    moe.yield %a : f32
  }
  return %y : tensor<?x8xf32>
}
