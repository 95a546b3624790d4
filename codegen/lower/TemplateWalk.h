// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The walk over a kernel template's body that every lowering shares: loops and integer glue. A template's value maps to
// one or more lowered values, so accumulators expand 1:N without a type conversion.

#ifndef MOEC_CODEGEN_LOWER_TEMPLATEWALK_H
#define MOEC_CODEGEN_LOWER_TEMPLATEWALK_H

#include "codegen/lower/Emitter.h"

namespace moec {

class TemplateWalk {
public:
  virtual ~TemplateWalk() = default;

protected:
  using Accumulator = llvm::SmallVector<mlir::Value>;

  explicit TemplateWalk(Emitter &emitter) : walker(emitter) {}

  // Lowers one op of the tile dialect; false: leave it to the walk (scf.for, terminators, any op on scalars).
  virtual bool lowerOp(mlir::Operation *op) = 0;
  void lowerBlock(mlir::Block &block);
  mlir::Value value(mlir::Value v) { return values.lookup(v).front(); }

  llvm::DenseMap<mlir::Value, Accumulator> values;

private:
  void lowerFor(mlir::scf::ForOp op);
  void lowerOther(mlir::Operation *op);

  Emitter &walker; // the derived class's own; constructed after this base
};

} // namespace moec

#endif
