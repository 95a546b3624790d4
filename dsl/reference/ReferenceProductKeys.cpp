// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Logits of two sets of n sub-keys [T,2n] -> ids and weights [T,K] of the oracle; E = n·n.
//
//   a = z[:,0:n]   b = z[:,n:2n]      the K best i of a and the K best j of b (all n where n < K), the lower first
//                  among equals
//   id = i·n + j   the K best sums a_i + b_j of those pairs, the lower id first among equals
//   weights        f(a_i + b_j);  softmax over all E: softmax(a)_i · softmax(b)_j;  score_over selected: f over the K
//                  sums

#include "dsl/reference/ReferenceStages.h"

#include <algorithm>

namespace moec {

void chooseProductKeys(const LayerSpec &spec, Routing &routing) {
  int64_t n = spec.subKeys(), k = routing.choices;
  for (int64_t t = 0; t < routing.numTokens; ++t) {
    const double *a = &routing.choice[t * 2 * n], *b = a + n;
    std::vector<int64_t> pairs;
    for (int64_t i : topIndices(a, n, k))
      for (int64_t j : topIndices(b, n, k))
        pairs.push_back(i * n + j);
    std::sort(pairs.begin(), pairs.end());
    Doubles sums;
    for (int64_t id : pairs)
      sums.push_back(a[id / n] + b[id % n]);
    for (int64_t best : topIndices(sums.data(), int64_t(sums.size()), k))
      routing.ids.push_back(pairs[best]);
  }
}

void gatherProductKeys(const LayerSpec &spec, Routing &routing) {
  const RouterSpec &router = spec.router;
  int64_t n = spec.subKeys(), k = routing.choices;
  for (int64_t t = 0; t < routing.numTokens; ++t) {
    Doubles half[2], values;
    for (int h = 0; h < 2; ++h)
      half[h].assign(routing.noisy.begin() + (2 * t + h) * n, routing.noisy.begin() + (2 * t + h + 1) * n);
    bool all = router.scoreOver == ScoreOver::All, softmax = router.score == Score::Softmax;
    if (all && softmax)
      for (Doubles &logits : half)
        softmaxInPlace(logits.data(), n);
    std::vector<int64_t> used;
    for (int64_t j = 0; j < k; ++j)
      if (routing.ids[t * k + j] >= 0)
        used.push_back(t * k + j);
    for (int64_t at : used) {
      double a = half[0][routing.ids[at] / n], b = half[1][routing.ids[at] % n];
      values.push_back(all && softmax ? a * b : a + b);
    }
    if (!all || !softmax)
      scoreInPlace(router.score, values.data(), int64_t(values.size()));
    for (int64_t j = t * k; j < (t + 1) * k; ++j)
      routing.weights[j] = 0;
    for (size_t i = 0; i < used.size(); ++i)
      routing.weights[used[i]] = router.weightMode == WeightMode::Gathered ? values[i]
                                 : router.weightMode == WeightMode::Mean   ? 1.0 / double(used.size())
                                                                           : 1.0;
  }
}

} // namespace moec
