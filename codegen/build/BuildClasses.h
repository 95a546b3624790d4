// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Experts of different width: the router's values -> those of each class of experts.

#ifndef MOEC_CODEGEN_BUILD_BUILDCLASSES_H
#define MOEC_CODEGEN_BUILD_BUILDCLASSES_H

#include "codegen/build/ExpertClasses.h"
#include "codegen/build/LayerValues.h"
#include "codegen/build/RowOps.h"

namespace moec {

class ClassesBuilder : RowOps {
public:
  // Builds what all classes share. Both must outlive the object.
  ClassesBuilder(const RowOps &ops, const LayerSpec &spec, const RouterValues &router);

  const std::vector<ExpertClass> &classes() const { return list; }

  // What experts of one class read: the choices whose expert is a member, by its number there; or their slots.
  RouterValues routerOf(size_t number);

private:
  const LayerSpec &spec;
  const RouterValues &router;
  std::vector<ExpertClass> list;
  mlir::Value place; // [T,K] i32: class · E + number in the class, -1 = none; null for slots

  mlir::Value placesOf(mlir::Value kept);
};

} // namespace moec

#endif
