// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The tile dialect: how a grouped matmul is computed. A kernel template is text of this dialect; only tile types carry
// its parameters, so that every builtin vector, address and unrolled loop is made by a lowering (codegen/cpu).

#ifndef MOEC_TILE_OPS
#define MOEC_TILE_OPS

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Tile_Dialect : Dialect {
  let name = "tile";
  let cppNamespace = "::moec::tile";
  let summary = "matmul skeletons over items: pack, walk panels, multiply, epilogue";
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

class Tile_Op<string mnemonic, list<Trait> traits = []> : Op<Tile_Dialect, mnemonic, traits>;
class Tile_Type<string name, string mnem> : TypeDef<Tile_Dialect, name> { let mnemonic = mnem; }

// ---- attributes ------------------------------------------------------------------------------------------------

def Tile_Access : I32EnumAttr<"Access", "how A finds the row of an output row", [
    I32EnumAttrCase<"direct", 0>,    // row r of A
    I32EnumAttrCase<"gathered", 1>,  // row row_token[r] of A
    I32EnumAttrCase<"contiguous", 2> // row r of A by TMA; where the stage gathers, of a copy in the route's order
  ]> { let cppNamespace = "::moec::tile"; let genSpecializedAttr = 0; }
def Tile_AccessAttr : EnumAttr<Tile_Dialect, Tile_Access, "access"> { let assemblyFormat = "`<` $value `>`"; }

def Tile_Hint : I32EnumAttr<"Hint", "cache hint of a prefetch or a load", [
    I32EnumAttrCase<"none", 0>, I32EnumAttrCase<"t0", 1>, I32EnumAttrCase<"t1", 2>, I32EnumAttrCase<"nta", 3>
  ]> { let cppNamespace = "::moec::tile"; let genSpecializedAttr = 0; }
def Tile_HintAttr : EnumAttr<Tile_Dialect, Tile_Hint, "hint"> { let assemblyFormat = "`<` $value `>`"; }

// ---- types -----------------------------------------------------------------------------------------------------

def Tile_AccType : Tile_Type<"Acc", "acc"> {
  let summary = "f32 accumulators [rows, 32 virtual columns] (columns as moec_abi.h: parts interleaved by 16)";
  let description = [{ Expands 1:N in a lowering: AMX tiles of up to 16 rows x 16 columns, or vector registers. }];
  let parameters = (ins "::mlir::IntegerAttr":$rows);
  let assemblyFormat = "`<` $rows `>`";
}
def Tile_RowsType : Tile_Type<"Rows", "rows"> {
  let summary = "A: rows of `element`, found directly or through the route";
  let parameters = (ins "::mlir::Type":$element, "AccessAttr":$access);
  let assemblyFormat = "`<` $element `,` $access `>`";
}
def Tile_PanelsType : Tile_Type<"Panels", "panels"> {
  let summary = "B: packed panels (layout of moec_weight), k_steps steps of block_k depth each";
  let parameters = (ins "::mlir::Type":$element, "::mlir::IntegerAttr":$kSteps, "::mlir::IntegerAttr":$blockK);
  let assemblyFormat = "`<` $element `,` $kSteps `,` $blockK `>`";
}
def Tile_PackedType : Tile_Type<"Packed", "packed"> {
  let summary = "an item's rows of A in the order the multiply reads them, blocks of block_m rows, zero padded";
  let description = [{
    panel_m rows in blocks of block_m. AMX: [block][k_step][row tile][16 rows][32] bf16. Vectors: [block][row][k] f32,
    each row padded by 64 bytes so that rows do not share a cache set.
  }];
  let parameters = (ins "::mlir::IntegerAttr":$panelM, "::mlir::IntegerAttr":$blockM, "::mlir::IntegerAttr":$kSteps,
                        "::mlir::IntegerAttr":$blockK);
  let assemblyFormat = "`<` $panelM `,` $blockM `,` $kSteps `,` $blockK `>`";
}
def Tile_ItemsType : Tile_Type<"Items", "items"> { let summary = "the items of a call, moec_item each"; }
def Tile_ItemType : Tile_Type<"Item", "item"> { let summary = "one item: group, rows, column panels"; }
def Tile_SpillType : Tile_Type<"Spill", "spill"> {
  let summary = "accumulators of every row block of an item, kept in cache between chunks of k: [panel_m, 32] f32";
  let parameters = (ins "::mlir::IntegerAttr":$panelM);
  let assemblyFormat = "`<` $panelM `>`";
}
def Tile_OperandType : Tile_Type<"Operand", "operand"> {
  let summary = "a buffer that a prologue or an epilogue region reads (bias, routing weight)";
  let description = [{ kind: elem | row | col | scalar, as in moe.grouped_matmul; stride: bytes from row (elem) or
    group (col) to the next. }];
  let parameters = (ins "::mlir::Type":$element, "::mlir::StringAttr":$kind, "::mlir::IntegerAttr":$stride);
  let assemblyFormat = "`<` $element `,` $kind `,` $stride `>`";
}

// ---- structure -------------------------------------------------------------------------------------------------

def Tile_KernelOp : Tile_Op<"kernel", [Symbol]> {
  let summary = "one kernel of the grouped matmul contract";
  let description = [{
    out[r, c] = epilogue(acc_0 .. acc_{parts-1}),   acc_p = sum_k A[row(r), k] * B_p[group(r), c, k]

    Arguments are A, B, the output (a direct !tile.rows) and the items; operands of prologue and epilogue are appended
    when a stage is instantiated. `target` is cpu, sm_80 or sm_90a: the first machine it runs on.
    Examples: templates/kernels/panel.mlir, templates/kernels/cuda/multistage.mlir.
      C1  the arguments begin with rows, panels (cpu) or matrices (CUDA), rows, items
      C2  cpu: exactly one tile.pack and one tile.epilogue; CUDA: exactly one tile.ring and one tile.store
      C3  the target is cpu, sm_80 or sm_90a
    `early` is what a CUDA kernel does before it waits for the launch before: 1 nothing, 2 its mbarriers and
    descriptors, 3 the weights of its first steps as well. Left out: 1.
      C4  early is 1..3, and 2 only with tile.roles; of a CUDA kernel
    A kernel of a stage also has the stage's shapes, strides in bytes, and its mode (MatmulMode.h); a template has none.
      C5  n, k, parts, panels, panel_bytes, a_stride and out_stride come together, n, k and parts positive
      C6  tf32, unordered, weighted, joined and transposed are of CUDA kernels; weighted is of unordered ones, unordered
          and joined of routed ones; split_rows is of kernels without a route
    `transposed_panels` of a CPU kernel: its matrices are those of other panels, transposed (TransposedPanels of
    MatmulStage.h, in the order of its fields).
    Matrices of `transposed` are stored [k][n], and `matrices` lie from one group to the next; left out: parts.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$target, OptionalAttr<IndexAttr>:$early,
                       OptionalAttr<IndexAttr>:$n, OptionalAttr<IndexAttr>:$k, OptionalAttr<IndexAttr>:$parts,
                       OptionalAttr<IndexAttr>:$panels, OptionalAttr<IndexAttr>:$panel_bytes,
                       OptionalAttr<IndexAttr>:$a_stride, OptionalAttr<IndexAttr>:$out_stride, UnitAttr:$routed,
                       UnitAttr:$tf32, UnitAttr:$unordered, UnitAttr:$weighted, UnitAttr:$joined,
                       UnitAttr:$transposed, OptionalAttr<IndexAttr>:$matrices,
                       OptionalAttr<DenseI64ArrayAttr>:$transposed_panels, OptionalAttr<IndexAttr>:$split_rows);
  let extraClassDeclaration = [{
    ::moec::MatmulMode mode();
    void setMode(const ::moec::MatmulMode &mode);
    // C1: the body's arguments by name. A gathered kernel has row_token, but no argument for it: it is null.
    ::moec::MatmulArgs<::mlir::Value> args();
    ::mlir::Value items() { return getBody().getArgument(3); }
    // One of the shapes and strides by name, of a kernel of a stage.
    int64_t shape(::llvm::StringRef name) { return (*this)->getAttrOfType<::mlir::IntegerAttr>(name).getInt(); }
  }];
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

class Tile_LoopOp<string mnemonic> : Tile_Op<mnemonic> {
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
}
def Tile_ForItemsOp : Tile_LoopOp<"for_items"> {
  let summary = "for every item of the call's range [first, last)";
  let arguments = (ins Tile_ItemsType:$range);
}
def Tile_ForColumnsOp : Tile_LoopOp<"for_columns"> {
  let summary = "for every column panel of the item, in the order of B in memory";
  let arguments = (ins Tile_ItemType:$range);
}
def Tile_ForRowsOp : Tile_LoopOp<"for_rows"> {
  let summary = "for every row block of the item that holds rows (blocks of block_m of the packed operand)";
  let description = [{
    heights 2: the item's R rows make M = ceil(R / block_m) blocks, the first R - M*(block_m - 1) of block_m rows and
    the others of block_m - 1, so that no row of a block is idle. Vector kernels only; they hold the body twice.
      C1  heights is 1 or 2, and 1 for blocks of one row }];
  let arguments = (ins Tile_PackedType:$range, OptionalAttr<IndexAttr>:$heights);
  let hasVerifier = 1;
}
def Tile_EndOp : Tile_Op<"end", [Pure, Terminator]> {
  let summary = "ends a kernel or loop body; not written in text";
  let assemblyFormat = "attr-dict";
}
def Tile_YieldOp : Tile_Op<"yield", [Pure, Terminator]> {
  let summary = "the value of a prologue or epilogue region";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "attr-dict ($values^ `:` type($values))?";
}

// ---- memory ----------------------------------------------------------------------------------------------------

def Tile_ScratchOp : Tile_Op<"scratch"> {
  let summary = "room of this worker for a packed operand or a spill, reused by every item";
  let results = (outs AnyType:$result);
  let assemblyFormat = "`:` type($result) attr-dict";
  let hasVerifier = 1;
}
def Tile_PackOp : Tile_Op<"pack"> {
  let summary = "packed[i, k] = prologue(A[row(row0 + i), k]); rows past the item and k past K are zero";
  let description = [{ The prologue region is empty in a template and spliced in when a stage is instantiated.
      C1  panel_m is a multiple of block_m }];
  let arguments = (ins Tile_RowsType:$source, Tile_ItemType:$item, Tile_PackedType:$dest,
                       Variadic<Tile_OperandType>:$extra);
  let regions = (region AnyRegion:$prologue);
  let assemblyFormat = [{ $source `[` $item `]` `->` $dest (`with` `(` $extra^ `:` type($extra) `)`)?
                          `:` type($source) `,` type($dest) attr-dict (`prologue` $prologue^)? }];
  let hasVerifier = 1;
}
def Tile_PrefetchOp : Tile_Op<"prefetch"> {
  let summary = "fetch this step's share of the block of B that follows the current one";
  let description = [{
    B is walked in one flat order over columns and k, across items. The walk is cut into blocks of `block` steps; while
    one is consumed the next is fetched, every step `1/block` of it, spread over `streams` places of that block so
    that memory sees so many streams whatever the tile shape is. With several row blocks per item each fetches its part.
      C1  block divides k_steps or is a multiple of it
      C2  streams is 1, 2, 4, 8 or 16 }];
  let arguments = (ins Tile_PanelsType:$panels, Tile_ItemType:$item, Index:$column, Index:$row, Index:$step,
                       IndexAttr:$block, IndexAttr:$streams, IndexAttr:$share, Tile_HintAttr:$hint);
  let assemblyFormat = [{ $panels `[` $item `,` $column `,` $row `,` $step `]` `block` $block `streams` $streams
                          `share` $share `hint` $hint `:` type($panels) attr-dict }];
  let hasVerifier = 1;
}

// ---- arithmetic ------------------------------------------------------------------------------------------------

def Tile_ZeroOp : Tile_Op<"zero", [Pure]> {
  let summary = "accumulators of zeros";
  let results = (outs Tile_AccType:$result);
  let assemblyFormat = "`:` type($result) attr-dict";
}
def Tile_MmaOp : Tile_Op<"mma", [Pure, AllTypesMatch<["acc", "result"]>]> {
  let summary = "acc += packed[row block, step] * panels[column, step]: one step of block_k depth";
  let description = [{
      C1  rows of the accumulator = block_m of the packed operand
    tiles: vector kernels of 2-byte weights multiply both 16-column tiles of a panel side by side (2), which uses each
    element of A twice, or one after the other (1), which reads B as one linear stream.
      C2  block_k and k_steps of both operands agree
      C3  tiles is 1 or 2 }];
  let arguments = (ins Tile_AccType:$acc, Tile_PackedType:$a, Index:$row, Tile_PanelsType:$b, Tile_ItemType:$item,
                       Index:$column, Index:$step, Tile_HintAttr:$aHint, IndexAttr:$tiles);
  let results = (outs Tile_AccType:$result);
  let assemblyFormat = [{ $acc `,` $a `[` $row `,` $step `]` `,` $b `[` $item `,` $column `]` `a_hint` $aHint
                          `tiles` $tiles `:` type($acc) `,` type($a) `,` type($b) attr-dict }];
  let hasVerifier = 1;
}
def Tile_RestoreOp : Tile_Op<"restore"> {
  let summary = "accumulators of a row block: zeros in the first chunk of k, else what tile.save left";
  let arguments = (ins Tile_SpillType:$spill, Index:$row, Index:$chunk);
  let results = (outs Tile_AccType:$result);
  let assemblyFormat = "$spill `[` $row `]` `chunk` $chunk `:` type($spill) `,` type($result) attr-dict";
}
def Tile_SaveOp : Tile_Op<"save"> {
  let summary = "keep accumulators of a row block for the next chunk of k";
  let arguments = (ins Tile_AccType:$acc, Tile_SpillType:$spill, Index:$row);
  let assemblyFormat = "$acc `,` $spill `[` $row `]` `:` type($acc) `,` type($spill) attr-dict";
}
def Tile_EpilogueOp : Tile_Op<"epilogue"> {
  let summary = "out[row, column] = region(acc_0 .. acc_{parts-1}, operands) for the block's rows that exist";
  let description = [{
    An empty region, as in a template, stores the accumulator itself; a stage's region is spliced in when it is
      instantiated. Rows past the item and columns past N are not written.
    out_hint nta writes whole lines past the caches, without reading them first. }];
  let arguments = (ins Tile_AccType:$acc, Tile_ItemType:$item, Index:$column, Index:$row, Tile_RowsType:$out,
                       OptionalAttr<Tile_HintAttr>:$outHint, Variadic<Tile_OperandType>:$extra);
  let regions = (region AnyRegion:$body);
  let assemblyFormat = [{ $acc `[` $item `,` $column `,` $row `]` `->` $out (`out_hint` $outHint^)?
                          (`with` `(` $extra^ `:` type($extra) `)`)?
                          `:` type($acc) `,` type($out) attr-dict (`body` $body^)? }];
}

include "codegen/tile/TileCudaOps.td"

#endif
