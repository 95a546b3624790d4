// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LayerSpec -> the arguments of the layer's function: x, what a call gives besides it, parameters.

#ifndef MOEC_CODEGEN_BUILD_LAYERARGUMENTS_H
#define MOEC_CODEGEN_BUILD_LAYERARGUMENTS_H

#include "codegen/build/RowOps.h"
#include "dsl/LayerSpec.h"

namespace moec {

struct LayerArgument {
  std::string name; // a role, a role of a class of experts, or an input
  mlir::RankedTensorType type;
  // moe.members: the tensors that a class's parameter consists of. moe.storage: where a checkpoint has it. Or null.
  mlir::DictionaryAttr members, storage;
};

// In the function's order; the first is x.
std::vector<LayerArgument> argumentsOf(RowOps &ops, const LayerSpec &spec);

} // namespace moec

#endif
