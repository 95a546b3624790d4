// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec.hpp: every optional output and a further input of a compiled layer (noisy.json) arrive where they belong.

#include "noisy.h"

#include <moec.hpp>

#include <gtest/gtest.h>

#include <cmath>

using namespace moec;

TEST(CppReports, every_output_and_a_further_input) {
  constexpr size_t T = 6, E = NOISY_NUM_EXPERTS, K = NOISY_TOP_K, H = NOISY_HIDDEN, L = NOISY_NUM_LOSSES;
  Layer layer = *Layer::create(noisy_package());
  std::vector<float> router(E * H), matrix(E * 6 * H), x(T * H), y(T * H), noise(T * E);
  for (size_t i = 0; i < router.size(); ++i)
    router[i] = static_cast<float>(i % 7) * 0.1f - 0.3f;
  for (size_t i = 0; i < matrix.size(); ++i)
    matrix[i] = static_cast<float>(i % 11) * 0.1f - 0.5f;
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(i % 5) * 0.4f - 0.7f;
  for (size_t t = 0; t < T; ++t) { // decides: expert t, then t + 1
    noise[t * E + t % E] = 40;
    noise[t * E + (t + 1) % E] = 20;
  }
  Weights weights = *layer.pack(
      {{"router.weight", router}, {"experts.gate", matrix}, {"experts.up", matrix}, {"experts.down", matrix}});

  std::vector<float> logits(T * E), shares(T * K), probabilities(T * E), losses(L, -1), means(1, -1), maxima(1, -1);
  std::vector<float> diversity(1, -1);
  std::vector<int32_t> ids(T * K), counts(E), choiceCounts(E), dropped(1, -1);
  Forward call = layer.forward(weights).x(x).y(y).noise(noise).logits(logits).ids(ids).weights(shares).counts(counts);
  call.probabilities(probabilities).choice_counts(choiceCounts).losses(losses).logit_mean(means).logit_max(maxima);
  call.diversity(diversity).dropped_tokens(dropped);

  Buffer small = *layer.workspace(T);
  EXPECT_EQ(call.run(small).error().status, MOEC_WORKSPACE_TOO_SMALL);
  Buffer workspace = *layer.workspace(T, 0, true);
  EXPECT_EQ(workspace.size(), *call.workspace_bytes());
  Result<void> ran = call.run(workspace);
  ASSERT_TRUE(ran) << ran.error().message();

  std::vector<int32_t> expectedIds, expectedCounts(E);
  double sum = 0, largest = 0;
  for (size_t t = 0; t < T; ++t)
    for (size_t j = 0; j < K; ++j) {
      expectedIds.push_back(static_cast<int32_t>((t + j) % E));
      ++expectedCounts[(t + j) % E];
    }
  for (float logit : logits) {
    sum += std::fabs(logit);
    largest = std::max<double>(largest, std::fabs(logit));
  }
  EXPECT_EQ(ids, expectedIds);
  EXPECT_EQ(counts, expectedCounts);
  EXPECT_EQ(choiceCounts, expectedCounts);
  EXPECT_NEAR(means[0], sum / (T * E), 1e-5);
  EXPECT_NEAR(maxima[0], largest, 1e-6);
  EXPECT_LT(largest, 100); // before noise
  EXPECT_EQ(dropped[0], 0);
  EXPECT_GE(diversity[0], 0);
  for (size_t t = 0; t < T; ++t) {
    double total = 0;
    for (size_t e = 0; e < E; ++e)
      total += double(probabilities[t * E + e]);
    EXPECT_NEAR(total, 1, 1e-5);
    EXPECT_NEAR(shares[t * K], 1, 1e-5); // by far the larger one
    EXPECT_NEAR(shares[t * K + 1], 0, 1e-5);
  }
  for (float loss : losses)
    EXPECT_GE(loss, 0);
}

TEST(CppReports, lengths) {
  Layer layer = *Layer::create(noisy_package());
  std::vector<float> router(32), matrix(192), x(16), y(16), few(3);
  Weights weights = *layer.pack(
      {{"router.weight", router}, {"experts.gate", matrix}, {"experts.up", matrix}, {"experts.down", matrix}});
  auto message = [&](Forward &call) { return call.workspace_bytes().error().text; };
  auto call = [&] { return layer.forward(weights).x(x).y(y); };
  EXPECT_EQ(message(call().noise(few)), "noise has 3 elements, expected 8 for 2 tokens");
  EXPECT_EQ(message(call().probabilities(few)), "probabilities has 3 elements, expected 8 for 2 tokens");
  EXPECT_EQ(message(call().losses(few)), "losses has 3 elements, expected 2 for 2 tokens");
  EXPECT_EQ(message(call().logit_mean(few)), "logit_mean has 3 elements, expected 1 for 2 tokens");
  Buffer workspace = *layer.workspace(2);
  EXPECT_EQ(call().run(workspace).error().text, "noise is NULL, package noisy reads it");
}
