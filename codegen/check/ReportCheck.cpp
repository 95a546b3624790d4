// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reports of a call against the oracle's. Counts are exact; a token whose choice is a tie makes incomparable what is
// made of choices.

#include "codegen/check/OracleCheck.h"

#include "dsl/Reports.h"
#include "runtime/moec_outputs.h"

#include <algorithm>
#include <cmath>

namespace moec {

// How far the value may be off: twice what a disturbed run of the reference changes, and what f32 sums over tokens and
// experts may come to. A load divides differences of probabilities by the noise.
static bool isNear(const LossSpec *loss, double change, double got, double want) {
  double relative = loss && loss->is("of", "load") ? 2e-3 : 1e-4;
  return std::fabs(got - want) <= change + relative * std::fabs(want) + 2e-5;
}

// A logit whose sign rounding decides, or a value that is not finite, says nothing about importance_x_load.
static bool isDecided(const LossSpec &loss, const ReferenceOutputs &want) {
  if (loss.kind != "importance_x_load")
    return true;
  double scale = 0;
  for (double z : want.logits)
    scale = std::max(scale, std::fabs(z));
  return std::none_of(want.logits.begin(), want.logits.end(), [&](double z) { return std::fabs(z) < 1e-5 * scale; });
}

static bool isReported(const std::vector<float> &got, double want, const LossSpec *loss, double change,
                       const std::string &name, std::string &reason) {
  if (got.empty() || !std::isfinite(want) || isNear(loss, change, got[0], want))
    return true;
  reason = name + ": got " + std::to_string(got[0]) + ", expected " + std::to_string(want);
  return false;
}

static bool compareCounts(const std::vector<int32_t> &got, const std::vector<int64_t> &want, const char *name,
                          std::string &reason) {
  for (size_t i = 0; i < got.size(); ++i)
    if (i >= want.size() || got[i] != want[i]) {
      reason = std::string(name) + "[" + std::to_string(i) + "]: got " + std::to_string(got[i]) + ", expected " +
               (i < want.size() ? std::to_string(want[i]) : "none");
      return false;
    }
  return true;
}

// The reports that a package of the spec has; one whose sums have no order keeps no outputs of experts.
uint32_t reportsOf(const LayerSpec &spec, bool ordered) {
  uint32_t reports = 0;
#define BIT(ROLE, name, DTYPE, SHAPE, NEEDS, text) reports |= hasReport(spec, #name) ? MOEC_REPORT_##ROLE : 0;
  MOEC_REPORTS(BIT)
#undef BIT
  return ordered ? reports : reports & ~uint32_t(MOEC_REPORT_DIVERSITY);
}

// Of a loss that is made of logits alone, a tie between choices changes nothing.
static bool isOfLogits(const LossSpec &loss) {
  return loss.kind == "z" || loss.kind == "entropy" || (loss.kind == "uniform_mse" && !loss.is("over", "selected"));
}

// Rows that every expert computes: the choices that reach it.
static std::vector<int64_t> rowsOfExperts(const ReferenceOutputs &want, int64_t experts) {
  std::vector<int64_t> rows(size_t(experts), 0);
  for (size_t i = 0; i < want.ids.size(); ++i)
    if (want.ids[i] >= 0 && want.ids[i] < experts && (want.kept.empty() || want.kept[i]))
      ++rows[size_t(want.ids[i])];
  return rows;
}

bool compareReports(const LayerSpec &spec, const CallOutputs &out, const ReferenceOutputs &want,
                    const Sensitivity &sensitivity, bool tied, OracleResult &result, std::string &reason) {
  if (!out.probabilities.empty() && !want.probabilities.empty()) {
    CompareOptions options;
    options.slack = sensitivity.probabilities;
    options.slack.rms.clear(); // f32 in every layer: one measure is enough
    std::vector<double> got(out.probabilities.begin(), out.probabilities.end()), expected = want.probabilities;
    // Tokens that a wrap leads around the router have none.
    bool none = true;
    for (size_t i = 0; i < got.size() && i < expected.size(); ++i) {
      bool absent = std::isnan(expected[i]) && !want.routed.empty();
      got[i] = absent ? expected[i] : got[i];
      none &= absent;
    }
    if (!none && !result.worst.take(compareRows(got, expected, out.numLogits, options), "probabilities", reason))
      return false;
  }
  if (!tied && !want.ids.empty() && !out.counts.empty() &&
      !compareCounts(out.counts, rowsOfExperts(want, out.experts), "counts", reason))
    return false;
  for (size_t i = 0; i < out.losses.size(); ++i)
    if ((!tied || isOfLogits(spec.losses[i])) && isDecided(spec.losses[i], want) &&
        !isReported({out.losses[i]}, want.losses[i], &spec.losses[i], sensitivity.losses[i],
                    "losses[" + std::to_string(i) + "] " + spec.losses[i].kind, reason))
      return false;
  return isReported(out.logitMean, want.logitMean, nullptr, sensitivity.logitMean, "logit_mean", reason) &&
         isReported(out.logitMax, want.logitMax, nullptr, sensitivity.logitMax, "logit_max", reason) &&
         (tied || (isReported(out.diversity, want.diversity, nullptr, sensitivity.diversity, "diversity", reason) &&
                   compareCounts(out.choiceCounts, want.counts, "choice_counts", reason) &&
                   compareCounts(out.droppedTokens, {want.droppedTokens}, "dropped_tokens", reason)));
}

} // namespace moec
