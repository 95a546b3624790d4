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
  logits.resize(size_t(tokens * numLogits));
  weights.resize(size_t(tokens * choices));
  ids.resize(size_t(tokens * choices));
  counts.resize(size_t(experts));
  asked = ask;
  reports = info.reports & ask;
  auto has = [&](uint32_t report, int64_t count) { return size_t(reports & report ? count : 0); };
  probabilities.resize(has(MOEC_REPORT_PROBABILITIES, tokens * numLogits));
  losses.resize(has(MOEC_REPORT_LOSSES, info.num_losses));
  logitMean.resize(has(MOEC_REPORT_LOGIT_MEAN, 1));
  logitMax.resize(has(MOEC_REPORT_LOGIT_MAX, 1));
  diversity.resize(has(MOEC_REPORT_DIVERSITY, 1));
  choiceCounts.resize(has(MOEC_REPORT_CHOICE_COUNTS, info.num_choice_counts));
  droppedTokens.resize(has(MOEC_REPORT_DROPPED_TOKENS, 1));
}

CallOutputs CallOutputs::onlyY(const moec_layer_info &info, int64_t tokens) {
  CallOutputs outputs(info, tokens, /*ask=*/0);
  outputs.alone = true;
  outputs.logits.clear();
  outputs.weights.clear();
  outputs.ids.clear();
  outputs.counts.clear();
  return outputs;
}

bool CallOutputs::run(LayerRun &layer, const void *x, std::string &error) {
  if (y.data())
    std::memset(y.data(), 0xff, y.size());
  for (std::vector<float> *values : {&logits, &weights, &probabilities, &losses, &logitMean, &logitMax, &diversity})
    std::fill(values->begin(), values->end(), std::numeric_limits<float>::quiet_NaN());
  for (std::vector<int32_t> *values : {&ids, &counts, &choiceCounts, &droppedTokens})
    std::fill(values->begin(), values->end(), INT32_MIN);
  moec_forward_args args = LayerRun::noOptional();
  // layers without logits or ids do not have these outputs
  args.out_logits = !alone && numLogits ? logits.data() : nullptr;
  args.out_ids = !alone && choices ? ids.data() : nullptr;
  args.out_weights = !alone && choices ? weights.data() : nullptr;
  args.out_counts = !alone && choices ? counts.data() : nullptr;
  auto asked = [](auto &values) { return values.empty() ? nullptr : values.data(); };
  args.out_probabilities = asked(probabilities);
  args.out_choice_counts = asked(choiceCounts);
  args.out_losses = asked(losses);
  args.out_logit_mean = asked(logitMean);
  args.out_logit_max = asked(logitMax);
  args.out_diversity = asked(diversity);
  args.out_dropped_tokens = asked(droppedTokens);
  return layer.forward(tokens, x, y.data(), args, error);
}

bool CallOutputs::sameBits(const CallOutputs &other) const {
  auto same = [](const auto &a, const auto &b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])) == 0;
  };
  auto sameWhereAsked = [&](const auto &a, const auto &b) { return a.empty() || b.empty() || same(a, b); };
  bool sameReports = sameWhereAsked(probabilities, other.probabilities) && sameWhereAsked(losses, other.losses) &&
                     sameWhereAsked(logitMean, other.logitMean) && sameWhereAsked(logitMax, other.logitMax) &&
                     sameWhereAsked(diversity, other.diversity) && sameWhereAsked(choiceCounts, other.choiceCounts) &&
                     sameWhereAsked(droppedTokens, other.droppedTokens);
  return sameReports && y.size() == other.y.size() && std::memcmp(y.data(), other.y.data(), y.size()) == 0 &&
         sameWhereAsked(logits, other.logits) && sameWhereAsked(weights, other.weights) &&
         sameWhereAsked(ids, other.ids) && sameWhereAsked(counts, other.counts);
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
