// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Buffers of one call in -> their contents after it out.

#include "codegen/check/OutputCheck.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace moec {

CallOutputs::CallOutputs(const moec_layer_info &info, int64_t tokens, uint32_t ask)
    : tokens(tokens), hidden(info.hidden), choices(info.top_k), numLogits(info.num_logits), experts(info.num_experts),
      type(DataType(info.y_dtype)), y(size_t(tokens * info.hidden) * 4) {
  asked = ask;
  reports = info.reports & ask;
  const moec_output *row = moec_outputs;
  auto resize = [&](auto &values) {
    if (!moec_is_report(row) || reports & moec_report_bit(row))
      values.resize(size_t(outputElements(info, *row, tokens)));
    ++row;
  };
#define RESIZE(ROLE, name, DTYPE, SHAPE, NEEDS, text) resize(name);
  MOEC_OUTPUTS(RESIZE)
#undef RESIZE
}

CallOutputs CallOutputs::onlyY(const moec_layer_info &info, int64_t tokens) {
  CallOutputs outputs(info, tokens, /*ask=*/0);
#define CLEAR(ROLE, name, DTYPE, SHAPE, NEEDS, text) outputs.name.clear();
  MOEC_ROUTING_OUTPUTS(CLEAR)
#undef CLEAR
  return outputs;
}

// Fills an output with what no kernel writes and gives its address; null: it is not asked for.
static float *prepared(std::vector<float> &values) {
  std::fill(values.begin(), values.end(), std::numeric_limits<float>::quiet_NaN());
  return values.empty() ? nullptr : values.data();
}
static int32_t *prepared(std::vector<int32_t> &values) {
  std::fill(values.begin(), values.end(), INT32_MIN);
  return values.empty() ? nullptr : values.data();
}

Result<> CallOutputs::run(LayerRun &layer, const void *x) {
  if (y.data())
    std::memset(y.data(), 0xff, y.size());
  moec_forward_args args = LayerRun::noOptional();
#define ASK(ROLE, name, DTYPE, SHAPE, NEEDS, text) args.out_##name = prepared(name);
  MOEC_OUTPUTS(ASK)
#undef ASK
  return layer.forward(tokens, x, y.data(), args);
}

bool CallOutputs::sameBits(const CallOutputs &other) const {
  auto same = [](const auto &a, const auto &b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])) == 0;
  };
  auto sameWhereAsked = [&](const auto &a, const auto &b) { return a.empty() || b.empty() || same(a, b); };
#define SAME(ROLE, name, DTYPE, SHAPE, NEEDS, text) &&sameWhereAsked(name, other.name)
  return y.size() == other.y.size() && std::memcmp(y.data(), other.y.data(), y.size()) == 0 MOEC_OUTPUTS(SAME);
#undef SAME
}

std::vector<double> CallOutputs::yRow(int64_t token) const {
  std::vector<double> values(static_cast<size_t>(hidden));
  for (int64_t i = 0; i < hidden; ++i)
    values[size_t(i)] = loadElement(y.data(), type, token * hidden + i);
  return values;
}

std::vector<double> CallOutputs::yValues() const {
  std::vector<double> values(size_t(tokens * hidden));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = loadElement(y.data(), type, int64_t(i));
  return values;
}

bool WorstError::take(const Comparison &comparison, const char *what, std::string &reason) {
  if (!comparison.pass) {
    reason = std::string(what) + ": " + comparison.text;
    return false;
  }
  nmse = std::max(nmse, comparison.nmse);
  value = std::max(value, comparison.maxRel);
  if (comparison.ofLimit > ofLimit || place.empty()) {
    ofLimit = std::max(ofLimit, comparison.ofLimit);
    place = std::string(what) + " row " + std::to_string(std::max<int64_t>(comparison.worstRow, 0));
  }
  return true;
}

} // namespace moec
