// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A tile.kernel in -> one llvm.func with the signature of moec_kernel_fn (bodies still hold scf, arith, math, vector).

#ifndef MOEC_CODEGEN_CPU_CPULOWERING_H
#define MOEC_CODEGEN_CPU_CPULOWERING_H

#include "codegen/Target.h"
#include "codegen/lower/TemplateWalk.h"
#include "codegen/tile/MatmulStage.h"
#include "codegen/tile/TileDialect.h"

#include "mlir/IR/BuiltinOps.h"

#include <memory>
#include <optional>
#include <string>

namespace moec {

// How a kernel multiplies: by f32 FMA, by dot products of bf16 pairs, in AMX tiles (both bf16 A and B), or by calls
// that emulate tiles.
enum class Multiply { Vector, Dot, Tiles, EmulatedTiles };

// Of a schedule entry's numeric: "fma", "dot" or "amx".
Multiply multiplyOf(llvm::StringRef numeric, bool emulateTiles = false);

// Lowers `kernel` into `module` as the function of its name; returns the worker scratch it needs in bytes.
int64_t lowerKernel(tile::KernelOp kernel, const IsaFacts &isa, Multiply multiply, mlir::ModuleOp module);

// Items, columns and rows of a CPU kernel. A family decides how accumulators are made, multiplied, packed for and
// stored.
class CpuLowering : public TemplateWalk {
public:
  int64_t run(mlir::ModuleOp module);

protected:
  CpuLowering(tile::KernelOp kernel, const IsaFacts &isa)
      : TemplateWalk(e), e(mlir::OpBuilder(kernel.getContext()), kernel.getLoc(), isa), kernel(kernel) {}

  // -- decided by a family
  virtual int64_t packedBytes(tile::PackedType type) = 0;
  virtual void pack(tile::PackOp op) = 0;
  virtual Accumulator zero(int64_t rows) = 0;
  virtual Accumulator mma(tile::MmaOp op, const Accumulator &acc) = 0;
  virtual void saveAccumulator(const Accumulator &acc, int64_t rows, mlir::Value to) = 0; // to: [rows][32] f32
  virtual Accumulator loadAccumulator(int64_t rows, mlir::Value from) = 0;
  // Where a step prefetches, whatever the template says: before it multiplies; or among its products, by prefetchLines.
  virtual bool prefetchesFirst() { return false; }
  virtual bool prefetchesAmong(tile::PrefetchOp) { return false; }

  // -- the current item; i64 except for the pointers
  struct Item {
    mlir::Value group, row0, rows, panel0, panels;
    // First panel of this and of the following item; of transposed panels the group's first.
    mlir::Value base, nextBase;
    mlir::Value nextPanel0;
  };

  static int64_t integer(mlir::IntegerAttr attr) { return attr.getInt(); }
  int64_t shape(llvm::StringRef name) { return kernel.shape(name); }
  int64_t parts() { return shape("parts"); }
  int64_t columnsPerPanel() { return parts() == 2 ? 16 : 32; }
  static int64_t stepBytes(tile::PanelsType type);
  mlir::Value rowPointer(tile::RowsType type, mlir::Value base, mlir::Value row); // through row_token when gathered
  mlir::Value stepAddress(tile::PanelsType type, const Item &item, mlir::Value column, mlir::Value step);
  // Value of each operand of a prologue or epilogue at (row, element offset `column`) on `lanes` elements.
  llvm::SmallVector<mlir::Value> operandValues(mlir::ValueRange operands, const Item &item, mlir::Value row,
                                               mlir::Value column, int64_t lanes);
  // What a step fetches, from the row block at hand: `lines` lines, line i of stream i % streams.
  struct Fetch {
    mlir::Value base; // first line of the first stream
    int64_t lines, streams, streamBytes;
    int32_t locality;
  };
  // A row block past `share` gets a base inside the step's own panel, which is in cache: fetching it costs less than a
  // branch.
  Fetch planFetch(tile::PrefetchOp op);
  void prefetchLine(const Fetch &fetch, mlir::Value line, int64_t ahead); // line + ahead, wherever that is
  mlir::Value loadTail(mlir::Type element, mlir::Value p, mlir::Value column, int64_t lanes);
  // Calls body(block, rowInBlock, row, valid) for every row slot of the packed operand's used blocks.
  void forPackedRows(tile::PackedType type, llvm::function_ref<void(mlir::Value, mlir::Value, mlir::Value)> present,
                     llvm::function_ref<void(mlir::Value, mlir::Value)> absent);

  // The row block at hand, as tile.for_rows walks: its rows and the first of them. Types of accumulators say block_m,
  // but blocks may be one row lower.
  struct RowBlock {
    int64_t rows = 0;
    mlir::Value first; // i64
  };

  Emitter e;
  tile::KernelOp kernel;
  RowBlock block;
  llvm::DenseMap<mlir::Value, Item> items;
  Item current;

private:
  bool lowerOp(mlir::Operation *op) override;
  // Of transposed panels: fills the scratch with the steps that the products of the rows' body will read.
  void transposeFor(tile::ForRowsOp op);
  Fetch planTransposedFetch(tile::PrefetchOp op);
  void lowerItems(tile::ForItemsOp op);
  void lowerRows(tile::ForRowsOp op);
  void lowerPrefetch(tile::PrefetchOp op);
  void lowerEpilogue(tile::EpilogueOp op);
  void epilogueColumns(tile::EpilogueOp op, mlir::Value row, mlir::Value accRow, bool pastCaches);
  void storeColumns(mlir::Value result, mlir::Value outRow, mlir::Value column, bool pastCaches);
  void lowerRestore(tile::RestoreOp op);
  mlir::Value allocate(int64_t bytes);
  Item loadItem(mlir::Value index);

  mlir::Value scratch, first, last, itemArray, numItems, panels, rowToken;
  mlir::Value accStore; // [48][32] f32 on the stack
  int64_t scratchBytes = 0;
  std::optional<TransposedPanels> transposed; // the panels are made of these, in transposedScratch
  mlir::Value transposedScratch;
  bool needsFence = false; // some stores went past the caches
};

std::unique_ptr<CpuLowering> makeCpuAmx(tile::KernelOp kernel, const IsaFacts &isa, bool emulated);
std::unique_ptr<CpuLowering> makeCpuVector(tile::KernelOp kernel, const IsaFacts &isa);
std::unique_ptr<CpuLowering> makeCpuDot(tile::KernelOp kernel, const IsaFacts &isa);

} // namespace moec

#endif
