// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "TrainingMemory.h"

#include "codegen/package/CallMemory.h"

#include <algorithm>

namespace moec {

// "x", and the other inputs that have a gradient.
static std::vector<std::string> inputsWithGradients(const PlanTables &backward) {
  std::vector<std::string> names = gradientTexts(backward);
  auto isRole = [&](const std::string &name) {
    return std::any_of(backward.roles.begin(), backward.roles.end(),
                       [&](const moec_role &role) { return backward.text(role.name) == name; });
  };
  names.erase(std::remove_if(names.begin(), names.end(), isRole), names.end());
  return names;
}

Result<TrainingMemory> TrainingMemory::make(const LayerRun &layer, const PlanTables &backward, int64_t tokens,
                                            DataType matrices) {
  TrainingMemory memory;
  Result<size_t> bytes = layer.savedBytes(tokens);
  if (!bytes)
    return bytes.takeError();
  memory.savedBytes = *bytes;
  memory.saved = PageBuffer(std::max<size_t>(*bytes, 1));
  const moec_layer_info &info = layer.info();
  int64_t elements = tokens * info.hidden;
  memory.dy = PageBuffer(size_t(std::max<int64_t>(elements * moec_dtype_bytes(info.y_dtype), 1)));
  if (!memory.saved.data() || !memory.dy.data())
    return Diagnostic::error("E-MEMORY", "not enough memory for what a forward call saves and dy");
  fillNormal(memory.dy.data(), DataType(info.y_dtype), elements, 0, 1, 500);
  memory.coefficients.assign(size_t(info.num_losses), 0.01f);
  Result<CallGradients> gradients = CallGradients::make(layer, tokens, inputsWithGradients(backward), matrices);
  if (!gradients)
    return gradients.takeError();
  memory.gradients = std::move(*gradients);
  return memory;
}

void TrainingMemory::save(moec_forward_args &args) const {
  args.saved = saved.data();
  args.saved_bytes = savedBytes;
}

void TrainingMemory::fill(moec_backward_args &args) {
  args.grad_y = dy.data();
  args.grad_losses = coefficients.empty() ? nullptr : coefficients.data();
  args.saved = saved.data();
  args.saved_bytes = savedBytes;
  gradients.ask(args);
}

double trainingBytes(const PlanTables &forward, const PlanTables &backward, int64_t tokens, DataType matrices) {
  double bytes = double(moec::savedBytes(forward, tokens));
  std::vector<std::string> names = gradientTexts(backward);
  for (const moec_role &role : backward.roles) {
    double elements = 1;
    for (uint32_t i = 0; i < role.rank; ++i)
      elements *= double(role.dims[i]);
    if (std::find(names.begin(), names.end(), backward.text(role.name)) != names.end())
      bytes += elements * (role.matrix ? dataTypeBits(matrices) / 8 : 4);
  }
  return bytes + double(inputsWithGradients(backward).size() + 1) * double(tokens) * double(forward.header.hidden) * 4;
}

} // namespace moec
