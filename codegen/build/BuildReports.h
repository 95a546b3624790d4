// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Values that every call computes (logits, ids, weights, the experts' outputs) -> what a call reports besides y.

#ifndef MOEC_CODEGEN_BUILD_BUILDREPORTS_H
#define MOEC_CODEGEN_BUILD_BUILDREPORTS_H

#include "codegen/build/CallTotals.h"
#include "codegen/build/LayerValues.h"
#include "dsl/LayerSpec.h"

namespace moec {

class ReportsBuilder : CallTotals {
public:
  // All must outlive the object.
  ReportsBuilder(const RowOps &ops, const LayerSpec &spec, const LayerValues &layer)
      : CallTotals(ops, layer.present), spec(spec), layer(layer) {}

  // Results that a call computes only on request, by their moe.role.
  std::vector<std::pair<llvm::StringRef, mlir::Value>> buildReports(const RouterValues &router,
                                                                    llvm::ArrayRef<RoutedRows> routed);

private:
  const LayerSpec &spec;
  const LayerValues &layer;

  mlir::Value diversity(const RouterValues &router, llvm::ArrayRef<RoutedRows> routed);
};

} // namespace moec

#endif
