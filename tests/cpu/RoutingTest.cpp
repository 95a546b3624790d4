// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Routings that real traffic rarely shows: crowded and empty experts, ties, NaN, odd numbers of experts and choices.

#include "CompiledLayer.h"

#include <algorithm>
#include <limits>
#include <set>

namespace moec {
namespace {

std::string plainLayer(int64_t experts, int64_t k, const std::string &dtype = "f32") {
  return R"({"moec": 1, "name": "plain", "dtype": ")" + dtype +
         R"(", "hidden": 9, "router": {"logit_dtype": "f32", "normalize": {"kind": "sum"}, "top_k": )" +
         std::to_string(k) + R"(}, "experts": {"count": )" + std::to_string(experts) + R"(, "intermediate": 5}})";
}

class Routing : public testing::TestWithParam<CpuTarget> {
protected:
  void SetUp() override {
    if (!machineRuns(GetParam()))
      GTEST_SKIP() << "this machine has no " << GetParam().name;
  }
};
INSTANTIATE_TEST_SUITE_P(Cpu, Routing, testing::ValuesIn(cpuTargets()), targetTestName);

std::vector<std::pair<int64_t, int64_t>> expertsAndChoices(const std::vector<int64_t> &experts) {
  std::set<std::pair<int64_t, int64_t>> pairs;
  for (int64_t e : experts)
    for (int64_t k : {int64_t(1), int64_t(2), std::min<int64_t>(e, 8)})
      if (k <= e)
        pairs.insert({e, k});
  return {pairs.begin(), pairs.end()};
}

TEST_P(Routing, counts_e_and_k_against_oracle_and_ties) {
  // tiles only take bf16; what surrounds them is the code of the other targets
  bool tiles = GetParam().emulated;
  std::vector<int64_t> counts =
      tiles ? std::vector<int64_t>{3, 60, 129, 1025} : std::vector<int64_t>{1, 2, 3, 7, 60, 127, 128, 129, 257, 1025};
  for (auto [experts, k] : expertsAndChoices(counts)) {
    SCOPED_TRACE("E " + std::to_string(experts) + " k " + std::to_string(k));
    auto layer = CompiledLayer::make(plainLayer(experts, k, tiles ? "bf16" : "f32"), GetParam());
    ASSERT_TRUE(layer);
    std::vector<float> x = layer->randomX(21);
    EXPECT_EQ(disagreement(layer->spec, layer->run(x, {2}), layer->oracle(x)), "");
    // exact ties: all logits are zero, so that the lower ids win and weigh the same
    layer->fill("router.weight", 0);
    layer->pack();
    CallResult tied = layer->run(x);
    for (int64_t t = 0; t < 21; ++t)
      for (int64_t j = 0; j < k; ++j) {
        ASSERT_EQ(tied.ids[t * k + j], j) << "token " << t;
        ASSERT_NEAR(tied.weights[t * k + j], 1.0 / double(k), 1e-6) << "token " << t;
      }
    for (int64_t expert = 0; expert < experts; ++expert)
      ASSERT_EQ(tied.counts[expert], expert < k ? 21 : 0) << "expert " << expert;
  }
}

// Sigmoid scores whose logits tie pairwise: the lower id of each pair comes first.
TEST_P(Routing, ties_pairs_lower_id_first) {
  auto layer = CompiledLayer::make(plainLayer(8, 4), GetParam());
  ASSERT_TRUE(layer);
  std::vector<float> router(8 * 9, 0.0f);
  const float levels[8] = {1, 3, 2, 3, 0, 2, 1, 0};
  for (int e = 0; e < 8; ++e)
    router[e * 9] = levels[e];
  layer->set("router.weight", router);
  layer->pack();
  CallResult result = layer->run(std::vector<float>(9 * 5, 1.0f));
  for (int t = 0; t < 5; ++t)
    EXPECT_EQ(std::vector<int32_t>(&result.ids[t * 4], &result.ids[t * 4] + 4), (std::vector<int32_t>{1, 3, 2, 5}));
}

TEST_P(Routing, crowded_one_expert_takes_every_token) {
  for (const char *dtype : {"f32", "bf16"}) {
    auto layer = CompiledLayer::make(plainLayer(6, 1, dtype), GetParam());
    ASSERT_TRUE(layer);
    std::vector<float> router(6 * 9, -1.0f);
    std::fill(&router[3 * 9], &router[4 * 9], 1.0f);
    layer->set("router.weight", router);
    layer->pack();
    std::vector<float> x = layer->randomX(140);
    for (float &value : x)
      value = std::abs(value);
    CallResult result = layer->run(x, {3});
    EXPECT_EQ(disagreement(layer->spec, result, layer->oracle(x)), "") << dtype;
    EXPECT_EQ(result.counts, (std::vector<int32_t>{0, 0, 0, 140, 0, 0})) << dtype;
    EXPECT_TRUE(result.sameBits(layer->run(x, {1, Edge::Front, Workspace::Previous}))) << dtype;
  }
}

// Experts 0, 2, 4 and the last get nothing; the others do.
TEST_P(Routing, empty_experts_between_used_ones) {
  auto layer = CompiledLayer::make(plainLayer(9, 2), GetParam());
  ASSERT_TRUE(layer);
  std::vector<float> router = layer->tensor("router.weight");
  for (int e : {0, 2, 4, 8})
    for (int i = 0; i < 9; ++i)
      router[e * 9 + i] = i == 8 ? -100.0f : 0.0f;
  for (int e : {1, 3, 5, 6, 7})
    router[e * 9 + 8] = 1;
  layer->set("router.weight", router);
  layer->pack();
  std::vector<float> x = layer->randomX(50);
  for (int t = 0; t < 50; ++t)
    x[t * 9 + 8] = 2;
  CallResult result = layer->run(x);
  EXPECT_EQ(disagreement(layer->spec, result, layer->oracle(x)), "");
  for (int e = 0; e < 9; ++e)
    EXPECT_EQ(result.counts[e] == 0, e == 0 || e == 2 || e == 4 || e == 8) << "expert " << e;
}

// Rows that hold NaN or infinities get ids in range and change no bit of another row.
void checkPoisonedRows(const CpuTarget &target, const std::string &json) {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  auto layer = CompiledLayer::make(json, target);
  ASSERT_TRUE(layer);
  int64_t h = layer->spec.hidden, k = layer->spec.choices(), tokens = 40;
  std::vector<float> clean = layer->randomX(tokens), x = clean;
  std::fill(&x[3 * h], &x[4 * h], nan);
  x[8 * h + 2] = nan;
  x[11 * h + 5] = inf;
  std::fill(&x[12 * h], &x[13 * h], -inf);
  x[39 * h] = inf, x[39 * h + 1] = -inf;
  CallResult expected = layer->run(clean, {2}), result = layer->run(x, {2});
  for (int64_t t = 0; t < tokens; ++t) {
    std::set<int32_t> ids(&result.ids[t * k], &result.ids[t * k] + k);
    EXPECT_EQ(int64_t(ids.size()), k) << "token " << t;
    EXPECT_TRUE(*ids.begin() >= 0 && *ids.rbegin() < layer->spec.experts.count) << "token " << t;
    if (t != 3 && t != 8 && t != 11 && t != 12 && t != 39)
      EXPECT_TRUE(result.sameRowBits(expected, t)) << "token " << t;
  }
  EXPECT_TRUE(result.inBounds);
  for (int64_t t : {3, 8})
    for (int64_t i = 0; i < h; ++i)
      EXPECT_NE(result.y[t * h + i], result.y[t * h + i]) << "token " << t;
}

TEST_P(Routing, nan_softmax_rows_stay_apart) {
  checkPoisonedRows(GetParam(), plainLayer(7, 3));
  checkPoisonedRows(GetParam(), plainLayer(7, 3, "bf16"));
}

TEST_P(Routing, nan_sigmoid_groups_rows_stay_apart) {
  checkPoisonedRows(GetParam(), R"({"moec": 1, "name": "grouped", "hidden": 9,
    "router": {"score": "sigmoid", "choice_bias": true, "groups": {"count": 3, "keep": 2, "score": "top2_sum"},
               "top_k": 3, "normalize": {"kind": "sum", "eps": 1e-20}},
    "experts": {"count": 15, "intermediate": 5}})");
}

// A row of NaN logits selects 0..k-1.
TEST_P(Routing, nan_row_selects_the_first_ids) {
  auto layer = CompiledLayer::make(plainLayer(7, 3), GetParam());
  ASSERT_TRUE(layer);
  CallResult result = layer->run(std::vector<float>(9, std::numeric_limits<float>::quiet_NaN()));
  EXPECT_EQ(result.ids, (std::vector<int32_t>{0, 1, 2}));
}

// A NaN logit never wins over a number: the router row of expert 0 is NaN, so it is never chosen.
TEST_P(Routing, nan_logit_never_wins) {
  auto layer = CompiledLayer::make(R"({"moec": 1, "name": "sigmoid", "hidden": 9,
    "router": {"score": "sigmoid", "top_k": 3}, "experts": {"count": 7, "intermediate": 5}})",
                                   GetParam());
  ASSERT_TRUE(layer);
  std::vector<float> router = layer->tensor("router.weight");
  router[4] = std::numeric_limits<float>::quiet_NaN();
  layer->set("router.weight", router);
  layer->pack();
  CallResult result = layer->run(layer->randomX(30));
  EXPECT_EQ(std::count(result.ids.begin(), result.ids.end(), 0), 0);
  EXPECT_EQ(result.counts[0], 0);
}

} // namespace
} // namespace moec
