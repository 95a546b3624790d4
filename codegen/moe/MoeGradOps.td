// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ops that backward passes need besides those of forward, and `apply`. MoeOps.td includes this file and defines the
// letters.
//
// Gradients of the other ops are compositions (grad/GradientRules.h has the table).

#ifndef MOEC_MOE_GRAD_OPS
#define MOEC_MOE_GRAD_OPS

def Moe_ApplyOp : Moe_Op<"apply", [Pure, SameOperandsAndResultType]> {
  let summary = "a scalar function of templates/functions by name, or its derivative";
  let description = [{
    y = f(x), or with `derivative` y = f'(x)                 f32, inside a region

    Only layers that are differentiated have it, between `build` and `grad`, which puts the bodies in its place: a
    derivative of a body would not be exact where the body keeps overflow out.
      C1  x is f32
  }];
  let arguments = (ins AnyType:$x, StrAttr:$function, UnitAttr:$derivative);
  let results = (outs AnyType:$result);
  let assemblyFormat = "$function (`derivative` $derivative^)? $x attr-dict `:` type($x)";
  let hasVerifier = 1;
}

def Moe_GradientOfOp : Moe_Op<"gradient_of", [Pure, AllTypesMatch<["value", "of", "result"]>]> {
  let summary = "a scalar whose gradient is that of another";
  let description = [{
    y = value          d of = d y, d value = 0          f32, inside a region

    Weights that are fixed but learn as if they were their scores. Only layers that are differentiated have it, as
    `apply`.
      C1  the values are f32
  }];
  let arguments = (ins AnyType:$value, AnyType:$of);
  let results = (outs AnyType:$result);
  let assemblyFormat = "$value `as` $of attr-dict `:` type($value)";
  let hasVerifier = 1;
}

def Moe_GroupedOuterOp : Moe_Op<"grouped_outer", [Pure]> {
  let summary = "columns of A times columns of B, over the rows of every group";
  let description = [{
    out[g,m,n] = sum over the rows r of group g of A[r,m] * B[r,n]          ascending r, f32; 0 for a group without rows

    Without a route there is one group, of all rows. The gradient of a grouped_matmul's matrices: A is that of its
    result, B its A. The groups in `frozen` are not computed and 0. `gathered_a`, `gathered_b`: A or B [T,M] are tokens,
    and the row r of them is that of its token, row_token[r].

    Shapes  A [R,M], B [R,N] of one type -> [G,M,N] f32, or [M,N] without a route or where G = 1
      C1  A and B are [?,M] and [?,N] of the same type, f32, bf16 or f16
      C2  the result is f32 and has the shape above
      C3  frozen groups are 0..G-1
      C4  gathered_a and gathered_b need a route
    Example: tests/moe/grouped_outer.mlir
  }];
  let arguments = (ins AnyRankedTensor:$a, AnyRankedTensor:$b, Optional<Moe_RouteType>:$route,
                       OptionalAttr<DenseI64ArrayAttr>:$frozen, UnitAttr:$gathered_a, UnitAttr:$gathered_b);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $a `,` $b (`over` $route^ `:` qualified(type($route)) `,`):(`:`)? type($a) `,` type($b) attr-dict `->` type($result)
  }];
  let hasVerifier = 1;
}

def Moe_GroupSumOp : Moe_Op<"group_sum", [Pure]> {
  let summary = "sum of every column over the rows of every group, or over all rows of a route";
  let description = [{
    out[g,n] = sum over the rows r of group g of x[r,n]          ascending r; 0 for a group without rows
    out[n]   = sum over all rows r of x[r,n]
    The groups in `frozen` are not computed and 0.

    Shapes  x [R,N] f32 -> [G,N] or [N] f32
      C1  x is a [?,N] tensor of f32, the result is f32 and has the shape above
      C2  frozen groups are 0..G-1, and the result is per group
    Example: tests/moe/group_sum.mlir
  }];
  let arguments = (ins AnyRankedTensor:$input, Moe_RouteType:$route, OptionalAttr<DenseI64ArrayAttr>:$frozen);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `over` $route attr-dict `:` type($input) `,` qualified(type($route)) `->` type($result)";
  let hasVerifier = 1;
}

def Moe_RowsOfOp : Moe_Op<"rows_of", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "a saved tensor, as the rows of a route";
  let description = [{
    out[r,n] = x[r,n]

    What forward saved per row comes back as an argument; this says of which route its rows are. The route has as many
    rows as x: it is made of the same ids.

    Shapes  x [R,N] -> the same
      C1  x is a [?,N] or [?] tensor
    Example: tests/moe/rows_of.mlir
  }];
  let arguments = (ins AnyRankedTensor:$input, Moe_RouteType:$route);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `over` $route attr-dict `:` type($input) `,` qualified(type($route))";
  let hasVerifier = 1;
}

def Moe_SlotValuesOp : Moe_Op<"slot_values", [Pure]> {
  let summary = "values of rows, back in their slots";
  let description = [{
    out[t,j] = x[slot_row[t*K+j]];   0 where the slot has no row

    Shapes  x [R] f32, a route of K choices -> [T,K] f32
      C1  x is a [?] tensor of f32
      C2  the result is a [?,K] tensor of f32
    Example: tests/moe/slot_values.mlir
  }];
  let arguments = (ins AnyRankedTensor:$input, Moe_RouteType:$route);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `,` $route attr-dict `:` type($input) `,` qualified(type($route)) `->` type($result)";
  let hasVerifier = 1;
}

def Moe_SlotProductsOp : Moe_Op<"slot_products", [Pure]> {
  let summary = "products of a token with the rows of its slots";
  let description = [{
    out[t,j] = sum_h a[t,h] * rows[slot_row[t*K+j], h];   0 where the slot has no row          f32, ascending h

    Shapes  a [T,H], rows [R,H], each f32, bf16 or f16, a route of K choices -> [T,K] f32
      C1  a and rows are [?,H] of f32, bf16 or f16
      C2  the result is a [?,K] tensor of f32
    Example: tests/moe/slot_products.mlir
  }];
  let arguments = (ins AnyRankedTensor:$a, AnyRankedTensor:$rows, Moe_RouteType:$route);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $a `,` $rows `over` $route attr-dict `:` type($a) `,` type($rows) `,` qualified(type($route)) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Moe_ParameterSumOp : Moe_Op<"parameter_sum", [Pure, SameOperandsAndResultType]> {
  let summary = "sum of gradients of one parameter";
  let description = [{
    out = v_0 + v_1 + ...          in this order

    Shapes  tensors of one static shape, f32 -> the same
      C1  the operands are static tensors of f32, and there is at least one
    Example: tests/moe/parameter_sum.mlir
  }];
  let arguments = (ins Variadic<AnyRankedTensor>:$inputs);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$inputs attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Moe_ScaledRowsOp : Moe_Op<"scaled_rows", [Pure]> {
  let summary = "rows of a parameter matrix times a number each";
  let description = [{
    out[n,k] = factor * v[n] * w[n,k]

    The gradient of square_sums: factor 2.

    Shapes  w [N,K], a parameter of f32, bf16 or f16, v [N] f32 -> [N,K] f32
      C1  w is [N,K], v [N] of f32, the result [N,K] of f32
    Example: tests/moe/parameter_sum.mlir
  }];
  let arguments = (ins AnyRankedTensor:$matrix, AnyRankedTensor:$values, F64Attr:$factor);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$factor $matrix `by` $values attr-dict `:` type($matrix) `,` type($values) `->` type($result)";
  let hasVerifier = 1;
}

#endif
