// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Routing options of the oracle against values worked out by hand: logits are x itself wherever they can be.

#include "TinyLayer.h"

#include <cmath>

using namespace moec;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double notANumber = std::numeric_limits<double>::quiet_NaN();

// H = E = 4, router.weight the identity, linear experts; `router` are further keys of the router block.
std::string spec4(const std::string &router, const std::string &more = "") {
  return "{\"moec\": 1, \"hidden\": 4, \"router\": {" + router +
         "}, \"experts\": {\"count\": 4, \"form\": \"linear\"}" + more + "}";
}

struct Layer4 : TinyLayer {
  explicit Layer4(const std::string &router, const std::string &more = "") : TinyLayer(spec4(router, more)) {
    if (roles.count("router.weight"))
      set("router.weight", identityMatrix(4));
  }
};

std::vector<double> softmaxOf(std::vector<double> v) {
  double sum = 0;
  for (double &e : v)
    sum += e = std::exp(e);
  for (double &e : v)
    e /= sum;
  return v;
}

void expectNear(const std::vector<double> &actual, const std::vector<double> &expected, double tolerance = 1e-12) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(actual[i], expected[i], tolerance) << "element " << i;
}

} // namespace

TEST(RouterOracle, ties_lower_id_wins) {
  Layer4 layer("\"top_k\": 3");
  layer.setX({1, 1, 1, 1, 0, 2, 2, 1, 5, 3, 5, 3});
  EXPECT_EQ(layer.run().ids, (Ids{0, 1, 2, 1, 2, 3, 0, 2, 1}));
  EXPECT_EQ(layer.out.margins[0], 0);
  EXPECT_EQ(layer.out.margins[2], 0);
  EXPECT_NEAR(layer.out.margins[1], (std::exp(-1.0) - std::exp(-2.0)), 1e-12); // (s3 - s0) / s1
}

TEST(RouterOracle, ties_zero_router_selects_first_experts) {
  TinyLayer layer("{\"moec\": 1, \"hidden\": 3, \"router\": {\"top_k\": 4}, "
                  "\"experts\": {\"count\": 9, \"intermediate\": 5}}");
  layer.fill("router.weight", 0);
  layer.randomX(2);
  EXPECT_EQ(layer.run().ids, (Ids{0, 1, 2, 3, 0, 1, 2, 3}));
  expectNear(layer.out.weights, std::vector<double>(8, 1.0 / 9));
}

TEST(RouterOracle, ties_groups_lower_group_wins) {
  Layer4 layer("\"top_k\": 2, \"groups\": {\"count\": 2, \"keep\": 1}");
  layer.setX({2, 1, 1, 2});
  EXPECT_EQ(layer.run().ids, (Ids{0, 1}));
}

// The variance of one value is 0 whatever the divisor, unless the value is NaN: 0 / 0 here.
TEST(RouterOracle, variation_of_one_expert_is_nan_if_its_weight_is) {
  for (const char *variance : {"population", "sample"}) {
    TinyLayer layer(
        "{\"moec\": 1, \"hidden\": 2, \"router\": {\"score\": \"relu\", \"top_k\": 1, \"normalize\": {\"kind\": "
        "\"sum\"}}, \"experts\": {\"count\": 1, \"form\": \"linear\"}, \"losses\": [{\"kind\": \"cv2\", "
        "\"of\": \"importance\", \"variance\": \"" +
        std::string(variance) + "\"}]}");
    layer.fill("router.weight", 1);
    layer.setX({1, 1});
    EXPECT_EQ(layer.run().losses, std::vector<double>{0}) << variance;
    layer.setX({-1, -1});
    EXPECT_TRUE(std::isnan(layer.run().losses[0])) << variance;
  }
}

TEST(RouterOracle, nan_never_wins_over_a_number) {
  Layer4 layer("\"top_k\": 2, \"score\": \"sigmoid\"");
  layer.setX({notANumber, notANumber, notANumber, notANumber});
  EXPECT_EQ(layer.run().ids, (Ids{0, 1})); // NaN·0 fills the row
  EXPECT_TRUE(std::isnan(layer.out.weights[0]) && std::isnan(layer.out.weights[1]));
  // A router row of NaN makes one NaN logit.
  std::vector<float> weight = identityMatrix(4);
  weight[5] = float(notANumber);
  layer.set("router.weight", weight);
  layer.setX({-3, 9, -2, -4});
  EXPECT_EQ(layer.run().ids, (Ids{2, 0}));
  layer.spec.router.select.k = 4;
  EXPECT_EQ(layer.run().ids, (Ids{2, 0, 3, 1}));
  EXPECT_TRUE(std::isnan(layer.out.weights[3]));
}

TEST(RouterOracle, nan_softmax_row_selects_first_ids) {
  Layer4 layer("\"top_k\": 3");
  for (float bad : {float(notANumber), float(inf), -float(inf)}) {
    std::vector<float> weight = identityMatrix(4);
    weight[10] = bad;
    layer.set("router.weight", weight);
    layer.setX({0.5, 1, 1, 0});
    layer.run();
    for (int64_t id : layer.out.ids)
      EXPECT_TRUE(id >= 0 && id < 4);
    if (bad == -float(inf)) {
      EXPECT_EQ(layer.out.ids, (Ids{1, 0, 3}));
    } else {
      EXPECT_EQ(layer.out.ids, (Ids{0, 1, 2}));
      EXPECT_TRUE(std::isnan(layer.out.weights[0]));
      EXPECT_EQ(layer.out.margins[0], 0);
    }
  }
}

TEST(RouterOracle, softmax_large_logits_do_not_overflow) {
  Layer4 layer("\"top_k\": 2");
  layer.setX({1000, 999, -1000, 0});
  expectNear(layer.run().weights, {1 / (1 + std::exp(-1.0)), 1 / (1 + std::exp(1.0))});
}

TEST(RouterOracle, single_expert_weight_is_one) {
  TinyLayer layer("{\"moec\": 1, \"hidden\": 3, \"router\": {\"top_k\": 1}, "
                  "\"experts\": {\"count\": 1, \"intermediate\": 2}}");
  layer.randomX(3);
  EXPECT_EQ(layer.run().ids, (Ids{0, 0, 0}));
  expectNear(layer.out.weights, {1, 1, 1});
  EXPECT_EQ(layer.out.margins, (std::vector<double>{inf, inf, inf}));
}

TEST(RouterOracle, all_experts_equal_dense) {
  Layer4 sparse("\"top_k\": 4"), dense("\"kind\": \"dense\"");
  sparse.randomX(5);
  dense.randomX(5);
  expectNear(sparse.run().y, dense.run().y, 1e-14);
  EXPECT_EQ(dense.out.ids, (Ids{0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3}));
  for (int t = 0; t < 5; ++t) {
    double sum = 0;
    for (int j = 0; j < 4; ++j)
      sum += sparse.out.weights[4 * t + j];
    EXPECT_NEAR(sum, 1, 1e-14);
  }
}

TEST(RouterOracle, score_every_kind) {
  const std::vector<double> x = {2, -1, 0.5, 3};
  auto weightsOf = [&](const std::string &score) {
    Layer4 layer("\"top_k\": 2, \"score\": \"" + score + "\"");
    layer.setX(x);
    return layer.run().weights;
  };
  auto plus = [](double z) { return std::log(1 + std::exp(z)); };
  std::vector<double> p = softmaxOf(x);
  expectNear(weightsOf("softmax"), {p[3], p[0]});
  expectNear(weightsOf("sigmoid"), {1 / (1 + std::exp(-3.0)), 1 / (1 + std::exp(-2.0))});
  expectNear(weightsOf("sqrtsoftplus"), {std::sqrt(plus(3)), std::sqrt(plus(2))});
  expectNear(weightsOf("softplus"), {plus(3), plus(2)});
  expectNear(weightsOf("relu"), {3, 2});
  expectNear(weightsOf("identity"), {3, 2});
}

TEST(RouterOracle, score_over_selected_ignores_the_rest) {
  Layer4 layer("\"top_k\": 2, \"score_over\": \"selected\"");
  layer.setX({2, -1, 0.5, 3});
  std::vector<double> p = softmaxOf({3, 2});
  expectNear(layer.run().weights, p);
}

TEST(RouterOracle, choice_bias_never_enters_the_weight) {
  Layer4 layer("\"top_k\": 2, \"score\": \"sigmoid\", \"choice_bias\": true, \"normalize\": {\"kind\": \"sum\"}");
  layer.setX({2, -1, 0.5, 3});
  layer.set("router.choice_bias", {0, 5, 5, 0});
  double a = 1 / (1 + std::exp(-0.5)), b = 1 / (1 + std::exp(1.0));
  EXPECT_EQ(layer.run().ids, (Ids{2, 1}));
  expectNear(layer.out.weights, {a / (a + b), b / (a + b)});
  layer.fill("router.choice_bias", 1000);
  EXPECT_EQ(layer.run().ids, (Ids{3, 0}));
}

TEST(RouterOracle, bias_enters_the_weight) {
  Layer4 layer("\"top_k\": 1, \"bias\": true, \"score\": \"identity\"");
  layer.setX({2, -1, 0.5, 3});
  layer.set("router.bias", {0, 7, 0, 0});
  EXPECT_EQ(layer.run().ids, (Ids{1}));
  expectNear(layer.out.weights, {6});
}

TEST(RouterOracle, groups_masked_zero_and_neg_inf) {
  const std::string block =
      "\"top_k\": 2, \"score\": \"identity\", \"groups\": {\"count\": 2, \"keep\": 1, \"score\": ";
  Layer4 zero(block + "\"max\"}"), negInf(block + "\"max\", \"masked\": \"neg_inf\"}");
  zero.setX({5, -4, 1, 1});
  negInf.setX({5, -4, 1, 1});
  EXPECT_EQ(zero.run().ids, (Ids{0, 2})); // 0 of a masked expert beats -4
  expectNear(zero.out.weights, {5, 1});   // and its weight is its own score
  EXPECT_EQ(negInf.run().ids, (Ids{0, 1}));
}

TEST(RouterOracle, groups_score_every_kind) {
  auto idsOf = [](const std::string &score) {
    TinyLayer layer("{\"moec\": 1, \"hidden\": 6, \"router\": {\"top_k\": 1, \"score\": \"identity\", \"groups\": "
                    "{\"count\": 2, \"keep\": 1, \"score\": \"" +
                    score +
                    "\"}}, "
                    "\"experts\": {\"count\": 6, \"form\": \"linear\"}}");
    layer.set("router.weight", identityMatrix(6));
    layer.setX({9, 0, 0, 6, 5, -3, 5, 4, 4, 6, 5, -3});
    return layer.run().ids;
  };
  EXPECT_EQ(idsOf("max"), (Ids{0, 3}));
  EXPECT_EQ(idsOf("top2_sum"), (Ids{3, 3}));
  EXPECT_EQ(idsOf("sum"), (Ids{0, 0}));
}

TEST(RouterOracle, normalize_every_kind) {
  auto weightsOf = [](const std::string &normalize) {
    Layer4 layer("\"top_k\": 2, \"score\": \"relu\", \"normalize\": {" + normalize + "}");
    layer.setX({1, 0, 0, 3, 0, 0, 0, 0});
    return layer.run().weights;
  };
  std::vector<double> sum = weightsOf("\"kind\": \"sum\"");
  EXPECT_NEAR(sum[0], 0.75, 1e-15);
  EXPECT_TRUE(std::isnan(sum[2])); // 0 / 0: there is no epsilon
  expectNear(weightsOf("\"kind\": \"sum\", \"eps\": 1e-20"), {0.75, 0.25, 0, 0});
  expectNear(weightsOf("\"kind\": \"sum\", \"eps\": 1.0"), {0.6, 0.2, 0, 0});
  expectNear(weightsOf("\"kind\": \"sum\", \"eps\": 1.0, \"eps_mode\": \"floor\""), {0.75, 0.25, 0, 0});
  expectNear(weightsOf("\"kind\": \"lp\", \"p\": 2.0, \"eps\": 1e-20"), {3 / std::sqrt(10), 1 / std::sqrt(10), 0, 0});
  std::vector<double> p = softmaxOf({3, 1});
  expectNear(weightsOf("\"kind\": \"softmax\""), {p[0], p[1], 0.5, 0.5});
}

TEST(RouterOracle, scale_expert_scale_and_fixed_weights) {
  Layer4 layer("\"top_k\": 2, \"score\": \"identity\", \"scale\": 2.5, \"expert_scale\": true");
  layer.set("router.expert_scale", {1, 2, 3, 4});
  layer.setX({2, -1, 0.5, 3});
  expectNear(layer.run().weights, {3 * 2.5 * 4, 2 * 2.5 * 1});
  Layer4 one("\"top_k\": 2, \"weight_mode\": \"one\""), mean("\"top_k\": 2, \"weight_mode\": \"mean\"");
  one.setX({2, -1, 0.5, 3});
  mean.setX({2, -1, 0.5, 3});
  expectNear(one.run().weights, {1, 1});
  expectNear(mean.run().weights, {0.5, 0.5});
}

TEST(RouterOracle, k_override_keeps_the_best) {
  Layer4 layer("\"top_k\": 3, \"k_override\": 1, \"normalize\": {\"kind\": \"sum\"}");
  layer.setX({2, -1, 0.5, 3});
  EXPECT_EQ(layer.run().ids, (Ids{3}));
  expectNear(layer.out.weights, {1});
}

TEST(RouterOracle, top_p_shortest_prefix) {
  Layer4 layer("\"select\": {\"kind\": \"top_p\", \"p\": 0.6, \"k_max\": 3}");
  // scores .1 .2 .3 .4; then one expert has nearly everything; then all are equal
  layer.setX({std::log(0.1), std::log(0.2), std::log(0.3), std::log(0.4), 0, 20, 0, 0, 1, 1, 1, 1});
  EXPECT_EQ(layer.run().ids, (Ids{3, 2, -1, 1, -1, -1, 0, 1, 2}));
  expectNear(layer.out.weights, {0.4, 0.3, 0, 1, 0, 0, 0.25, 0.25, 0.25}, 1e-8);
  EXPECT_EQ(layer.out.counts, (Ids{1, 2, 2, 1}));
}

TEST(RouterOracle, threshold_at_least_the_best) {
  Layer4 layer("\"score\": \"identity\", \"select\": {\"kind\": \"threshold\", \"threshold\": 1.0, \"k_max\": 2}");
  layer.setX({2, 1, 3, 4, 0, 0.5, 0, 0, 1, 2, 0, 0});
  EXPECT_EQ(layer.run().ids, (Ids{3, 2, 1, -1, 1, -1}));
  expectNear(layer.out.weights, {4, 3, 0.5, 0, 2, 0});
}

TEST(RouterOracle, second_policy_every_kind) {
  const std::vector<double> x = {std::log(0.6), std::log(0.3), std::log(0.1), -50};
  auto keptOf = [&](const std::string &second, std::vector<double> uniform, std::vector<double> noise) {
    Layer4 layer("\"select\": {\"kind\": \"second_policy\", \"k\": 2, " + second +
                 "}, \"normalize\": {\"kind\": \"sum\"}");
    layer.setX(x);
    layer.setExtra("uniform", uniform);
    layer.setExtra("noise", noise);
    layer.run();
    return layer.out;
  };
  EXPECT_EQ(keptOf("\"second\": \"always\"", {0.9}, {}).kept, (std::vector<uint8_t>{1, 1}));
  EXPECT_EQ(keptOf("\"second\": \"random_2p\"", {0.66}, {}).kept, (std::vector<uint8_t>{1, 1})); // 2 · 0.3 / 0.9
  EXPECT_EQ(keptOf("\"second\": \"random_2p\"", {0.67}, {}).kept, (std::vector<uint8_t>{1, 0}));
  EXPECT_EQ(keptOf("\"second\": \"threshold\", \"threshold\": 0.3", {}, {}).kept, (std::vector<uint8_t>{1, 1}));
  EXPECT_EQ(keptOf("\"second\": \"threshold\", \"threshold\": 0.34", {}, {}).kept, (std::vector<uint8_t>{1, 0}));
  ReferenceOutputs gumbel = keptOf("\"second\": \"gumbel\"", {}, {100, 0, 9, 0});
  EXPECT_EQ(gumbel.ids, (Ids{0, 2}));
  EXPECT_NEAR(gumbel.weights[1], 0.1 / 0.7, 1e-12); // weights are of the clean scores
}

TEST(RouterOracle, sparsemixer_margins) {
  Layer4 layer("\"select\": {\"kind\": \"sparsemixer\", \"k\": 2, \"eps\": 0.25}");
  // pick 1: max 4; (4-3)/4 = .25 stays, (4-1)/4 and (4-2)/4 = .5 > .5 is false for 2, true for 1
  // pick 2: max 3; (3-2)/3 stays, (3-1)/3 goes
  layer.setX({4, 3, 2, 1});
  EXPECT_EQ(layer.run().ids, (Ids{0, 1}));
  expectNear(layer.out.weights, {softmaxOf({4, 3, 2})[0], softmaxOf({3, 2})[0]});
}

TEST(RouterOracle, transforms_in_order) {
  Layer4 layer("\"top_k\": 1, \"score\": \"identity\", \"transform\": [{\"op\": \"clamp\", \"min\": -1, \"max\": 2}, "
               "{\"op\": \"temperature\", \"value\": 4}, {\"op\": \"softcap\", \"cap\": 0.5}]");
  layer.setX({-9, 9, 1, 0});
  auto after = [](double z) { return 0.5 * std::tanh(z / 4 / 0.5); };
  expectNear(layer.run().logits, {after(-1), after(2), after(1), 0});
  Layer4 learned("\"top_k\": 1, \"transform\": [{\"op\": \"temperature\", \"value\": \"learned\"}]");
  learned.set("router.temperature", {8});
  learned.setX({-9, 9, 1, 0});
  expectNear(learned.run().logits, {-9.0 / 8, 9.0 / 8, 1.0 / 8, 0});
}

TEST(RouterOracle, cosine_ignores_lengths) {
  Layer4 layer("\"top_k\": 1, \"transform\": [{\"op\": \"cosine\", \"scale\": 3, \"eps\": 0}]");
  std::vector<float> weight = identityMatrix(4);
  weight[0] = 100;
  layer.set("router.weight", weight);
  layer.setX({3, 4, 0, 0});
  expectNear(layer.run().logits, {3 * 0.6, 3 * 0.8, 0, 0});
}

TEST(RouterOracle, input_norm_scales_the_routers_copy) {
  Layer4 layer("\"top_k\": 1, \"score\": \"identity\", "
               "\"input\": {\"norm\": {\"kind\": \"rms\", \"eps\": 0, \"scale\": 2, \"weight\": true}}");
  layer.set("router.input_scale", {1, 1, 10, 1});
  layer.setX({1, 1, 1, -1});
  expectNear(layer.run().logits, {2, 2, 20, -2});
  EXPECT_EQ(layer.out.ids, (Ids{2}));
}

TEST(RouterOracle, input_residual_is_read_by_the_router_only) {
  Layer4 layer("\"top_k\": 1, \"score\": \"identity\", \"weight_mode\": \"one\", \"input\": {\"from\": \"residual\"}");
  layer.set("experts.up", [] {
    std::vector<float> all;
    for (int e = 0; e < 4; ++e)
      for (float v : identityMatrix(4))
        all.push_back(v * (e + 1));
    return all;
  }());
  layer.setX({1, 2, 3, 4});
  layer.setExtra("residual", {0, 9, 0, 0});
  EXPECT_EQ(layer.run().ids, (Ids{1}));
  expectNear(layer.out.y, {2, 4, 6, 8});
}

TEST(RouterOracle, jitter_scope_router_and_layer) {
  for (std::string scope : {"router", "layer"}) {
    TinyLayer layer("{\"moec\": 1, \"hidden\": 2, \"router\": {\"top_k\": 1, \"weight_mode\": \"one\", \"input\": "
                    "{\"jitter\": 0.5, \"jitter_scope\": \"" +
                    scope +
                    "\"}}, "
                    "\"experts\": {\"count\": 2, \"form\": \"linear\"}}");
    layer.set("router.weight", identityMatrix(2));
    layer.set("experts.up", {1, 0, 0, 1, 1, 0, 0, 1});
    layer.setX({4, 3});
    layer.setExtra("jitter", {0, 0.75}); // factors 0.5 and 1.25
    expectNear(layer.run().logits, {4, 3});
    layer.inputs.training = true;
    expectNear(layer.run().logits, {2, 3.75});
    EXPECT_EQ(layer.out.ids, (Ids{1}));
    expectNear(layer.out.y, scope == "layer" ? std::vector<double>{2, 3.75} : std::vector<double>{4, 3});
  }
}

TEST(RouterOracle, noise_every_kind) {
  const std::string start = "\"top_k\": 1, \"score\": \"identity\", \"noise\": {";
  Layer4 normal(start + "\"kind\": \"normal\", \"std\": 0.5}");
  normal.setX({1, 0, 0, 0});
  normal.setExtra("noise", {0, 4, 0, 0});
  EXPECT_EQ(normal.run().ids, (Ids{0})); // when: train
  normal.inputs.training = true;
  EXPECT_EQ(normal.run().ids, (Ids{1}));
  expectNear(normal.out.weights, {2});
  expectNear(normal.out.logits, {1, 0, 0, 0});

  Layer4 learned(start + "\"kind\": \"learned\", \"eps\": 0.25, \"when\": \"always\"}");
  learned.fill("router.noise_weight", 0);
  learned.setX({1, 0, 0, 0});
  learned.setExtra("noise", {0, 4, 0, 0});
  expectNear(learned.run().weights, {4 * (std::log(2.0) + 0.25)});
  Layer4 shares(start + "\"kind\": \"learned\", \"std_fn\": \"softmax\", \"when\": \"always\"}");
  shares.fill("router.noise_weight", 0);
  shares.setX({1, 0, 0, 0});
  shares.setExtra("noise", {0, 40, 0, 0});
  expectNear(shares.run().weights, {10});

  Layer4 gumbel(start + "\"kind\": \"gumbel\", \"when\": \"always\"}");
  gumbel.setX({1, 0.5, 0, 0});
  gumbel.setExtra("noise", {0, 4, 0, 0});
  EXPECT_EQ(gumbel.run().ids, (Ids{1}));
  expectNear(gumbel.out.weights, {0.5}); // chosen by the perturbed, weighed by the clean logit
}

TEST(RouterOracle, kind_external_and_random_take_given_ids) {
  Layer4 external("\"kind\": \"external\", \"top_k\": 2", ", \"inputs\": {\"expert_ids\": true}");
  external.setX({1, 2, 3, 4});
  external.setExtra("expert_ids", {2, 7});
  external.setExtra("expert_weights", {0.5, 0.25});
  EXPECT_EQ(external.run().ids, (Ids{2, -1})); // 7 is no expert
  expectNear(external.out.weights, {0.5, 0});
  EXPECT_EQ(external.out.kept, (std::vector<uint8_t>{1, 0}));
  Layer4 random("\"kind\": \"random\", \"top_k\": 2, \"weight_mode\": \"mean\"");
  random.setX({1, 2, 3, 4});
  random.setExtra("expert_ids", {2, 0});
  EXPECT_EQ(random.run().ids, (Ids{2, 0}));
  expectNear(random.out.weights, {0.5, 0.5});
}

TEST(RouterOracle, random_replace_in_training) {
  Layer4 layer("\"top_k\": 2, \"weight_mode\": \"one\", \"random_replace\": {\"p\": 0.5}");
  layer.setX({4, 3, 2, 1});
  layer.setExtra("replace", {0.4, 0.6});
  layer.setExtra("replace_ids", {3, 3});
  EXPECT_EQ(layer.run().ids, (Ids{0, 1}));
  layer.inputs.training = true;
  EXPECT_EQ(layer.run().ids, (Ids{3, 1}));
}

TEST(RouterOracle, zero_experts_return_the_token_or_nothing) {
  for (std::string kind : {"identity", "zero"}) {
    TinyLayer layer("{\"moec\": 1, \"hidden\": 4, \"router\": {\"top_k\": 1, \"score\": \"identity\"}, \"experts\": "
                    "{\"count\": 3, \"form\": \"linear\", \"zero\": {\"count\": 1, \"kind\": \"" +
                    kind + "\"}}}");
    layer.set("router.weight", identityMatrix(4));
    layer.setX({0, 1, 0, 5});
    EXPECT_EQ(layer.run().ids, (Ids{3}));
    double factor = kind == "identity" ? 5 : 0;
    expectNear(layer.out.y, {0, factor, 0, 5 * factor});
    EXPECT_EQ(layer.out.counts, (Ids{0, 0, 0, 1}));
  }
}

TEST(RouterOracle, tokens_none_is_a_call) {
  Layer4 layer("\"top_k\": 2");
  layer.setX({});
  EXPECT_TRUE(layer.run().y.empty());
  EXPECT_TRUE(layer.out.ids.empty());
  EXPECT_EQ(layer.out.counts, (Ids{0, 0, 0, 0}));
}
