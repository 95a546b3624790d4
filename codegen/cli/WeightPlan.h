// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A SPEC argument, or a package folder, -> the roles of its layer and the regions of its packed weights, as the runtime
// reads them. No kernel is made.

#ifndef MOEC_CODEGEN_CLI_WEIGHTPLAN_H
#define MOEC_CODEGEN_CLI_WEIGHTPLAN_H

#include "CompileFlags.h"

#include "codegen/cuda/CudaPlan.h"
#include "runtime/plan/plan_view.h"

#include <string>
#include <vector>

namespace moec {

enum class WeightDevice { Cpu, Cuda };

class WeightPlan {
public:
  WeightPlan(LaunchPlan plan, WeightDevice device);
  WeightPlan(const WeightPlan &) = delete;
  WeightPlan &operator=(const WeightPlan &) = delete;

  const moec_plan &plan() const { return view; }         // roles, strings, header
  const moec_weight_set &weights() const { return set; } // of the device
  std::string text(uint32_t offset) const { return view.strings + offset; }
  // The element types that a role's numbers are packed as, without doubles.
  std::vector<DataType> packedTypes(uint32_t role) const;

private:
  LaunchPlan launchPlan;
  std::vector<char> blob;
  std::vector<moec_weight> deviceWeights;
  moec_plan view = {};
  moec_weight_set set = {};
};

// The launch plan of a loaded spec. Prints errors and returns their exit code.
int planOfSpec(Session &session, const SpecInput &input, const CompileOptions &options, LaunchPlan &out);

// The same for a SPEC argument, whose layer gets `name` unless that is empty, or for a package folder, whose own plan
// is taken.
int planOfArgument(Session &session, const std::string &argument, const std::string &name, const CompileFlags &flags,
                   const CompileOptions &options, LaunchPlan &out);

} // namespace moec

#endif
