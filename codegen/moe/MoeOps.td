// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The moe dialect: what a layer computes. Generic ops on tensors; a model's gating is a composition of them, never an
// op of its own.
//
// Letters: T tokens, E experts, K choices per token, H hidden, R rows of a route, G groups, N columns, S segments.
// T and R are the dynamic extents `?`; every other extent is static. All floating arithmetic is f32: f32 and bf16 are
// element types of storage, and regions convert them by arith.extf and arith.truncf.

#ifndef MOEC_MOE_OPS
#define MOEC_MOE_OPS

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Moe_Dialect : Dialect {
  let name = "moe";
  let cppNamespace = "::moec::moe";
  let summary = "what a Mixture-of-Experts layer computes: row ops, routing, grouped matmuls";
  let description = [{
    A layer is one `func.func`. Arguments carry `moe.role`: "x" for the activations, the name of a further input of a
    call (LayerInputs.h: "noise", "token_ids", ...), any other name for a parameter. `moe.storage` ({tensor, stack,
    axes, part} strings) may give a parameter's storage in a checkpoint. `moe.members` ({role, experts, shapes}) says
    that a parameter [G,...] consists of one tensor ROLE.e for each of G experts, each of its own shape and padded with
    zeros. Results carry `moe.role` "y", "logits", "ids" or "weights", or the name of a report
    (runtime/moec_outputs.h). Ops that only reports need run only in calls that ask for one of them. The function's
    `moe.layer` dictionary may hold `spec_hash` and `text_hash`, 64 hex digits each (LayerIdentity.h).
    Example: tests/moe/tiny.mlir.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

class Moe_Op<string mnemonic, list<Trait> traits = []> : Op<Moe_Dialect, mnemonic, traits>;

// ---- types and attributes
// --------------------------------------------------------------------------------------------

def Moe_RouteType : TypeDef<Moe_Dialect, "Route"> {
  let mnemonic = "route";
  let summary = "which rows every group has: offsets [G+1], row_token [R], row_slot [R], slot_row [T*K], all i32";
  let description = [{
    A row r of group g is one (token, choice) pair with ids[token, choice] = g; rows of a group are in ascending
    slot order, slot = token*K + choice. Slots whose id is outside 0..G-1 make no row.
    R <= rowsPerToken * T + rowsPerSequence * B + rowsFixed, B sequences; without them K * T.

      !moe.route<8 groups, 2 choices>      !moe.route<8 groups, 8 choices, rows 2 0 8>

      C1  1 <= groups <= 65536, 1 <= choices <= 65536
      C2  none of the three bounds is negative
  }];
  let parameters = (ins "int64_t":$groups, "int64_t":$choices, "int64_t":$rowsPerToken, "int64_t":$rowsPerSequence,
                        "int64_t":$rowsFixed);
  let builders = [TypeBuilder<(ins "int64_t":$groups, "int64_t":$choices), [{
    return $_get($_ctxt, groups, choices, choices, 0, 0);
  }]>];
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def Moe_OperandKind : I32EnumAttr<"OperandKind", "how a region's operand is indexed by row r and column n", [
    I32EnumAttrCase<"elem", 0>,     // v[r,n]
    I32EnumAttrCase<"row", 1>,      // v[r]
    I32EnumAttrCase<"col", 2>,      // v[n], or v[g(r),n] where rows have groups
    I32EnumAttrCase<"segment", 3>,  // v[r, n / (N/S)]
    I32EnumAttrCase<"scalar", 4>    // v[0]
  ]> { let cppNamespace = "::moec::moe"; let genSpecializedAttr = 0; }
def Moe_OperandKindAttr : EnumAttr<Moe_Dialect, Moe_OperandKind, "kind"> { let assemblyFormat = "`<` $value `>`"; }
def Moe_KindArray : TypedArrayAttrBase<Moe_OperandKindAttr, "operand kinds">;

def Moe_ReduceKind : I32EnumAttr<"ReduceKind", "what reduce computes", [
    I32EnumAttrCase<"sum", 0>, I32EnumAttrCase<"max", 1>
  ]> { let cppNamespace = "::moec::moe"; }

// ---- row ops: every row of T or R by itself
// --------------------------------------------------------------------------

def Moe_MapOp : Moe_Op<"map", [Pure, IsolatedFromAbove]> {
  let summary = "apply a scalar region to every element";
  let description = [{
    out[r,n] = region(v_0, v_1, ...),   v_i the operand's element by its kind

      elem     v[r,n]            the shape of the result
      row      v[r]              one value per row
      col      v[n] or v[g,n]    one per column; [G,N] for rows of a route of G groups, g the row's group
      segment  v[r, n/(N/S)]     one per run of N/S columns
      scalar   v[0]              one value, shape [1]

    Shapes  result [L,N], or [L] with elem and scalar operands only. Without elem, row and segment operands L is T.
    The region is straight-line scalar arith and math.
      C1  every operand has the shape its kind asks for
      C2  the region takes one scalar per operand and yields one of the result's type
      C3  the region holds only scalar ops of arith, except remf, and
          math.{exp,expm1,log,log1p,tanh,erf,sqrt,absf,copysign}
    Example: tests/moe/map.mlir
  }];
  let arguments = (ins Variadic<AnyRankedTensor>:$inputs, Moe_KindArray:$kinds);
  let results = (outs AnyRankedTensor:$result);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def Moe_ReduceOp : Moe_Op<"reduce", [Pure]> {
  let summary = "sum or maximum of every row, or of every segment of a row";
  let description = [{
    out[r]   = sum_n x[r,n]                         (ascending n within a lane, then over lanes)
    out[r,s] = max_{n in segment s} x[r,n]          segment s = columns s*N/S .. (s+1)*N/S-1
    max ignores NaN; it is NaN only if all values are.

    Shapes  x [L,N] f32 -> [L] f32, with segments -> [L,S] f32
      C1  segments divide N
      C2  the result has the shape above
    Example: tests/moe/reduce.mlir
  }];
  let arguments = (ins AnyRankedTensor:$input, Moe_ReduceKind:$kind,
                       ConfinedAttr<OptionalAttr<I64Attr>, [IntPositive]>:$segments);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{ $kind $input (`segments` $segments^)? attr-dict `:` type($input) `->` type($result) }];
  let hasVerifier = 1;
}

def Moe_SoftmaxOp : Moe_Op<"softmax", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "softmax of every row, or of every segment of a row";
  let description = [{
    p[r,n] = exp(x[r,n] - m[r]) / sum_n exp(x[r,n] - m[r]),   m[r] = max_n x[r,n] ignoring NaN
    With S segments maximum and sum are those of n's run of N/S columns.

    Shapes  x [L,N] f32 -> [L,N] f32
      C1  x is a [L,N] tensor of f32
      C2  segments divide N
    Example: tests/moe/softmax.mlir
  }];
  let arguments = (ins AnyRankedTensor:$input, ConfinedAttr<OptionalAttr<I64Attr>, [IntPositive]>:$segments);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input (`segments` $segments^)? attr-dict `:` type($input)";
  let hasVerifier = 1;
}

def Moe_ColumnsOp : Moe_Op<"columns", [Pure]> {
  let summary = "the number of every column, or a number given for it";
  let description = [{
    out[t,n] = n, or numbers[n]

    Shapes  -> [T,N] i32
      C1  the result is a [T,N] tensor of i32
      C2  there are N numbers
    Example: tests/moe/columns.mlir
  }];
  let arguments = (ins OptionalAttr<DenseI32ArrayAttr>:$numbers);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "(`of` $numbers^)? attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Moe_PrefixSumOp : Moe_Op<"prefix_sum", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "sum of the columns before each";
  let description = [{
    out[r,n] = sum_{m < n} x[r,m]          ascending m

    Shapes  x [L,N] f32 -> [L,N] f32
      C1  x is a [L,N] tensor of f32
    Example: tests/moe/prefix_sum.mlir
  }];
  let arguments = (ins AnyRankedTensor:$input);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input)";
  let hasVerifier = 1;
}

def Moe_LookupOp : Moe_Op<"lookup", [Pure]> {
  let summary = "rows of a parameter by number";
  let description = [{
    out[r,n] = p[index[r], n];   -1 where index[r] is outside 0..V-1

    Shapes  p [V,N] f32, a parameter, index [L] i32 -> [L,N] f32
      C1  p is a [V,N] tensor of f32
      C2  index is a [L] tensor of i32
      C3  the result is a [L,N] tensor of f32
    Example: tests/moe/lookup.mlir
  }];
  let arguments = (ins AnyRankedTensor:$table, AnyRankedTensor:$index);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$table `at` $index attr-dict `:` type($table) `,` type($index) `->` type($result)";
  let hasVerifier = 1;
}

def Moe_TopKOp : Moe_Op<"top_k", [Pure]> {
  let summary = "columns of the k largest values of every row, or of every segment";
  let description = [{
    ids[r,j] = column of the j-th largest of choice[r,:]       equal values: the lower column first; -0 equals +0
    With S segments every segment gives k columns, one segment after the other: ids[r, s*k + j]; they are columns of the
    whole row (not of the segment), so that `take` can use them. A NaN loses to every number; a row of NaN gives the
    lowest columns. ids are always distinct within a segment and in range.

    Shapes  choice [L,N] f32 -> ids [L,k] i32, with segments [L,S*k] i32
      C1  1 <= k <= N/S
      C2  segments divide N
      C3  ids have the shape above
    Example: tests/moe/top_k.mlir
  }];
  let arguments = (ins AnyRankedTensor:$choice, I64Attr:$k,
                       ConfinedAttr<OptionalAttr<I64Attr>, [IntPositive]>:$segments);
  let results = (outs AnyRankedTensor:$ids);
  let assemblyFormat = [{ $k `of` $choice (`segments` $segments^)? attr-dict `:` type($choice) `->` type($ids) }];
  let hasVerifier = 1;
}

def Moe_MemberOp : Moe_Op<"member", [Pure]> {
  let summary = "which columns the ids name";
  let description = [{
    mask[r,n] = 1 where some j has ids[r,j] = n, else 0

    Shapes  ids [L,k] i32 -> mask [L,N] i1
      C1  ids are a [L,k] tensor of i32, the mask a [L,N] tensor of i1
    Example: tests/moe/member.mlir
  }];
  let arguments = (ins AnyRankedTensor:$ids);
  let results = (outs AnyRankedTensor:$mask);
  let assemblyFormat = "$ids attr-dict `:` type($ids) `->` type($mask)";
  let hasVerifier = 1;
}

def Moe_TakeOp : Moe_Op<"take", [Pure]> {
  let summary = "values at ids";
  let description = [{
    out[r,j] = x[r, ids[r,j]], or x[ids[r,j]] where x is one vector for all rows;   0 where an id is outside 0..N-1

    Shapes  x [L,N] f32 or i32, or [N] f32, ids [L,k] i32 -> [L,k] of x's type
      C1  ids are a [L,k] tensor of i32
      C2  x is a [L,N] tensor of f32 or i32, or a [N] tensor of f32
      C3  the result is a [L,k] tensor of x's type
    Example: tests/moe/take.mlir
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$ids);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `at` $ids attr-dict `:` type($input) `,` type($ids) `->` type($result)";
  let hasVerifier = 1;
}

def Moe_PutOp : Moe_Op<"put", [Pure]> {
  let summary = "values to the columns their ids name";
  let description = [{
    out[r,n] = sum over the j with ids[r,j] = n of v[r,j]          ascending j; 0 where no id names n

    Shapes  v [L,k] f32, ids [L,k] i32 -> [L,N] f32
      C1  ids are a [L,k] tensor of i32 and v one of f32
      C2  the result is a [L,N] tensor of f32
    Example: tests/moe/put.mlir
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$ids);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `at` $ids attr-dict `:` type($input) `,` type($ids) `->` type($result)";
  let hasVerifier = 1;
}

// ---- routing and data
// ------------------------------------------------------------------------------------------------

def Moe_DispatchOp : Moe_Op<"dispatch", [Pure]> {
  let summary = "sort (token, choice) pairs by the group their id names";
  let description = [{
    rows of group g = all slots t*K+j with ids[t,j] = g, ascending;   ids outside 0..G-1 make no row

    The attribute moe.experts marks the dispatch whose rows per group are the layer's counts. If no dispatch has it,
    the dispatch of the result ids gives the counts.

    Shapes  ids [T,K] i32 -> !moe.route<G groups, K choices>
      C1  ids are a [T,K] tensor of i32
      C2  K = choices of the route
    Example: tests/moe/dispatch.mlir
  }];
  let arguments = (ins AnyRankedTensor:$ids);
  let results = (outs Moe_RouteType:$route);
  let assemblyFormat = "$ids attr-dict `:` type($ids) `->` qualified(type($route))";
  let hasVerifier = 1;
}

// How many of a scope's tokens one group takes; the formulas are those of moec_places in runtime/moec_abi.h.
def Moe_PlacesMode : I32EnumAttr<"PlacesMode", "where C comes from", [
    I32EnumAttrCase<"fixed", 0>,  // value
    I32EnumAttrCase<"share", 1>,  // value * n * times / over, n the scope's tokens
    I32EnumAttrCase<"given", 2>   // the operand `places`
  ]> { let cppNamespace = "::moec::moe"; }
def Moe_Rounding : I32EnumAttr<"Rounding", "how C becomes a whole number", [
    I32EnumAttrCase<"floor", 0>, I32EnumAttrCase<"ceil", 1>, I32EnumAttrCase<"nearest", 2>
  ]> { let cppNamespace = "::moec::moe"; }
def Moe_Scope : I32EnumAttr<"Scope", "tokens that are looked at together", [
    I32EnumAttrCase<"batch", 0>,     // all of the call
    I32EnumAttrCase<"sequence", 1>,  // those of one sequence
    I32EnumAttrCase<"group", 2>      // runs of group_tokens
  ]> { let cppNamespace = "::moec::moe"; }

class Moe_PlacesOp<string mnemonic, list<Trait> traits = []> : Moe_Op<mnemonic, !listconcat([Pure], traits)> {
  dag placesArguments = (ins Moe_PlacesMode:$mode, DefaultValuedAttr<F64Attr, "0.0">:$value,
                             DefaultValuedAttr<I64Attr, "1">:$times, DefaultValuedAttr<I64Attr, "1">:$over,
                             Moe_Rounding:$round, DefaultValuedAttr<I64Attr, "0">:$least,
                             DefaultValuedAttr<I64Attr, "INT32_MAX">:$most, Moe_Scope:$scope,
                             DefaultValuedAttr<I64Attr, "0">:$group_tokens);
  let hasVerifier = 1;
}

def Moe_CapacityOp : Moe_PlacesOp<"capacity", [AttrSizedOperandSegments]> {
  let summary = "keep the choices that get a place in their group";
  let description = [{
    kept[t,j] = ids[t,j] where slot (t,j) is among the first C of its group's queue in its scope, else -1

    C = clamp(round(fixed: value, share: value * n * times / over, given: places), least, most); n counts the present
    tokens of the scope. The queue is ordered by choice (token_major: by token), then by key, larger first and NaN last,
    then by position. Ids outside 0..groups-1 are copied unchanged. With `ranked` a slot whose queue is full takes the
    id of the largest rank that has room and that no placed slot of its token already names.

    Shapes  ids [T,K] i32 -> kept [T,K] i32;  keys [T,1] or [T,K] f32;  ranked [T,N] f32;  present [T,1] i32;  places
            [1] i32 queue [T,K] i32 comes with keys and is the op's own to write
      C1  ids and kept are [T,K] tensors of i32, and so is queue, which exists exactly if keys does
      C2  the operands have the shapes above, N >= groups
      C3  times and over are positive, 0 <= least <= most, value is not negative; group_tokens is positive for scope
          group
      C4  places exists exactly if the mode is given
    Example: tests/moe/capacity.mlir
  }];
  let arguments = !con((ins AnyRankedTensor:$ids, Optional<AnyRankedTensor>:$keys, Optional<AnyRankedTensor>:$ranked,
                            Optional<AnyRankedTensor>:$present, Optional<AnyRankedTensor>:$places,
                            ConfinedAttr<I64Attr, [IntPositive]>:$groups, UnitAttr:$token_major), placesArguments);
  let results = (outs AnyRankedTensor:$kept, Optional<AnyRankedTensor>:$queue);
  let assemblyFormat = [{
    $ids (`keys` $keys^)? (`ranked` $ranked^)? (`present` $present^)? (`places` $places^)? attr-dict `:`
    functional-type(operands, results)
  }];
}

def Moe_TopTokensOp : Moe_PlacesOp<"top_tokens"> {
  let summary = "the tokens every column takes";
  let description = [{
    mask[t,n] = 1 where t is among the C largest of x[:,n] in its scope, else 0;   equal values: the lower token first

    C as in `capacity`; tokens that are not present are never taken. A NaN loses to every number.

    Shapes  x [T,N] f32 -> mask [T,N] i32;  present [T,1] i32
      C1  x is a [T,N] tensor of f32, the mask one of i32
      C2  present is a [T,1] tensor of i32
      C3  as in `capacity`, and the mode is not given
    Example: tests/moe/top_tokens.mlir
  }];
  let arguments = !con((ins AnyRankedTensor:$input, Optional<AnyRankedTensor>:$present), placesArguments);
  let results = (outs AnyRankedTensor:$mask);
  let assemblyFormat = "$input (`present` $present^)? attr-dict `:` functional-type(operands, results)";
}

def Moe_TokenReduceOp : Moe_Op<"token_reduce", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "sum or maximum of every column over the tokens of a scope";
  let description = [{
    out[t,n] = sum or max of x[u,n] over the tokens u of t's scope          max ignores NaN

    Shapes  x [T,N] f32 -> [T,N] f32
      C1  x is a [T,N] tensor of f32
      C2  the scope is batch or sequence
    Example: tests/moe/token_reduce.mlir
  }];
  let arguments = (ins AnyRankedTensor:$input, Moe_ReduceKind:$kind, Moe_Scope:$scope);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$kind $input `over` $scope attr-dict `:` type($input)";
  let hasVerifier = 1;
}

def Moe_TotalKind : I32EnumAttr<"TotalKind", "what token_total computes", [
    I32EnumAttrCase<"sum", 0>, I32EnumAttrCase<"max", 1>, I32EnumAttrCase<"mean", 2>
  ]> { let cppNamespace = "::moec::moe"; }

def Moe_TokenTotalOp : Moe_Op<"token_total", [Pure]> {
  let summary = "sum, maximum or mean of every column over all tokens of the call";
  let description = [{
    out[n] = sum, max or mean of x[t,n] over the tokens t          max ignores NaN

    Its results are results of the layer: numbers of the whole call.

    Shapes  x [T,N] f32 or i32 -> [N] of x's type
      C1  x is a [T,N] tensor of f32, or of i32 for a sum, and the result a [N] tensor of its type
    Example: tests/moe/token_total.mlir
  }];
  let arguments = (ins AnyRankedTensor:$input, Moe_TotalKind:$kind);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$kind $input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Moe_SlotsOp : Moe_Op<"slots", [Pure]> {
  let summary = "a route whose rows are slots, the same number for every scope";
  let description = [{
    Choices of the route are slots, K/G of each group; every scope has K rows, one per slot. A row's token is the first
    of its scope and its slot s; slot_row[t*K + s] is the row of slot s of t's scope.

    Shapes  -> !moe.route<G groups, K choices>
      C1  G divides K
      C2  the scope is batch or sequence
    Example: tests/moe/slots.mlir
  }];
  let arguments = (ins Moe_Scope:$scope);
  let results = (outs Moe_RouteType:$route);
  let assemblyFormat = "$scope attr-dict `:` qualified(type($route))";
  let hasVerifier = 1;
}

def Moe_SlotInputsOp : Moe_Op<"slot_inputs", [Pure]> {
  let summary = "the input of every slot: a weighted sum over the tokens of its scope";
  let description = [{
    out[r,h] = sum over tokens t of r's scope of w[t, slot(r)] * x[t,h]      f32, rounded once

    Shapes  x [T,H], w [T,K] f32, route of `slots` with K choices -> [R,H] of x's type
      C1  the route comes from `slots`
      C2  x is a [T,H] tensor of f32, bf16 or f16 and the result a [R,H] one of the same type
      C3  w is a [T,K] tensor of f32
    Example: tests/moe/slot_inputs.mlir
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$weights, Moe_RouteType:$route);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $input `weighted` $weights `,` $route attr-dict `:` type($input) `,` type($weights) `,` qualified(type($route)) `->`
    type($result)
  }];
  let hasVerifier = 1;
}

def Moe_SlotRowsOp : Moe_Op<"slot_rows", [Pure]> {
  let summary = "bring rows that the caller has for every slot to the rows of a route of slots";
  let description = [{
    out[r,n] = x[scope(r) * S + slot(r), n]      scope(r) = 0, 1, ... in the order of their tokens

    x has S rows for each scope. slot(r) is the row's choice, or numbers[choice(r)] where the route has some of the
    slots.

    Shapes  x [B*S,M], route of `slots` -> [R,N] of x's type, N <= M
      C1  x and the result are [?,M] and [?,N] of f32, N <= M
      C2  S is the number of choices, or `numbers` has one of 0..S-1 for each choice
      C3  the scope is batch or sequence
    Example: tests/moe/slot_rows.mlir
  }];
  let arguments = (ins Moe_Scope:$scope, AnyRankedTensor:$input, Moe_RouteType:$route,
                       ConfinedAttr<I64Attr, [IntPositive]>:$slots, OptionalAttr<DenseI32ArrayAttr>:$numbers);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $scope $input `,` $route `of` $slots (`at` $numbers^)? attr-dict `:` type($input) `,` qualified(type($route)) `->`
    type($result)
  }];
  let hasVerifier = 1;
}

def Moe_SquareSumsOp : Moe_Op<"square_sums", [Pure]> {
  let summary = "sum of squares of every row of a parameter matrix, once, when weights are packed";
  let description = [{
    out[n] = sum_k w[n,k]^2

    Shapes  w [N,K], a parameter -> [N] f32
      C1  w is a parameter [N,K] of f32, bf16 or f16, the result is [N] of f32
    Example: tests/moe/square_sums.mlir
  }];
  let arguments = (ins AnyRankedTensor:$matrix);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$matrix attr-dict `:` type($matrix) `->` type($result)";
  let hasVerifier = 1;
}

def Moe_GatherOp : Moe_Op<"gather", [Pure]> {
  let summary = "bring values of tokens, or of slots, to the rows of a route";
  let description = [{
    out[r,h] = x[row_token[r], h]          x [T,H] -> [R,H]
    out[r]   = x[row_token[r]]             x [T]   -> [R]
    out[r]   = x[token(r), choice(r)]      x [T,K] -> [R],   K = choices of the route
    out[r,n] = x[token(r), choice(r)*M + n]                  x [T,K*M] -> [R,N], N <= M

      C1  the shapes are one of the four lines, element types equal: f32, bf16, f16 or i32
    Example: tests/moe/gather.mlir
  }];
  let arguments = (ins AnyRankedTensor:$input, Moe_RouteType:$route);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `,` $route attr-dict `:` type($input) `,` qualified(type($route)) `->` type($result)";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    // True where values of a slot are brought to its row (third and fourth line of the formula).
    bool bySlot();
    // Columns of x that belong to one slot (M), where bySlot().
    int64_t slotColumns();
  }];
}

def Moe_CombineOp : Moe_Op<"combine", [Pure, AttrSizedOperandSegments, IsolatedFromAbove]> {
  let summary = "weighted sum of a token's rows";
  let description = [{
    acc[t,h] = sum_{j = 0..K-1, slot_row[t*K+j] >= 0} w[t,j] * rows[slot_row[t*K+j], h]   ascending j, f32
    out[t,h] = epilogue(acc[t,h], v_0, v_1, ...)
    Without weights w = 1, without a region out = acc. The v_i are as in `map`, in rows of T.

    Shapes  rows [R,H] f32, bf16 or f16, w [T,K] f32 -> out [T,H]
      C1  rows are a [R,H] tensor of f32, bf16 or f16 and the result is [T,H]
      C2  w is a [T,K] tensor of f32, K = choices of the route
      C3  without a region the result is f32; a region takes acc (f32) and one scalar per operand and yields one of the
          result's type
      C4  every epilogue operand has the shape its kind asks for; kinds are elem, row, col ([H]) and scalar
    Only FuseStages and hand-written text give it a region. Example: tests/moe/combine.mlir
  }];
  let arguments = (ins AnyRankedTensor:$rows, Moe_RouteType:$route, Optional<AnyRankedTensor>:$weights,
                       Variadic<AnyRankedTensor>:$epilogue_operands, Moe_KindArray:$epilogue_kinds);
  let results = (outs AnyRankedTensor:$result);
  let regions = (region AnyRegion:$epilogue);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

// ---- matmul
// ----------------------------------------------------------------------------------------------------------

def Moe_GroupedMatmulOp : Moe_Op<"grouped_matmul", [Pure, AttrSizedOperandSegments, IsolatedFromAbove]> {
  let summary = "rows of A times the matrices of their group";
  let description = [{
    acc_p[r,n] = sum_k prologue(A[row(r),k], v...) * B_p[g(r),n,k]        f32
    out[r,n]   = epilogue(acc_0[r,n], .., acc_{parts-1}[r,n], v...)

    row(r) = row_token[r] where `gathered`, else r. Without a route there is one group and r counts the rows of A.
    With `transposed` the matrices are B_p[g(r),k,n]: the gradient of A.
    The v are the operands' elements by kind as in `map`: of A's element in the prologue, of the output's in the
    epilogue.

    Shapes  A [L,K]; B_p [G,N,K] with a route, [N,K] without or where G = 1; out [R,N] or [L,N]
      C1  one or two parts B of the same type: [G,N,K] with a route, [N,K] without one or if G = 1
      C2  G = groups of the route
      C3  A and B have the same depth K
      C4  the result is a [.,N] tensor of f32, bf16 or f16
      C5  gathered needs a route
      C6  a prologue takes A's element and one scalar per operand and yields one of A's type; its operands are row or
          scalar, in the rows of the output
      C7  an epilogue takes one f32 per part and one scalar per operand and yields one of the result's type; its
          operands are elem, row, col ([G,N] with a route, [N] without or where G = 1) or scalar and have the shape
          their kind asks for
      C8  without an epilogue there is one part and the result is f32
    NumericModes.h (moe.tf32, moe.unordered) and JoinStages.h (moe.joined) define unit attributes that say what a target
    may do with it.
    Only FuseStages and hand-written text give it regions and two parts. Example: tests/moe/grouped_matmul.mlir
  }];
  let arguments = (ins AnyRankedTensor:$a, Variadic<AnyRankedTensor>:$b, Optional<Moe_RouteType>:$route,
                       Variadic<AnyRankedTensor>:$prologue_operands, Variadic<AnyRankedTensor>:$epilogue_operands,
                       Moe_KindArray:$prologue_kinds, Moe_KindArray:$epilogue_kinds, UnitAttr:$gathered,
                       UnitAttr:$transposed);
  let results = (outs AnyRankedTensor:$result);
  let regions = (region AnyRegion:$prologue, AnyRegion:$epilogue);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    int64_t depth() { return ::llvm::cast<::mlir::RankedTensorType>(getA().getType()).getDimSize(1); }
    int64_t columns() { return ::llvm::cast<::mlir::RankedTensorType>(getResult().getType()).getDimSize(1); }
    int64_t groups() { return getRoute() ? ::llvm::cast<RouteType>(getRoute().getType()).getGroups() : 1; }
    unsigned parts() { return getB().size(); }
  }];
}

include "codegen/moe/MoeGradOps.td"

// ---- made by fusion
// --------------------------------------------------------------------------------------------------

def Moe_RowProgramOp : Moe_Op<"row_program", [Pure, IsolatedFromAbove]> {
  let summary = "row ops that run together, row by row";
  let description = [{
    results = body(inputs), for every row of T, or of R where an input is a route: intermediate values never leave a
    row. Inputs that are parameters ([N], [1]) are the same for all rows.

      C1  the body takes the inputs' types and yields the results' types
      C2  the body holds map, reduce, softmax, columns, prefix_sum, lookup, top_k, member, take, put, gather and
          slot_rows only
    Example: tests/moe/row_program.mlir
  }];
  let arguments = (ins Variadic<AnyType>:$inputs);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def Moe_YieldOp : Moe_Op<"yield", [Pure, Terminator]> {
  let summary = "the values of a region";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "attr-dict ($values^ `:` type($values))?";
}

#endif
