// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows of one output, a kernel's and the reference's, collected for one comparison; and how far a number of the whole
// call may be off.

#ifndef MOEC_CODEGEN_CHECK_ROWSTOCOMPARE_H
#define MOEC_CODEGEN_CHECK_ROWSTOCOMPARE_H

#include "codegen/check/Compare.h"

#include <cmath>
#include <cstdint>
#include <vector>

namespace moec {

// f32 keeps 2^-24 of a value: what is left to functions that no run of the reference disturbs.
inline constexpr double shareOfRow = 1e-6;

// `change`: twice the largest that an erring run made. The rest is what f32 sums over tokens and experts may come to.
inline double limitOfTotal(double want, double change, double relative = 1e-4) {
  return change + relative * std::fabs(want) + 2e-5;
}

// The rows of one output that are compared, the kernel's beside the reference's, with the slack and token of each.
// `slack` must outlive it.
struct RowsToCompare {
  std::vector<double> actual, expected;
  std::vector<int64_t> actualIds, expectedIds;
  CompareOptions options;

  explicit RowsToCompare(const RowSlack &slack) : slack(slack) {
    options.maxRel = shareOfRow;
    options.slack.gain = slack.gain;
  }
  void add(int64_t row, int64_t token, const std::vector<double> &got, const std::vector<double> &want) {
    actual.insert(actual.end(), got.begin(), got.end());
    expected.insert(expected.end(), want.begin(), want.end());
    options.names.push_back(token);
    options.slack.most.push_back(slack.most.at(size_t(row)));
    options.slack.rms.push_back(slack.rms.at(size_t(row)));
  }
  // A row without slack.
  void addExact(int64_t token, const std::vector<double> &got, const std::vector<double> &want) {
    actual.insert(actual.end(), got.begin(), got.end());
    expected.insert(expected.end(), want.begin(), want.end());
    options.names.push_back(token);
  }

private:
  const RowSlack &slack;
};

// Row `row` of [T, columns].
template <typename T> std::vector<T> rowOf(const std::vector<T> &from, int64_t row, int64_t columns) {
  return {from.begin() + row * columns, from.begin() + (row + 1) * columns};
}
inline std::vector<double> rowOf(const std::vector<float> &from, int64_t row, int64_t columns) {
  return {from.begin() + row * columns, from.begin() + (row + 1) * columns};
}
inline std::vector<int64_t> rowOf(const std::vector<int32_t> &from, int64_t row, int64_t columns) {
  return {from.begin() + row * columns, from.begin() + (row + 1) * columns};
}

} // namespace moec

#endif
