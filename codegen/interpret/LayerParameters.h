// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer -> the tensors that a package of it asks for, and from these the values of its arguments.

#ifndef MOEC_CODEGEN_INTERPRET_LAYERPARAMETERS_H
#define MOEC_CODEGEN_INTERPRET_LAYERPARAMETERS_H

#include "codegen/interpret/InterpretedValues.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <functional>
#include <string>
#include <vector>

namespace moec::interpret {

// One tensor of a checkpoint in logical form. A parameter with moe.members is one per expert, ROLE.e.
struct LayerParameter {
  std::string role;
  std::vector<int64_t> shape;
  mlir::Type element;
  bool matrix = false;   // some grouped_matmul multiplies by it
  int64_t idsBelow = 0;  // not 0: a table of group numbers below this, which lookup reads and a region makes integers
  unsigned argument = 0; // of the layer, the first that has the role
};

// Every role once, in the order of the arguments. `layer` was accepted by findLayer.
std::vector<LayerParameter> parametersOf(mlir::func::FuncOp layer);

// The value of argument `index` from tensors by role; members are padded with zeros. Null: there is no such tensor, or
// it has another number of elements.
TensorRef argumentValue(mlir::func::FuncOp layer, unsigned index,
                        const std::function<TensorRef(const std::string &role)> &find);

// The opposite for a value of argument `index`, its gradient say: tensors by role, of members without padding.
void eachTensor(mlir::func::FuncOp layer, unsigned index, const TensorRef &value,
                const std::function<void(const std::string &role, TensorRef tensor)> &visit);

// The largest id that means something to the layer, plus one: groups of the dispatch of its experts; 1 without one.
int64_t numGroups(mlir::func::FuncOp layer);

} // namespace moec::interpret

#endif
