// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A norm of a spec, rows [L,N] -> the rows normalised over their columns, [L,N].

#ifndef MOEC_CODEGEN_BUILD_BUILDNORM_H
#define MOEC_CODEGEN_BUILD_BUILDNORM_H

#include "codegen/build/LayerValues.h"
#include "codegen/build/RowOps.h"
#include "dsl/LayerSpec.h"

#include <functional>

namespace moec {

class NormBuilder : RowOps {
public:
  // The operand of a map that holds a role's values; `suffix` is "_weight" or "_bias". Asked for those the norm has.
  using RoleOperand = std::function<Bound(const char *suffix)>;

  explicit NormBuilder(const RowOps &ops) : RowOps(ops) {}

  // `rows` of any float type; the result has elements of `element`.
  mlir::Value normalized(mlir::Value rows, const NormSpec &norm, mlir::Type element, const RoleOperand &role);
  // The same of a norm that all rows share, whose roles begin with `name`.
  mlir::Value normalized(mlir::Value rows, const NormSpec &norm, mlir::Type element, const LayerValues &layer,
                         const std::string &name);

private:
  mlir::Value factor(mlir::Value weight, const NormSpec &norm); // inside a map
};

} // namespace moec

#endif
