// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Row by row, each by its own limits.

#include "codegen/check/GradientCompare.h"

#include "codegen/check/RowsToCompare.h"

#include <algorithm>
#include <cmath>

namespace moec {
namespace {

// A call's gradient of one tensor beside the expected one.
struct OneGradient {
  std::vector<double> actual, expected;
  CompareOptions options;
};

// What f32, or the type of the gradient, loses where a value is added to another or stored.
double stepOf(DataType type) { return type == DataType::BF16 ? 0x1p-8 : type == DataType::F16 ? 0x1p-11 : 0x1p-23; }

std::vector<double> rowsOf(const Gradient &gradient, const std::vector<int64_t> &rows) {
  if (rows.empty())
    return gradient.values();
  std::vector<double> out;
  int64_t columns = gradient.columns();
  for (int64_t row : rows)
    for (int64_t i = row * columns; i < (row + 1) * columns; ++i)
      out.push_back(loadElement(gradient.data(), gradient.type, i));
  return out;
}

OneGradient sideBySide(const Gradient &got, const Gradient *before, const WantedGradient &wanted) {
  OneGradient out;
  out.actual = rowsOf(got, wanted.rows);
  out.expected = wanted.exact ? *wanted.exact : std::vector<double>(out.actual.size(), 0);
  out.options.maxRel = shareOfRow;
  out.options.names = wanted.rows;
  out.options.slack = wanted.slack;
  size_t columns = size_t(got.columns()), rows = columns ? out.expected.size() / columns : 0;
  out.options.slack.most.resize(rows);
  out.options.slack.rms.resize(rows);
  std::vector<double> sum = before ? rowsOf(*before, wanted.rows) : std::vector<double>(out.expected.size(), 0);
  for (size_t r = 0; r < rows; ++r) {
    double most = 0;
    bool any = false;
    for (size_t i = r * columns; i < (r + 1) * columns && i < sum.size(); ++i) {
      any |= out.expected[i] != 0;
      most = std::max(most, std::fabs(sum[i]) + (std::isfinite(out.expected[i]) ? std::fabs(out.expected[i]) : 0));
      out.expected[i] += sum[i];
    }
    if (!any) { // nothing is added to it, not even a rounding
      if (before)
        out.options.maxRel = 0;
      continue;
    }
    double step = before || got.type != DataType::F32 ? stepOf(got.type) * most : 0;
    out.options.slack.most[r] += step + 1e-36; // kernels flush what is smaller
    out.options.slack.rms[r] += step + 1e-36;
  }
  if (before)
    out.options.slack.gain = std::max(out.options.slack.gain, HUGE_VAL);
  return out;
}

bool isNowhereFinite(const std::vector<double> &values) {
  return std::none_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

} // namespace

std::string wrongGradient(const CallGradients &got, const CallGradients *before,
                          const std::map<std::string, WantedGradient> &wanted, int64_t tokens, CheckResult &result) {
  for (const auto &[name, one] : wanted)
    if (!got.find(name))
      return "the package has no gradient of " + name;
  for (const Gradient &gradient : got.all) {
    const Gradient *sum = before && gradient.role >= 0 ? before->find(gradient.name) : nullptr;
    auto found = wanted.find(gradient.name);
    bool empty = found == wanted.end();
    if (empty && tokens > 0)
      return "the package has a gradient of " + gradient.name + ", which the layer has not";
    if (gradient.numElements() == 0)
      continue;
    if (!empty && isNowhereFinite(*found->second.exact)) {
      if (isNowhereFinite(rowsOf(gradient, found->second.rows)))
        continue;
      return "the gradient of " + gradient.name + " is finite, expected NaN";
    }
    OneGradient one = sideBySide(gradient, sum, empty ? WantedGradient() : found->second);
    Comparison compared = compareRows(one.actual, one.expected, gradient.columns(), one.options);
    std::string reason;
    if (!result.worst.take(compared, ("gradient of " + gradient.name).c_str(), reason))
      return reason;
    result.compared.rows += size_t(compared.rows);
    result.compared.values += size_t(compared.values);
  }
  return {};
}

} // namespace moec
