// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Samples in -> ranks of the interval's ends, and the interval out.

#include "RatioInterval.h"

#include <algorithm>

namespace moec {

static constexpr double tail = 0.025, tailDeviations = 1.959963984540054;
static constexpr size_t largestExact = 40; // of a sample; the normal approximation is within one rank beyond it

// The largest k with P(X < k) <= tail, where probability[x] = P(X = x).
static size_t rankOf(const std::vector<double> &probability) {
  double below = 0;
  size_t k = 0;
  while (k < probability.size() && below + probability[k] <= tail)
    below += probability[k++];
  return k;
}

// The same for a statistic of whole numbers that is nearly normal.
static size_t normalRank(double mean, double deviation) {
  double k = std::floor(mean + 0.5 - tailDeviations * deviation);
  return k < 1 ? 0 : size_t(k);
}

size_t mannWhitneyRank(size_t m, size_t n) {
  if (!m || !n)
    return 0;
  if (std::max(m, n) > largestExact)
    return normalRank(double(m) * double(n) / 2, std::sqrt(double(m) * double(n) * double(m + n + 1) / 12));
  // The largest of all m + n values belongs to the first sample with probability m / (m + n), and then exceeds all n of
  // the second: P(m, n, u) = m / (m + n) P(m - 1, n, u - n) + n / (m + n) P(m, n - 1, u).
  std::vector<std::vector<double>> row(n + 1, std::vector<double>(1, 1)); // P(i, j, .) for j = 0..n, here i = 0
  for (size_t i = 1; i <= m; ++i)
    for (size_t j = 0; j <= n; ++j) {
      std::vector<double> next(i * j + 1, 0);
      double first = double(i) / double(i + j), second = 1 - first;
      for (size_t u = 0; u < row[j].size(); ++u)
        next[u + j] += first * row[j][u];
      for (size_t u = 0; j && u < row[j - 1].size(); ++u)
        next[u] += second * row[j - 1][u];
      row[j] = std::move(next);
    }
  return rankOf(row[n]);
}

size_t signedRankRank(size_t n) {
  if (!n)
    return 0;
  if (n > largestExact)
    return normalRank(double(n) * double(n + 1) / 4, std::sqrt(double(n) * double(n + 1) * double(2 * n + 1) / 24));
  // Every rank counts with probability one half.
  std::vector<double> probability(n * (n + 1) / 2 + 1, 0);
  probability[0] = 1;
  for (size_t rank = 1; rank <= n; ++rank)
    for (size_t w = probability.size(); w-- > 0;)
      probability[w] = 0.5 * (probability[w] + (w >= rank ? probability[w - rank] : 0));
  return rankOf(probability);
}

double medianOf(std::vector<double> values) {
  if (values.empty())
    return NAN;
  std::sort(values.begin(), values.end());
  size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

static RatioInterval intervalOf(std::vector<double> logRatios, size_t rank) {
  RatioInterval interval;
  interval.ratio = std::exp(medianOf(logRatios));
  if (!rank || logRatios.size() < 2 * rank)
    return interval;
  std::sort(logRatios.begin(), logRatios.end());
  interval.low = std::exp(logRatios[rank - 1]);
  interval.high = std::exp(logRatios[logRatios.size() - rank]);
  return interval;
}

// Every k-th of more values than pairs of them can be listed: the distribution stays, the interval becomes a bit wider.
static std::vector<double> thinned(std::vector<double> values) {
  constexpr size_t most = 2000;
  if (values.size() <= most)
    return values;
  std::sort(values.begin(), values.end());
  std::vector<double> kept;
  for (size_t i = 0; i < most; ++i)
    kept.push_back(values[i * values.size() / most]);
  return kept;
}

RatioInterval independentRatio(const std::vector<double> &all, const std::vector<double> &allOther) {
  std::vector<double> a = thinned(all), b = thinned(allOther), logRatios;
  logRatios.reserve(a.size() * b.size());
  for (double first : a)
    for (double second : b)
      logRatios.push_back(std::log(second / first));
  return intervalOf(std::move(logRatios), mannWhitneyRank(a.size(), b.size()));
}

RatioInterval pairedRatio(const std::vector<std::pair<double, double>> &pairs) {
  std::vector<double> logRatios, averages;
  for (auto [a, b] : pairs)
    logRatios.push_back(std::log(b / a));
  logRatios = thinned(std::move(logRatios));
  averages.reserve(logRatios.size() * (logRatios.size() + 1) / 2);
  for (size_t i = 0; i < logRatios.size(); ++i)
    for (size_t j = 0; j <= i; ++j)
      averages.push_back(0.5 * (logRatios[i] + logRatios[j]));
  return intervalOf(std::move(averages), signedRankRank(logRatios.size()));
}

} // namespace moec
