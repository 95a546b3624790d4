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

Result<PlanTables> readPlan(const moec_package *package) {
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
