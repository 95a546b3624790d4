// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Pointers into a plan's blob in -> copies out.

#include "codegen/package/PlanTables.h"

#include "dsl/text/Sha256.h"
#include "runtime/plan/plan_view.h"

#include <algorithm>
#include <iterator>

namespace moec {

std::string_view PlanTables::text(uint32_t offset) const {
  return offset < strings.size() ? std::string_view(strings.c_str() + offset) : std::string_view();
}

const moec_weight *PlanTables::weightOf(const moec_step &matmul) const {
  return matmul.kind == MOEC_STEP_MATMUL ? &weights[buffers[args[matmul.first_arg + matmulWeightArgument]].slot]
                                         : nullptr;
}

template <class T> static std::vector<T> copySpan(const void *blob, moec_span span) {
  const T *first = reinterpret_cast<const T *>(static_cast<const char *>(blob) + span.offset);
  return std::vector<T>(first, first + span.count);
}

static Result<PlanTables> readPass(const moec_package *package) {
  moec_plan view;
  if (moec_status status = moec_plan_open(package, &view); status != MOEC_OK) {
    char text[512];
    moec_last_error(text, sizeof text);
    return Diagnostic::error("E-PACKAGE", std::string(moec_status_name(status)) + ": " + escaped(text));
  }
  PlanTables plan;
  const moec_plan_header &header = *view.header;
  plan.header = header;
  plan.buffers = copySpan<moec_buffer>(&header, header.buffers);
  plan.steps = copySpan<moec_step>(&header, header.steps);
  plan.args = copySpan<uint16_t>(&header, header.args);
  plan.covers = copySpan<uint8_t>(&header, header.covers);
  plan.roles = copySpan<moec_role>(&header, header.roles);
  plan.weights = copySpan<moec_weight>(&header, header.weights);
  std::vector<char> strings = copySpan<char>(&header, header.strings);
  plan.strings.assign(strings.begin(), strings.end());
  return plan;
}

const moec_package *backwardOf(const moec_package *package) { return package ? package->backward : nullptr; }

Result<PlanTables> readPlan(const moec_package *package) {
  Result<PlanTables> plan = readPass(package);
  const moec_package *pass = plan ? backwardOf(package) : nullptr;
  if (!pass)
    return plan;
  Result<PlanTables> backward = readPass(pass);
  if (!backward)
    return backward.takeError().within("backward pass");
  plan->takeWeightsOf(*backward);
  return plan;
}

std::vector<std::string> gradientTexts(const PlanTables &backward) {
  static const std::pair<uint16_t, const char *> inputs[] = {{MOEC_ROLE_GRAD_X, "x"},
                                                             {MOEC_ROLE_GRAD_RESIDUAL, "residual"},
                                                             {MOEC_ROLE_GRAD_EXPERT_WEIGHTS, "expert_weights"}};
  std::vector<std::string> names;
  for (const auto &[role, name] : inputs)
    for (const moec_buffer &buffer : backward.buffers)
      if (buffer.role == role)
        names.push_back(name);
  for (const moec_buffer &buffer : backward.buffers)
    for (size_t i = 0; buffer.kind == MOEC_BUFFER_GRADIENT && i < std::max<size_t>(1, buffer.route); ++i)
      if (buffer.slot + i < backward.roles.size())
        names.emplace_back(backward.text(backward.roles[buffer.slot + i].name));
  return names;
}

const char *stepKindText(const moec_step &step) {
  static const char *const names[] = {"rows",  "matmul",  "dispatch", "counts",   "capacity", "top_tokens",
                                      "slots", "columns", "groups",   "gradient", "copy"};
  return step.kind < std::size(names) ? names[step.kind] : "?";
}

std::string identityText(const moec_plan_header &header) {
  Sha256Digest digest;
  std::copy(std::begin(header.spec_hash), std::end(header.spec_hash), digest.begin());
  return hexText(digest);
}

std::vector<std::string> isaTexts(uint32_t mask) {
  std::vector<std::string> names;
  for (int isa = 0; isa < MOEC_NUM_ISAS; ++isa)
    if (mask >> isa & 1)
      names.push_back(moec_isa_name(isa));
  return names;
}

} // namespace moec
