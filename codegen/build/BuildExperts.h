// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// experts and combine blocks of a spec -> gather, grouped matmuls, maps and combine.

#ifndef MOEC_CODEGEN_BUILD_BUILDEXPERTS_H
#define MOEC_CODEGEN_BUILD_BUILDEXPERTS_H

#include "codegen/build/BuildMlp.h"
#include "codegen/build/BuildNorm.h"

namespace moec {

// Experts that are computed together: all of them, or a class of one width.
struct ExpertSet {
  std::string prefix; // of their roles
  int64_t count = 0;
  int64_t width = 0; // hidden columns
};

class ExpertsBuilder : RowOps {
public:
  // All must outlive the object.
  ExpertsBuilder(const RowOps &ops, const LayerSpec &spec, const LayerValues &layer)
      : RowOps(ops), spec(spec), layer(layer), norm(ops), mlp(ops, elementOf(spec.dtype.activation), layer) {}

  ExpertsValues build(const RouterValues &router);

private:
  const LayerSpec &spec;
  const LayerValues &layer;
  NormBuilder norm;
  MlpBuilder mlp;

  // Outputs of a set of experts, or of all classes, before the latent projection: `combined` is [T,width].
  ExpertsValues setOutputs(const ExpertSet &experts, const RouterValues &router, mlir::Value tokens);
  ExpertsValues routedOutputs(const ExpertSet &experts, const RouterValues &router, mlir::Value tokens);
  ExpertsValues slotOutputs(const ExpertSet &experts, const RouterValues &router, mlir::Value tokens);
  ExpertsValues classOutputs(const RouterValues &router, mlir::Value tokens);

  // Rows of a route -> their outputs, [R,width] in the type of combine.rows.
  mlir::Value outputs(const ExpertSet &experts, mlir::Value input, mlir::Value route, const RouterValues &router);
  mlir::Value maskRows(const std::string &name, mlir::Value route, int64_t columns, const RouterValues &router);
  mlir::Value normalized(const ExpertSet &experts, mlir::Value output, mlir::Value route, mlir::Value kept);
  MlpShape shapeOf(const ExpertSet &experts) const;
  double outputScale() const;

  mlir::Value latentIn(bool slots);
  mlir::Value latentOut(mlir::Value combined, const RouterValues &router);
};

} // namespace moec

#endif
