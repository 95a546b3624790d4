// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reports of a call against the oracle's. Counts are exact; a token whose choice is a tie makes incomparable what is
// made of choices.

#include "codegen/check/OracleCheck.h"
#include "codegen/check/RowsToCompare.h"

#include "dsl/Reports.h"
#include "runtime/moec_outputs.h"

#include <algorithm>
#include <cmath>

namespace moec {

// A load divides differences of probabilities by the noise.
static bool isNear(const LossSpec *loss, double change, double got, double want) {
  double relative = loss && loss->is("of", "load") ? 2e-3 : 1e-4;
  return std::fabs(got - want) <= limitOfTotal(want, change, relative);
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

static bool areNear(const std::vector<float> &got, const std::vector<double> &want, const std::vector<double> &change,
                    const std::string &name, std::string &reason) {
  for (size_t i = 0; i < got.size(); ++i) {
    if (i < want.size() && (!std::isfinite(want[i]) || isNear(nullptr, change[i], got[i], want[i])))
      continue;
    reason = name + (got.size() > 1 ? "[" + std::to_string(i) + "]" : "") + ": got " + std::to_string(got[i]) +
             ", expected " + (i < want.size() ? std::to_string(want[i]) : "none");
    return false;
  }
  return true;
}

static bool areEqual(const std::vector<int32_t> &got, const std::vector<double> &want, const std::string &name,
                     std::string &reason) {
  for (size_t i = 0; i < got.size(); ++i)
    if (i >= want.size() || double(got[i]) != want[i]) {
      reason = name + "[" + std::to_string(i) + "]: got " + std::to_string(got[i]) + ", expected " +
               (i < want.size() ? std::to_string(int64_t(want[i])) : "none");
      return false;
    }
  return true;
}

// The reports that a package of the spec has; one whose sums have no order keeps no outputs of experts.
uint32_t reportsOf(const LayerSpec &spec, bool ordered) {
  uint32_t reports = 0;
  for (const moec_output &output : moec_outputs)
    if (moec_is_report(&output) && hasReport(spec, output.name))
      reports |= moec_report_bit(&output);
  return ordered ? reports : reports & ~uint32_t(MOEC_REPORT_DIVERSITY);
}

// A tie between choices does not change a loss that is made of logits alone.
static bool isOfLogits(const LossSpec &loss) {
  return loss.kind == "z" || loss.kind == "entropy" || (loss.kind == "uniform_mse" && !loss.is("over", "selected"));
}

// Rows that every expert computes: the choices that reach it.
static std::vector<double> rowsOfExperts(const ReferenceOutputs &want, int64_t experts) {
  std::vector<double> rows(size_t(experts), 0);
  for (size_t i = 0; i < want.ids.size(); ++i)
    if (want.ids[i] >= 0 && want.ids[i] < experts && (want.kept.empty() || want.kept[i]))
      ++rows[size_t(want.ids[i])];
  return rows;
}

namespace {

// The reports of one call beside the oracle's, a function per type and shape.
struct Reports {
  const LayerSpec &spec;
  const CallOutputs &out;
  const ReferenceOutputs &want;
  const Sensitivity &sensitivity;
  bool tied;
  OracleResult &result;
  std::string &reason;

  bool compareRowsOf(const std::vector<float> &values, const char *name) {
    std::vector<double> got(values.begin(), values.end()), expected = reportValues(want, name);
    if (got.empty() || expected.empty())
      return true;
    CompareOptions options;
    options.slack = sensitivity.probabilities;
    options.slack.rms.clear(); // f32 in every layer: one measure is enough
    // Tokens that a wrap leads around the router have none.
    bool none = true;
    for (size_t i = 0; i < got.size() && i < expected.size(); ++i) {
      bool absent = std::isnan(expected[i]) && !want.routed.empty();
      got[i] = absent ? expected[i] : got[i];
      none &= absent;
    }
    return none || result.worst.take(compareRows(got, expected, out.numLogits, options), name, reason);
  }

  bool compareLosses() {
    const std::vector<double> &change = sensitivity.totals.at("losses");
    for (size_t i = 0; i < out.losses.size(); ++i) {
      const LossSpec &loss = spec.losses[i];
      double got = out.losses[i], expected = want.losses[i];
      if ((tied && !isOfLogits(loss)) || !isDecided(loss, want) || !std::isfinite(expected) ||
          isNear(&loss, change[i], got, expected))
        continue;
      reason = "losses[" + std::to_string(i) + "] " + loss.kind + ": got " + std::to_string(got) + ", expected " +
               std::to_string(expected);
      return false;
    }
    return true;
  }

  bool compare(const moec_output &output, const std::vector<float> &values) {
    if (output.needs == MOEC_NEEDS_LOSSES)
      return compareLosses();
    if (output.shape == MOEC_SHAPE_TN)
      return compareRowsOf(values, output.name);
    if (values.empty() || (tied && output.needs == MOEC_NEEDS_CHOICES))
      return true;
    return areNear(values, reportValues(want, output.name), sensitivity.totals.at(output.name), output.name, reason);
  }

  bool compare(const moec_output &output, const std::vector<int32_t> &values) {
    return tied || areEqual(values, reportValues(want, output.name), output.name, reason);
  }

  bool compareAll() {
    if (!tied && !want.ids.empty() && !areEqual(out.counts, rowsOfExperts(want, out.experts), "counts", reason))
      return false;
    return eachOutput(out, [&](const moec_output &output, const auto &values) {
      return !moec_is_report(&output) || compare(output, values);
    });
  }
};

} // namespace

bool compareReports(const LayerSpec &spec, const CallOutputs &out, const ReferenceOutputs &want,
                    const Sensitivity &sensitivity, bool tied, OracleResult &result, std::string &reason) {
  return Reports{spec, out, want, sensitivity, tied, result, reason}.compareAll();
}

} // namespace moec
