// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer -> which of its ops every call needs, and which serve reports alone: results that a caller may ask for.

#ifndef MOEC_CODEGEN_MOE_REPORTUSE_H
#define MOEC_CODEGEN_MOE_REPORTUSE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include "llvm/ADT/DenseMap.h"

#include <optional>

namespace moec {

// MOEC_ROLE_* of the result that a moe.role names; of reports only.
std::optional<uint16_t> reportRole(llvm::StringRef name);

class ReportUse {
public:
  explicit ReportUse(mlir::func::FuncOp layer);

  // 0: some result that every call makes depends on the op. Else 1 << role of every report that does.
  uint32_t askedBy(mlir::Operation *op) const { return asked.lookup(op); }

private:
  llvm::DenseMap<mlir::Operation *, uint32_t> asked;
};

} // namespace moec

#endif
