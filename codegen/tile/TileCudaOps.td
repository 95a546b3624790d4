// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The CUDA half of the tile dialect: tiles of a grid instead of items of a worker, a ring of stages in shared memory,
// fragments in the registers of many threads. Included by TileOps.td.

#ifndef MOEC_TILE_CUDA_OPS
#define MOEC_TILE_CUDA_OPS

// ---- types -----------------------------------------------------------------------------------------------------

def Tile_MatricesType : Tile_Type<"Matrices", "matrices"> {
  let summary = "B: plain rows [group][part][n][k] of `element` (MOEC_LAYOUT_ROWS of moec_cuda_abi.h)";
  let parameters = (ins "::mlir::Type":$element);
  let assemblyFormat = "`<` $element `>`";
}
def Tile_RingType : Tile_Type<"Ring", "ring"> {
  let summary = "`stages` slots of shared memory, each one step of block_k depth of both operands";
  let description = [{
    A slot holds block_m rows of A, then block_n rows of B (block_n/parts of every part), block_k elements each. A row's
    16-byte chunks are permuted, chunk c of row r stored at c ^ (r mod 8) where a row has 128 bytes, so that neither
    the copies nor the reads of a warp meet in one bank. }];
  let parameters = (ins "::mlir::Type":$in, "::mlir::Type":$weight, "::mlir::IntegerAttr":$blockM,
                        "::mlir::IntegerAttr":$blockN, "::mlir::IntegerAttr":$blockK, "::mlir::IntegerAttr":$stages);
  let assemblyFormat = "`<` $in `,` $weight `,` $blockM `,` $blockN `,` $blockK `,` $stages `>`";
}
def Tile_FragmentType : Tile_Type<"Fragment", "fragment"> {
  let summary = "f32 accumulators [block_m, block_n] spread over the registers of warps_m x warps_n warps";
  let description = [{
    Columns are those of all parts: part p holds columns p*block_n/parts ... A thread holds the same rows and columns of
    every part, so that an epilogue sees all parts of an output without a shuffle.
    unit_m is the least number of rows of A that a tensor-core instruction multiplies. 16, or left out: A is its first
    operand, 16 or 64 rows, and columns are the second, 8 or more. 8: columns are the first operand, 16 or 64 of a
    part, and rows of A the second, so that few rows fill an instruction. }];
  let parameters = (ins "::mlir::IntegerAttr":$blockM, "::mlir::IntegerAttr":$blockN, "::mlir::IntegerAttr":$warpsM,
                        "::mlir::IntegerAttr":$warpsN, OptionalParameter<"::mlir::IntegerAttr">:$unitM);
  let assemblyFormat = "`<` $blockM `,` $blockN `,` $warpsM `,` $warpsN (`,` $unitM^)? `>`";
  let extraClassDeclaration = [{
    bool columnsFirst() const { return getUnitM() && getUnitM().getInt() == 8; }
  }];
}

// ---- structure -------------------------------------------------------------------------------------------------

def Tile_ForTilesOp : Tile_Op<"for_tiles"> {
  let summary = "for every output tile of this block's share: (item, column tile), items of at most block_m rows";
  let description = [{
    Tile t = item * column tiles + column; block b takes t = b, b + grid, b + 2 grid, ... Items are those of the list
    that dispatch made for block_m, or runs of block_m tokens without a route.
    With `splits` s, each of these becomes s tiles: tile (t, share) multiplies steps share * k_steps .. of the depth,
    k_steps a share's steps, which copy and multiply count from 0. Its sums are kept apart; the stage's second kernel
    adds those of all shares in ascending order and runs the epilogue.
      C1  splits is 1..64, and only of a kernel without roles
    Example: templates/kernels/cuda/multistage.mlir }];
  let arguments = (ins Tile_ItemsType:$range, OptionalAttr<IndexAttr>:$splits);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}
def Tile_RingOp : Tile_Op<"ring"> {
  let summary = "the kernel's ring of stages";
  let description = [{
      C1  a row of a slot, block_k elements, has 32, 64 or 128 bytes, of A and of B
      C2  stages is 2..8
      C3  block_m is a multiple of 8 and block_n of 16 }];
  let results = (outs Tile_RingType:$result);
  let assemblyFormat = "`:` type($result) attr-dict";
  let hasVerifier = 1;
}

// ---- copies and multiplication ---------------------------------------------------------------------------------

def Tile_CopyOp : Tile_Op<"copy"> {
  let summary = "begin copying step `step` of both operands into slot step mod stages";
  let description = [{
    Asynchronous 16-byte copies; rows past the item, columns past N and depth past K become zeros. A step past the last
    copies nothing. Where rows of A do not start at multiples of 16 bytes, or a prologue computes on them, A is copied
    through registers. The prologue region is empty in a template. }];
  let arguments = (ins Tile_RowsType:$a, Tile_MatricesType:$b, Tile_ItemType:$item, Index:$column, Index:$step,
                       Tile_RingType:$ring, Variadic<Tile_OperandType>:$extra);
  let regions = (region AnyRegion:$prologue);
  let assemblyFormat = [{ $a `,` $b `[` $item `,` $column `]` `step` $step `->` $ring
                          (`with` `(` $extra^ `:` type($extra) `)`)? `:` type($a) `,` type($b) `,` type($ring) attr-dict
                          (`prologue` $prologue^)? }];
}
def Tile_AwaitOp : Tile_Op<"await"> {
  let summary = "wait until the oldest copy in flight has arrived and every thread has left the slot that is copied "
                "next";
  let arguments = (ins Tile_RingType:$ring);
  let assemblyFormat = "$ring `:` type($ring) attr-dict";
}
def Tile_DrainOp : Tile_Op<"drain"> {
  let summary = "wait until no copy is in flight and every thread has left every slot";
  let arguments = (ins Tile_RingType:$ring);
  let assemblyFormat = "$ring `:` type($ring) attr-dict";
}
def Tile_ClearOp : Tile_Op<"clear", [Pure]> {
  let summary = "a fragment of zeros";
  let results = (outs Tile_FragmentType:$result);
  let assemblyFormat = "`:` type($result) attr-dict";
}
def Tile_MultiplyOp : Tile_Op<"multiply", [AllTypesMatch<["acc", "result"]>]> {
  let summary = "acc += A * B of the slot of step `step`";
  let description = [{
    bf16 and f16 operands: tensor cores, products exact, f32 sums. f32 operands of a kernel that carries `tf32`: tensor
    cores, both rounded to 10 bits of mantissa. Otherwise FMA in ascending depth, exactly f32.
      C1  block_m and block_n of the fragment are the ring's
      C2  with columns first, rows of a slot have 64 or 128 bytes }];
  let arguments = (ins Tile_FragmentType:$acc, Tile_RingType:$ring, Index:$step);
  let results = (outs Tile_FragmentType:$result);
  let assemblyFormat = "$acc `,` $ring `[` $step `]` `:` type($acc) `,` type($ring) attr-dict";
  let hasVerifier = 1;
}

// ---- roles: sm_90a ---------------------------------------------------------------------------------------------

def Tile_RolesOp : Tile_Op<"roles", [NoTerminator]> {
  let summary = "one warpgroup runs `producer`, `consumers` others run `consumer`; the ring has a full and an empty "
                "mbarrier a slot";
  let description = [{
    full[s]: every producer thread arrives once and one of them with the bytes that TMA brings. empty[s]: every consumer
    warp arrives once. Step q of a block, counted over all its tiles, uses slot q mod stages in turn q / stages.
      C1  consumers is 1 or 2, and the ring has 64 rows of A for each; where fragments have columns first, a multiple of
          8 rows of A, and 64 columns of every part for each consumer
      C2  1 <= lag <= stages - 2: a consumer gives a slot back one step late, the producer tells of one `lag` steps
          late, and with fewer slots each would wait for the other
      C3  a row of a slot has 128 bytes, and A and B have the same 2-byte type
    `vacant` is what a consumer does with a tile that ends before its 64 rows: 1 multiplies all the same, 2 returns the
    slots and stores nothing. Left out: 1.
      C4  vacant is 1 or 2, and 2 only where consumers share the rows of A }];
  let arguments = (ins Tile_RingType:$ring, IndexAttr:$consumers, IndexAttr:$lag, OptionalAttr<IndexAttr>:$vacant);
  let regions = (region SizedRegion<1>:$producer, SizedRegion<1>:$consumer);
  let assemblyFormat = [{ $ring `consumers` $consumers `lag` $lag (`vacant` $vacant^)? `:` type($ring)
                          `producer` $producer `consumer` $consumer attr-dict }];
  let hasVerifier = 1;
}
def Tile_FillOp : Tile_Op<"fill"> {
  let summary = "producer: wait until the slot of step `step` is empty, begin copying both operands, tell of the "
                "step `lag` before";
  let description = [{ As tile.copy, with B by TMA. }];
  let arguments = (ins Tile_RowsType:$a, Tile_MatricesType:$b, Tile_ItemType:$item, Index:$column, Index:$step,
                       Tile_RingType:$ring, Variadic<Tile_OperandType>:$extra);
  let regions = (region AnyRegion:$prologue);
  let assemblyFormat = [{ $a `,` $b `[` $item `,` $column `]` `step` $step `->` $ring
                          (`with` `(` $extra^ `:` type($extra) `)`)? `:` type($a) `,` type($b) `,` type($ring) attr-dict
                          (`prologue` $prologue^)? }];
}
def Tile_FlushOp : Tile_Op<"flush"> {
  let summary = "producer, after its last tile: wait for the copies in flight and tell of their steps";
  let arguments = (ins Tile_RingType:$ring);
  let assemblyFormat = "$ring `:` type($ring) attr-dict";
}
def Tile_ConsumeOp : Tile_Op<"consume", [AllTypesMatch<["acc", "result"]>]> {
  let summary = "consumer: wait until the slot of step `step` is full, begin acc += A * B, give the slot of the "
                "step before back";
  let description = [{
    The result may only be an operand of tile.consume and tile.finish: the sums are still under way. }];
  let arguments = (ins Tile_FragmentType:$acc, Tile_RingType:$ring, Index:$step);
  let results = (outs Tile_FragmentType:$result);
  let assemblyFormat = "$acc `,` $ring `[` $step `]` `:` type($acc) `,` type($ring) attr-dict";
}
def Tile_FinishOp : Tile_Op<"finish", [AllTypesMatch<["acc", "result"]>]> {
  let summary = "consumer: wait for the sums of the tile and give its last slot back";
  let arguments = (ins Tile_FragmentType:$acc, Tile_RingType:$ring);
  let results = (outs Tile_FragmentType:$result);
  let assemblyFormat = "$acc `,` $ring `:` type($acc) `,` type($ring) attr-dict";
}

// ---- output ----------------------------------------------------------------------------------------------------

def Tile_StoreOp : Tile_Op<"store"> {
  let summary = "out[row, column] = region(acc_0 .. acc_{parts-1}, operands) for the tile's rows and columns that "
                "exist";
  let description = [{ An empty region, as in a template, stores the accumulator itself. }];
  let arguments = (ins Tile_FragmentType:$acc, Tile_ItemType:$item, Index:$column, Tile_RowsType:$out,
                       Variadic<Tile_OperandType>:$extra);
  let regions = (region AnyRegion:$body);
  let assemblyFormat = [{ $acc `[` $item `,` $column `]` `->` $out (`with` `(` $extra^ `:` type($extra) `)`)?
                          `:` type($acc) `,` type($out) attr-dict (`body` $body^)? }];
}

#endif
