// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reports of a call against the oracle's. Counts are exact; a token whose choice is a tie makes incomparable what is
// made of choices.

#include "codegen/check/OracleCheck.h"

#include <algorithm>
#include <cmath>

namespace moec {

// How far the value may be off, relative to itself and absolutely. Variations cancel, load divides by the noise, and
// weights and outputs of 2-byte types, and outputs in tf32, are rounded, which the oracle does not do.
static bool isNear(const LayerSpec &spec, const LossSpec *loss, bool tf32, double got, double want) {
  bool narrow = spec.dtype.activation != DataType::F32 || (tf32 && !loss);
  bool ofWeights = !loss || (loss->kind == "cv2" && !loss->is("of", "load") && !loss->is("of", "counts")) ||
                   loss->is("over", "selected");
  double relative = loss && loss->is("of", "load") ? 2e-3 : 1e-4, absolute = 2e-5;
  if (narrow && ofWeights)
    relative = absolute = 3e-2;
  return std::fabs(got - want) <= relative * std::fabs(want) + absolute;
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

static bool isReported(const std::vector<float> &got, double want, const LayerSpec &spec, const LossSpec *loss,
                       bool tf32, const std::string &name, std::string &reason) {
  if (got.empty() || !std::isfinite(want) || isNear(spec, loss, tf32, got[0], want))
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
  bool soft = spec.router.kind == RouterKind::Soft, logits = spec.hasRouterWeight() || soft;
  return (spec.hasExpertLogits() ? MOEC_REPORT_PROBABILITIES : 0) |
         (logits ? MOEC_REPORT_LOGIT_MEAN | MOEC_REPORT_LOGIT_MAX : 0) |
         (soft ? 0 : MOEC_REPORT_CHOICE_COUNTS | MOEC_REPORT_DROPPED_TOKENS | (ordered ? MOEC_REPORT_DIVERSITY : 0)) |
         (spec.losses.empty() ? 0 : MOEC_REPORT_LOSSES);
}

// Of a loss that is made of logits alone, a tie between choices changes nothing.
static bool isOfLogits(const LossSpec &loss) {
  return loss.kind == "z" || loss.kind == "entropy" || (loss.kind == "uniform_mse" && !loss.is("over", "selected"));
}

bool compareReports(const LayerSpec &spec, const CallOutputs &out, const ReferenceOutputs &want, bool tf32, bool tied,
                    OracleResult &result, std::string &reason) {
  if (!out.probabilities.empty()) {
    CompareOptions options;
    std::vector<double> got(out.probabilities.begin(), out.probabilities.end());
    // of tokens that a wrap leads around the router
    for (size_t i = 0; i < got.size() && i < want.probabilities.size(); ++i)
      got[i] = std::isnan(want.probabilities[i]) ? want.probabilities[i] : got[i]; // the oracle has none
    if (!want.probabilities.empty() &&
        !result.worst.take(compareRows(got, want.probabilities, out.numLogits, options), "probabilities", reason))
      return false;
  }
  for (size_t i = 0; i < out.losses.size(); ++i)
    if ((!tied || isOfLogits(spec.losses[i])) && isDecided(spec.losses[i], want) &&
        !isReported({out.losses[i]}, want.losses[i], spec, &spec.losses[i], tf32,
                    "losses[" + std::to_string(i) + "] " + spec.losses[i].kind, reason))
      return false;
  LossSpec exact; // of logits, f32 in every layer
  exact.kind = "logits";
  return isReported(out.logitMean, want.logitMean, spec, &exact, tf32, "logit_mean", reason) &&
         isReported(out.logitMax, want.logitMax, spec, &exact, tf32, "logit_max", reason) &&
         (tied || (isReported(out.diversity, want.diversity, spec, nullptr, tf32, "diversity", reason) &&
                   compareCounts(out.choiceCounts, want.counts, "choice_counts", reason) &&
                   compareCounts(out.droppedTokens, {want.droppedTokens}, "dropped_tokens", reason)));
}

} // namespace moec
