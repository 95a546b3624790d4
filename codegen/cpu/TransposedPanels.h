// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Panels that forward reads in -> one column panel of the transposed matrix, in scratch, as kernels read panels.
//
// Column panel P of the transpose has depth n of the owner and columns 32 P .. of its depth k. 2-byte elements lie in
// tiles of 16 columns n by 32 k, words of two k; a tile becomes eight pairs of n in each half of the panel:
//
//     owner     [pair of k][pair of n][2 n][2 k]              16 vectors
//     panel     [half of k][pair of n][pair of k][2 k][2 n]   squares of 2 x 2 turned, and transposed 8 x 8
//
// f32: the owner's [k][32 n], 16 x 16 at a time, become [n][32 k].

#ifndef MOEC_CODEGEN_CPU_TRANSPOSEDPANELS_H
#define MOEC_CODEGEN_CPU_TRANSPOSEDPANELS_H

#include "codegen/lower/Emitter.h"
#include "codegen/tile/MatmulStage.h"

namespace moec {

class TransposedPanelEmitter {
public:
  TransposedPanelEmitter(Emitter &e, const TransposedPanels &owner, int64_t elementBytes, int64_t blockK)
      : e(e), owner(owner), elementBytes(elementBytes), blockK(blockK) {}

  // Of a transpose whose depth is `depth`.
  static int64_t scratchBytes(int64_t depth, int64_t elementBytes) {
    return (depth + 31) / 32 * 32 * 32 * elementBytes;
  }

  // Fills steps first .. last - 1 of the scratch `to` with column panel `panel` of the group at `base`; all i64 but the
  // pointers. f32 fills whole blocks of 16 depths around them.
  void fill(mlir::Value base, mlir::Value panel, mlir::Value first, mlir::Value last, mlir::Value to);

  // What step `step` of column panel `panel` will be made of: 1024 bytes at the result, and as many `distance()` behind
  // it. 2-byte elements only.
  mlir::Value source(mlir::Value base, mlir::Value panel, mlir::Value step);
  int64_t distance() const { return owner.parts == 2 ? owner.panelBytes : 1024; }

private:
  using Values = llvm::SmallVector<mlir::Value>;
  mlir::Value blockAddress(mlir::Value base, mlir::Value block); // of 16 columns, depth 0
  void fillBlock(mlir::Value base, mlir::Value panel, mlir::Value block, mlir::Value to);
  void turnHalves(mlir::Value from, mlir::Value block, mlir::Value to);
  void turnFloats(mlir::Value from, mlir::Value panel, mlir::Value block, mlir::Value to);
  Values transposed(Values rows);    // 16 x 16 words
  Values turnedSquares(Values rows); // 8 x 8 squares

  Emitter &e;
  const TransposedPanels &owner;
  int64_t elementBytes, blockK;
};

} // namespace moec

#endif
