// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Values that the builders of a layer's parts take and return. Null: the layer does not have the value.

#ifndef MOEC_CODEGEN_BUILD_LAYERVALUES_H
#define MOEC_CODEGEN_BUILD_LAYERVALUES_H

#include "mlir/IR/Value.h"
#include "llvm/ADT/SmallVector.h"

#include <map>
#include <string>

namespace moec {

// What every builder reads.
struct LayerValues {
  mlir::Value x;                                // [T,H]
  std::map<std::string, mlir::Value> arguments; // parameters by role, or role of a class; other inputs by name
  mlir::Value present;                          // [T,1] i32: 1 where a wrapped layer runs its experts

  mlir::Value parameter(const std::string &role) const { return arguments.at(role); }
  mlir::Value input(const std::string &name) const { return arguments.at(name); }
};

// The router -> experts, wrap, reports and losses.
struct RouterValues {
  mlir::Value logits;  // [T,R] f32, after transforms; R = routed plus zero experts; [T,2n] of product keys
  mlir::Value ids;     // [T,K] i32, -1 = none
  mlir::Value weights; // [T,K] f32; soft routing: [T,S] of slots, those that add outputs
  mlir::Value shared;  // [T,S] f32, the weights of S shared experts that the router weighs
  mlir::Value wanted;  // [T,K] i32, the ids that ask for a place, -1 elsewhere
  mlir::Value kept;    // [T,K] i32, the ids that reach their experts, -1 elsewhere
  mlir::Value passed;  // [T] f32, the weight of x itself in the output
  mlir::Value added;   // [T,H] f32, the sum of the constant experts
  // Soft routing.
  mlir::Value route;                      // the route of slots
  mlir::Value slotWeights;                // [T,S] f32, those that make the slots' inputs
  llvm::SmallVector<int32_t> slotNumbers; // the layer's slots that the route has; empty: all
};

// Outputs of routed experts, before weights.
struct RoutedRows {
  mlir::Value outputs; // [R,width], f32 or the activation type
  mlir::Value route;
};

// Experts -> wrap and reports.
struct ExpertsValues {
  mlir::Value combined;                 // [T,H] f32
  llvm::SmallVector<RoutedRows> routed; // one per class of experts; empty for soft routing
};

// Shared experts -> wrap, which makes y = own · y + factor · output of them. Null factors are 1.
struct SharedValues {
  mlir::Value output;      // [T,H], f32 or the activation type
  mlir::Value own, factor; // [T] f32
};

} // namespace moec

#endif
