// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Capacity, expert choice and wraps of the oracle on layers small enough to count by hand.

#include "TinyLayer.h"

#include <cmath>

using namespace moec;

namespace {

using Kept = std::vector<uint8_t>;

// E = H = 3, logits are x, experts return x.
struct Layer3 : TinyLayer {
  Layer3(const std::string &router, const std::string &capacity, const std::string &more = "")
      : TinyLayer("{\"moec\": 1, \"hidden\": 3, \"router\": {" +
                  std::string(router.find("score\"") == router.npos ? "\"score\": \"identity\"" : "\"slots\": 1") +
                  router + "}, \"experts\": {\"count\": 3, \"form\": \"linear\"}" +
                  (capacity.empty() ? "" : ", \"capacity\": {" + capacity + "}") + more + "}") {
    set("router.weight", identityMatrix(3));
    std::vector<float> all;
    for (int e = 0; e < 3; ++e)
      for (float v : identityMatrix(3))
        all.push_back(v);
    set("experts.up", all);
  }
};

// Four tokens, all on expert 0 first, then 1; weights of the first choice 5, 8, 6, 7.
const std::vector<double> crowd = {5, 1, 0, 8, 2, 0, 6, 4, 0, 7, 3, 0};

Kept keptOf(const std::string &router, const std::string &capacity) {
  Layer3 layer(router, capacity);
  layer.setX(crowd);
  layer.setExtra("priority", {0.1, 0.4, 0.3, 0.2});
  layer.setExtra("capacity", {3});
  return layer.run().kept;
}

} // namespace

TEST(CapacityOracle, mode_every_kind) {
  const std::string top1 = ", \"top_k\": 1", top2 = ", \"top_k\": 2";
  EXPECT_EQ(keptOf(top1, "\"mode\": \"fixed\", \"value\": 2"), (Kept{1, 1, 0, 0}));
  EXPECT_EQ(keptOf(top1, "\"mode\": \"factor\", \"value\": 1.5"), (Kept{1, 1, 0, 0})); // 1.5 · 4 / 3
  EXPECT_EQ(keptOf(top1, "\"mode\": \"factor\", \"value\": 1.0"), (Kept{1, 1, 0, 0})); // ceil(4/3)
  EXPECT_EQ(keptOf(top1, "\"mode\": \"factor\", \"value\": 1.0, \"round\": \"floor\""), (Kept{1, 0, 0, 0}));
  EXPECT_EQ(keptOf(top1, "\"mode\": \"factor\", \"value\": 1.2, \"round\": \"nearest\""), (Kept{1, 1, 0, 0}));
  EXPECT_EQ(keptOf(top1, "\"mode\": \"factor\", \"value\": 0.1, \"min\": 3"), (Kept{1, 1, 1, 0}));
  EXPECT_EQ(keptOf(top1, "\"mode\": \"factor\", \"value\": 9, \"max\": 1"), (Kept{1, 0, 0, 0}));
  EXPECT_EQ(keptOf(top1, "\"mode\": \"fraction\", \"value\": 0.7"), (Kept{1, 1, 1, 0}));
  EXPECT_EQ(keptOf(top1, "\"mode\": \"dynamic\", \"max\": 4"), (Kept{1, 1, 1, 0}));
  // factor counts both choices unless told not to: ceil(8/3) and ceil(4/3) places
  EXPECT_EQ(keptOf(top2, "\"mode\": \"factor\", \"value\": 1.0"), (Kept{1, 1, 1, 1, 1, 1, 0, 0}));
  EXPECT_EQ(keptOf(top2, "\"mode\": \"factor\", \"value\": 1.0, \"per_choice\": false"),
            (Kept{1, 1, 1, 1, 0, 0, 0, 0}));
}

TEST(CapacityOracle, order_every_kind) {
  const std::string top1 = ", \"top_k\": 1", two = "\"mode\": \"fixed\", \"value\": 2, ";
  EXPECT_EQ(keptOf(top1, two + "\"order\": \"token\""), (Kept{1, 1, 0, 0}));
  EXPECT_EQ(keptOf(top1, two + "\"order\": \"score\""), (Kept{0, 1, 0, 1}));
  EXPECT_EQ(keptOf(top1, two + "\"order\": \"random\""), (Kept{0, 1, 1, 0}));
  // second choices weigh 1, 2, 4, 3: choice-major ranks them by the first choice, token-major by themselves
  EXPECT_EQ(keptOf(", \"top_k\": 2", two + "\"order\": \"score\""), (Kept{0, 0, 1, 1, 0, 0, 1, 1}));
  EXPECT_EQ(keptOf(", \"top_k\": 2", two + "\"order\": \"score\", \"major\": \"token\""),
            (Kept{0, 0, 1, 0, 0, 1, 1, 1}));
}

TEST(CapacityOracle, major_choice_and_token) {
  auto kept = [](const std::string &major) {
    Layer3 layer(", \"top_k\": 2", "\"mode\": \"fixed\", \"value\": 1, \"major\": \"" + major + "\"");
    layer.setX({2, 1, 0, 0, 2, 1}); // token 0: experts 0, 1; token 1: experts 1, 2
    return layer.run().kept;
  };
  EXPECT_EQ(kept("choice"), (Kept{1, 0, 1, 1}));
  EXPECT_EQ(kept("token"), (Kept{1, 1, 0, 1}));
}

TEST(CapacityOracle, scope_every_kind) {
  auto kept = [](const std::string &scope) {
    Layer3 layer(", \"top_k\": 1", "\"mode\": \"fixed\", \"value\": 1, \"scope\": " + scope);
    layer.setX({5, 0, 0, 5, 0, 0, 5, 0, 0, 5, 0, 0, 5, 0, 0, 5, 0, 0});
    layer.inputs.batch = 2;
    layer.inputs.tokensPerSequence = 3;
    return layer.run().kept;
  };
  EXPECT_EQ(kept("\"batch\""), (Kept{1, 0, 0, 0, 0, 0}));
  EXPECT_EQ(kept("\"sequence\""), (Kept{1, 0, 0, 1, 0, 0}));
  EXPECT_EQ(kept("\"group\", \"group_size\": 4"), (Kept{1, 0, 0, 0, 1, 0}));
}

TEST(CapacityOracle, dropped_zero_and_identity) {
  for (bool identity : {false, true}) {
    Layer3 layer(", \"top_k\": 1",
                 std::string("\"mode\": \"fixed\", \"value\": 1") + (identity ? ", \"dropped\": \"identity\"" : ""));
    layer.fill("experts.up", 0);
    layer.setX({2, 0, 0, 3, 1, 0});
    layer.run();
    EXPECT_EQ(layer.out.kept, (Kept{1, 0}));
    EXPECT_EQ(layer.out.counts, (Ids{2, 0, 0}));
    EXPECT_EQ(layer.out.weights[1], identity ? 3 : 0);
    EXPECT_EQ(layer.out.y, (identity ? std::vector<double>{0, 0, 0, 9, 3, 0} : std::vector<double>(6, 0)));
  }
}

TEST(CapacityOracle, normalize_before_and_after_dropping) {
  auto weights = [](const std::string &at) {
    Layer3 layer(", \"top_k\": 2, \"score\": \"relu\", \"normalize\": {\"kind\": \"sum\"}",
                 "\"mode\": \"fixed\", \"value\": 1, \"normalize_at\": \"" + at + "\"");
    layer.setX({3, 1, 0, 0, 3, 1});
    return layer.run().weights;
  };
  EXPECT_EQ(weights("before"), (std::vector<double>{0.75, 0, 0.75, 0.25}));
  EXPECT_EQ(weights("after"), (std::vector<double>{1, 0, 0.75, 0.25}));
}

TEST(CapacityOracle, next_best_uses_the_score_of_the_expert_used) {
  Layer3 layer(", \"top_k\": 1", "\"mode\": \"fixed\", \"value\": 1, \"overflow\": \"next_best\"");
  layer.setX({5, 4, 1, 6, 4, 3, 7, 2, 1, 8, 7, 6});
  EXPECT_EQ(layer.run().ids, (Ids{0, 1, 2, -1}));
  EXPECT_EQ(layer.out.weights, (std::vector<double>{5, 4, 1, 0}));
  EXPECT_EQ(layer.out.kept, (Kept{1, 1, 1, 0}));
}

TEST(CapacityOracle, expert_choice_ties_and_unselected) {
  for (bool identity : {false, true}) {
    Layer3 layer(std::string(", \"kind\": \"expert_choice\", \"select\": {\"tokens\": 1}") +
                     (identity ? ", \"unselected\": \"identity\"" : ""),
                 "");
    layer.setX({2, 1, 1, 2, 1, 1, 0, 1, 1});
    layer.run();
    EXPECT_EQ(layer.out.expertTokens, (Ids{0, 0, 0}));
    EXPECT_EQ(layer.out.expertWeights, (std::vector<double>{2, 1, 1}));
    double last = identity ? 1 : 0;
    EXPECT_EQ(layer.out.y, (std::vector<double>{8, 4, 4, 2 * last, last, last, 0, last, last}));
  }
}

TEST(CapacityOracle, expert_choice_capacity_factor_per_sequence) {
  Layer3 layer(", \"kind\": \"expert_choice\", \"select\": {\"capacity_factor\": 1.5, \"scope\": \"sequence\"}", "");
  layer.randomX(6);
  layer.inputs.batch = 3;
  layer.inputs.tokensPerSequence = 2;
  layer.run();
  EXPECT_EQ(layer.out.expertCapacity, 3); // round(1.5 · 2 / 3) per sequence
  for (int64_t e = 0; e < 3; ++e)
    for (int64_t s = 0; s < 3; ++s)
      EXPECT_EQ(layer.out.expertTokens[3 * e + s] / 2, s);
}

TEST(CapacityOracle, wrap_depth_takes_the_largest_per_sequence) {
  TinyLayer layer(
      "{\"moec\": 1, \"hidden\": 1, \"router\": {\"kind\": \"dense\"}, \"experts\": {\"count\": 1, \"form\": "
      "\"linear\"}, \"layer\": {\"wrap\": \"depth\", \"capacity\": 0.5, \"residual\": true}}");
  layer.fill("depth.weight", 1);
  layer.fill("experts.up", 10);
  layer.setX({1, 3, 2, 3, 7, 5});
  layer.inputs.batch = 2;
  layer.inputs.tokensPerSequence = 3;
  layer.run();
  EXPECT_EQ(layer.out.routed, (Kept{0, 1, 0, 0, 1, 0})); // floor(1.5) tokens of each sequence
  EXPECT_EQ(layer.out.y, (std::vector<double>{1, 3 + 3 * 30, 2, 3, 7 + 7 * 70, 5}));
}

TEST(CapacityOracle, wrap_nobody_passes) {
  Layer3 layer(", \"top_k\": 2", "", ", \"layer\": {\"wrap\": \"skip\"}");
  layer.fill("skip.weight", 0);
  layer.set("skip.bias", {5});
  layer.setX(crowd);
  layer.run();
  EXPECT_EQ(layer.out.y, crowd);
  EXPECT_EQ(layer.out.ids, Ids(8, -1));
  EXPECT_EQ(layer.out.kept, Kept(8, 0));
}
