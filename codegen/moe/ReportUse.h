// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer -> which ops every call needs, and which serve only reports (results that a call computes on request).

#ifndef MOEC_CODEGEN_MOE_REPORTUSE_H
#define MOEC_CODEGEN_MOE_REPORTUSE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include "llvm/ADT/DenseMap.h"

#include <optional>

namespace moec {

// MOEC_ROLE_* of the report that a moe.role names; nullopt for other results.
std::optional<uint16_t> reportRole(llvm::StringRef name);

class ReportUse {
public:
  explicit ReportUse(mlir::func::FuncOp layer);

  // 0: a result of every call depends on the op. Otherwise 1 << role for every report that depends on it.
  uint32_t askedBy(mlir::Operation *op) const { return asked.lookup(op); }

private:
  llvm::DenseMap<mlir::Operation *, uint32_t> asked;
};

} // namespace moec

#endif
