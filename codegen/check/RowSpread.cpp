// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sums and maxima over runs, and the limits that follow.

#include "codegen/check/RowSpread.h"

#include <algorithm>
#include <numeric>

namespace moec {

RowSpread::RowSpread(const std::vector<double> &want, int64_t tokens, double least)
    : want(want), tokens(size_t(tokens)), columns(tokens ? want.size() / size_t(tokens) : 0), least(least),
      counted(this->tokens), most(this->tokens), rms(this->tokens), errors(this->tokens, HUGE_VAL),
      alongRows(this->tokens) {
  for (size_t t = 0; t < this->tokens; ++t)
    counted[t] = double(std::count_if(want.begin() + std::ptrdiff_t(t * columns),
                                      want.begin() + std::ptrdiff_t((t + 1) * columns),
                                      [&](double v) { return std::isfinite(v) && !(std::fabs(v) < least); }));
}

void RowSpread::add(const std::vector<double> &run, const std::vector<uint8_t> &comparable) {
  if (run.size() != want.size())
    return;
  double all = 0;
  for (size_t t = 0; t < tokens; ++t) {
    if (!comparable[t])
      continue;
    double along = 0, squares = 0, fourths = 0;
    for (size_t i = t * columns; i < (t + 1) * columns; ++i) {
      double d = run[i] - want[i];
      // infinite or NaN on both sides, or beyond the type: compared as such
      if (!std::isfinite(d) || std::fabs(want[i]) < least)
        continue;
      most[t] = std::max(most[t], std::fabs(d));
      squares += d * d;
      fourths += d * d * d * d;
      along += d * want[i];
    }
    rms[t] = std::max(rms[t], std::sqrt(squares / std::max(counted[t], 1.0)));
    if (fourths > 0)
      errors[t] = std::min(errors[t], 3 * squares * squares / fourths);
    alongRows[t] += along * along;
    all += along;
  }
  alongAll += all * all;
  ++runs;
}

double RowSpread::sizeOf(size_t row) const {
  double size = 0;
  for (size_t i = row * columns; i < (row + 1) * columns; ++i)
    size += std::isfinite(want[i]) ? want[i] * want[i] : 0;
  return size;
}

RowSlack RowSpread::slack(double freedom) const {
  std::vector<int64_t> all(tokens);
  std::iota(all.begin(), all.end(), 0);
  return slackOf(all, freedom);
}

RowSlack RowSpread::slackOf(const std::vector<int64_t> &some, double freedom) const {
  RowSlack out;
  double size = 0, whole = 0, rows = 0;
  for (size_t t = 0; t < tokens; ++t)
    whole += sizeOf(t);
  for (int64_t row : some) {
    auto t = size_t(row);
    size += sizeOf(t);
    out.most.push_back(2 * most[t]);
    out.rms.push_back((1 + 4 / std::sqrt(std::min({freedom, std::max(counted[t], 1.0), errors[t]}))) * rms[t]);
    rows += alongRows[t] / std::max(runs, 1.0);
  }
  if (size > 0)
    out.gain = 4 * (1 + 12 / (runs * double(some.size()))) *
               std::max(std::sqrt(alongAll / runs) / whole, std::sqrt(rows) / size);
  return out;
}

int64_t disturbedRuns(int64_t columns, double work) { return columns < 8 ? 16 : columns < 32 ? 8 : work > 1e7 ? 2 : 4; }

} // namespace moec
