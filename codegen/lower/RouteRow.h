// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a route says of one of its rows, as a kernel that computes the row has it.

#ifndef MOEC_CODEGEN_LOWER_ROUTEROW_H
#define MOEC_CODEGEN_LOWER_ROUTEROW_H

#include "mlir/IR/Value.h"

namespace moec {

struct RouteRow {          // i64
  mlir::Value token, slot; // slot = token * K + choice
  mlir::Value choice;      // null: not of a route of slots
};

} // namespace moec

#endif
