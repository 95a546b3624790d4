// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A launch plan -> the runtime's view of it.

#include "WeightPlan.h"

#include "codegen/emulate/PackageOnDisk.h"

#include <algorithm>

namespace moec {

WeightPlan::WeightPlan(LaunchPlan plan, WeightDevice device) : launchPlan(std::move(plan)) {
  blob = launchPlan.serialize();
  auto *header = reinterpret_cast<const moec_plan_header *>(blob.data());
  view.header = header;
  view.roles = reinterpret_cast<const moec_role *>(blob.data() + header->roles.offset);
  view.strings = blob.data() + header->strings.offset;
  uint64_t packedBytes = launchPlan.packedBytes();
  deviceWeights = device == WeightDevice::Cuda ? cudaWeights(launchPlan, packedBytes) : launchPlan.packedWeights();
  set = {deviceWeights.data(), uint32_t(deviceWeights.size()), packedBytes};
  view.weight_set = set;
}

std::vector<DataType> WeightPlan::packedTypes(uint32_t role) const {
  std::vector<DataType> types;
  for (const moec_weight &weight : deviceWeights)
    for (unsigned part = 0; part < weight.parts; ++part) {
      uint32_t first = weight.role[part], count = weight.role_per_group ? weight.groups : 1;
      DataType type = DataType(weight.dtype);
      if (role >= first && role < first + count && weight.derived == MOEC_DERIVED_NONE &&
          std::find(types.begin(), types.end(), type) == types.end())
        types.push_back(type);
    }
  return types;
}

int planOfSpec(Session &session, const SpecInput &input, const CompileOptions &options, LaunchPlan &out) {
  std::vector<Diagnostic> errors;
  std::optional<LaunchPlan> plan = planLayer(input.compileInput(), options, errors);
  if (!plan)
    return reportCompileErrors(session, input, errors);
  out = std::move(*plan);
  return ExitDone;
}

int planOfArgument(Session &session, const std::string &argument, const std::string &name, const CompileFlags &flags,
                   const CompileOptions &options, LaunchPlan &out) {
  if (isPackageFolder(argument)) {
    Result<std::unique_ptr<PackageOnDisk>> package = openPackage(argument);
    if (!package)
      return fail(session, package.error());
    out = (*package)->compiled.plan;
    return ExitDone;
  }
  SpecInput input;
  if (int code = loadSpec(session, argument, flags, input))
    return code;
  if (int code = renameSpec(session, input, name))
    return code;
  return planOfSpec(session, input, options, out);
}

} // namespace moec
