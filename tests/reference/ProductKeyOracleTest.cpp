// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Product keys and constant experts against values worked out by hand: the logits of both sets of sub-keys are x
// itself.

#include "TinyLayer.h"

#include <cmath>

using namespace moec;

namespace {

// H = 2n, E = n·n linear experts, router.weight the identity.
struct KeyLayer : TinyLayer {
  KeyLayer(int64_t n, const std::string &router, const std::string &more = "")
      : TinyLayer("{\"moec\": 1, \"hidden\": " + std::to_string(2 * n) + ", \"router\": {\"kind\": \"product_key\", " +
                  router + "}, \"experts\": {\"count\": " + std::to_string(n * n) + ", \"form\": \"linear\"}" + more +
                  "}") {
    set("router.weight", identityMatrix(2 * n));
  }
};

void expectNear(const std::vector<double> &actual, const std::vector<double> &expected, double tolerance = 1e-12) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(actual[i], expected[i], tolerance) << "element " << i;
}

} // namespace

TEST(ProductKeyOracle, roles_are_two_sets_of_sub_keys) {
  KeyLayer layer(3, "\"top_k\": 2, \"bias\": true, \"expert_scale\": true");
  EXPECT_EQ(layer.roles.at("router.weight").shape, (std::vector<int64_t>{6, 6}));
  EXPECT_EQ(layer.roles.at("router.bias").shape, (std::vector<int64_t>{6}));
  EXPECT_EQ(layer.roles.at("router.expert_scale").shape, (std::vector<int64_t>{9}));
  EXPECT_EQ(layer.spec.choices(), 2);
}

// sums of a = (1, 5, 2), b = (0, 3, 4): 5 + 4 (id 5), 5 + 3 (id 4), 2 + 4 (id 8), ...
TEST(ProductKeyOracle, best_sums_and_weights_over_all_experts) {
  KeyLayer layer(3, "\"top_k\": 2");
  layer.setX({1, 5, 2, 0, 3, 4});
  EXPECT_EQ(layer.run().ids, (Ids{5, 4}));
  double all = 0;
  for (double a : {1, 5, 2})
    for (double b : {0, 3, 4})
      all += std::exp(a + b);
  expectNear(layer.out.weights, {std::exp(9.0) / all, std::exp(8.0) / all});
}

TEST(ProductKeyOracle, selected_and_other_scores) {
  KeyLayer selected(3, "\"top_k\": 2, \"score_over\": \"selected\"");
  selected.setX({1, 5, 2, 0, 3, 4});
  double one = 1 / (1 + std::exp(-1.0));
  expectNear(selected.run().weights, {one, 1 - one});
  KeyLayer sigmoids(3, "\"top_k\": 2, \"score\": \"sigmoid\", \"normalize\": {\"kind\": \"sum\"}, \"scale\": 2.0");
  sigmoids.setX({1, 5, 2, 0, 3, 4});
  double p = 1 / (1 + std::exp(-9.0)), q = 1 / (1 + std::exp(-8.0));
  expectNear(sigmoids.run().weights, {2 * p / (p + q), 2 * q / (p + q)});
}

// a = (1, 2), b = (2, 1): the sums of ids 0..3 are 3, 2, 4, 3. Of the equal ones the lower id comes first.
TEST(ProductKeyOracle, ties_lower_id_wins) {
  KeyLayer layer(2, "\"top_k\": 3, \"weight_mode\": \"one\"");
  layer.setX({1, 2, 2, 1, 0, 0, 0, 0});
  EXPECT_EQ(layer.run().ids, (Ids{2, 0, 3, 0, 1, 2}));
}

// k above n: every pair is a candidate.
TEST(ProductKeyOracle, more_choices_than_sub_keys) {
  KeyLayer layer(2, "\"top_k\": 4, \"weight_mode\": \"mean\"");
  layer.setX({0, 3, 1, 0});
  EXPECT_EQ(layer.run().ids, (Ids{2, 3, 0, 1}));
  expectNear(layer.out.weights, {0.25, 0.25, 0.25, 0.25});
}

TEST(ProductKeyOracle, first_choices_of_a_call) {
  KeyLayer layer(2, "\"top_k\": 3, \"score_over\": \"selected\"", ", \"inputs\": {\"top_k\": true}");
  layer.setX({0, 3, 1, 0});
  layer.setExtra("top_k", {2});
  EXPECT_EQ(layer.run().ids, (Ids{2, 3, -1}));
  double one = 1 / (1 + std::exp(-1.0));
  expectNear(layer.out.weights, {one, 1 - one, 0});
}

// One routed expert that gives 0 and two constants; every expert is chosen with weight 1/3.
TEST(ZeroExpertOracle, constant_experts_add_their_columns) {
  TinyLayer layer(
      "{\"moec\": 1, \"hidden\": 2, \"router\": {\"top_k\": 3}, \"experts\": {\"count\": 1, \"form\": \"linear\", "
      "\"zero\": {\"count\": 2, \"kind\": \"constant\"}}}");
  EXPECT_EQ(layer.roles.at("experts.zero_constant").shape, (std::vector<int64_t>{2, 2}));
  layer.fill("router.weight", 0);
  layer.fill("experts.up", 0);
  layer.set("experts.zero_constant", {3, 6, 9, 12}); // [H,Z]: expert 1 gives (3, 9), expert 2 (6, 12)
  layer.setX({5, 7});
  expectNear(layer.run().y, {3, 7});
}
