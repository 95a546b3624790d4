// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What acts in training only, against values worked out by hand: masks and samples are inputs of the call.

#include "TinyLayer.h"

#include <cmath>

using namespace moec;

namespace {

// H = E = 4, logits are x itself.
struct Trained : TinyLayer {
  explicit Trained(const std::string &router, const std::string &experts = "\"form\": \"linear\"",
                   const std::string &more = "")
      : TinyLayer("{\"moec\": 1, \"hidden\": 4, \"router\": {" + router + "}, \"experts\": {\"count\": 4, " + experts +
                  "}" + more + "}") {
    if (roles.count("router.weight"))
      set("router.weight", identityMatrix(4));
    inputs.training = true;
  }
};

void expectNear(const std::vector<double> &actual, const std::vector<double> &expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(actual[i], expected[i], 1e-12) << "element " << i;
}

std::vector<double> softmaxOf(std::vector<double> v) {
  double sum = 0;
  for (double &e : v)
    sum += e = std::exp(e);
  for (double &e : v)
    e /= sum;
  return v;
}

} // namespace

TEST(TrainingOracle, expert_dropout_before_the_choice_takes_the_next_ones) {
  Trained layer("\"top_k\": 2, \"normalize\": {\"kind\": \"sum\"}, \"expert_dropout\": {\"p\": 0.5}");
  layer.setX({4, 3, 2, 1, 4, 3, 2, 1});
  layer.setExtra("expert_mask", {0, 1, 1, 1, 0, 0, 1, 0});
  EXPECT_EQ(layer.run().ids, (Ids{1, 2, 2, -1}));
  std::vector<double> pair = softmaxOf({3, 2});
  expectNear(layer.out.weights, {pair[0], pair[1], 1, 0});
  layer.inputs.training = false;
  EXPECT_EQ(layer.run().ids, (Ids{0, 1, 0, 1}));
}

TEST(TrainingOracle, expert_dropout_after_the_choice_loses_choices) {
  Trained layer("\"top_k\": 2, \"score_over\": \"selected\", \"expert_dropout\": {\"p\": 0.5, \"at\": \"after\"}");
  layer.setX({4, 3, 2, 1, 4, 3, 2, 1});
  layer.setExtra("expert_mask", {0, 1, 1, 1, 0, 0, 1, 1});
  EXPECT_EQ(layer.run().ids, (Ids{-1, 1, -1, -1}));
  expectNear(layer.out.weights, {0, 1, 0, 0}); // over what is left
  for (int i = 4; i < 8; ++i)
    EXPECT_EQ(layer.out.y[size_t(i)], 0); // all are left out
  EXPECT_EQ(layer.out.counts, (Ids{0, 1, 0, 0}));
}

TEST(TrainingOracle, expert_dropout_leaves_groups_as_they_are) {
  Trained layer("\"top_k\": 2, \"groups\": {\"count\": 2, \"keep\": 1, \"masked\": \"neg_inf\"}, "
                "\"expert_dropout\": {\"p\": 0.5}");
  layer.setX({4, 3, 2, 1});
  layer.setExtra("expert_mask", {0, 1, 1, 1});
  EXPECT_EQ(layer.run().ids[0], 1); // the group of the best expert, without it
}

TEST(TrainingOracle, expert_dropout_of_a_second_by_gumbel) {
  Trained layer("\"select\": {\"kind\": \"second_policy\", \"second\": \"gumbel\"}, \"expert_dropout\": {\"p\": 0.5}");
  layer.setX({4, 3, 2, 1});
  layer.setExtra("noise", {0, 9, 0, 0});
  layer.setExtra("expert_mask", {1, 0, 1, 1});
  EXPECT_EQ(layer.run().ids, (Ids{0, 2}));
}

TEST(TrainingOracle, replaced_ids_are_choices_only) {
  Trained layer("\"select\": {\"kind\": \"threshold\", \"threshold\": 0.3, \"k_max\": 2}, "
                "\"random_replace\": {\"p\": 0.5}");
  layer.setX({9, 0, 0, 0});
  layer.setExtra("replace", {0.1, 0.1});
  layer.setExtra("replace_ids", {3, 2});
  EXPECT_EQ(layer.run().ids, (Ids{3, -1})); // a place without a choice stays one
  EXPECT_NEAR(layer.out.weights[0], softmaxOf({9, 0, 0, 0})[3], 1e-12);
}

TEST(TrainingOracle, hidden_and_output_masks_are_factors_of_each_choice) {
  Trained layer("\"top_k\": 2, \"weight_mode\": \"one\"",
                "\"form\": \"mlp\", \"act\": \"identity\", \"intermediate\": 2, \"hidden_dropout\": {\"p\": 0.5}, "
                "\"output_dropout\": {\"p\": 0.5, \"eval\": \"scale\"}, \"output_scale\": 0.5");
  std::vector<float> up(4 * 2 * 4, 0), down(4 * 4 * 2, 0);
  for (int e = 0; e < 4; ++e)
    for (int i = 0; i < 2; ++i) { // h = (x0, x1), o = (h0, h1, 0, h0)
      up[size_t(e * 8 + i * 4 + i)] = 1;
      down[size_t(e * 8 + i * 2 + i)] = 1;
      down[size_t(e * 8 + 3 * 2)] = 1;
    }
  layer.set("experts.up", up);
  layer.set("experts.down", down);
  layer.setX({8, 6, 1, 1});
  layer.setExtra("hidden_mask", {2, 0, 0, 2});             // choice 0: (16, 0), choice 1: (0, 12)
  layer.setExtra("output_mask", {2, 2, 2, 0, 0, 2, 2, 2}); // (32, 0, 0, 0) and (0, 24, 0, 0), halved
  EXPECT_EQ(layer.run().ids, (Ids{0, 1}));
  expectNear(layer.out.y, {16, 12, 0, 0});
  layer.inputs.training = false; // both experts, a quarter of their output
  expectNear(layer.run().y, {4, 3, 0, 4});
  layer.inputs.training = true;
  layer.inputs.extra.erase("output_mask");
  EXPECT_FALSE(layer.tryRun());
  EXPECT_EQ(layer.error, "input 'output_mask' is missing; experts.output_dropout needs it");
}

TEST(TrainingOracle, experts_of_other_widths_share_a_mask) {
  Trained layer("\"top_k\": 1, \"weight_mode\": \"one\"",
                "\"form\": \"mlp\", \"act\": \"identity\", \"intermediate\": [1, 3, 1, 1], \"hidden_dropout\": "
                "{\"p\": 0.5}");
  for (const char *role : {"experts.up.0", "experts.down.0", "experts.up.1", "experts.down.1"})
    layer.fill(role, 1);
  layer.setX({2, 1, 0, 0, 1, 2, 0, 0});
  layer.setExtra("hidden_mask", {2, 9, 9, 2, 0, 5});
  layer.run();
  EXPECT_EQ(layer.out.y[0], 3 * 2);
  EXPECT_EQ(layer.out.y[4], 3 * (2 + 0 + 5));
}

TEST(TrainingOracle, sparsemixer_takes_samples) {
  Trained layer("\"select\": {\"kind\": \"sparsemixer\", \"eps\": 0.25}", "\"form\": \"linear\"",
                ", \"inputs\": {\"expert_ids\": true}");
  // 4: 3 and 2 stay. Without the sample 1: 4 is the largest, 2 stays. The second token: samples that are not there
  layer.setX({4, 3, 2, 1, 4, 3, 2, 1});
  layer.setExtra("expert_ids", {1, 2, 3, -1});
  layer.setExtra("midpoint_mask", {0, 1, 1, 1});
  EXPECT_EQ(layer.run().ids, (Ids{1, 2, 3, -1}));
  expectNear(layer.out.weights, {softmaxOf({4, 3, 2})[1] / 3, softmaxOf({4, 2})[1], 0, 0});
  layer.inputs.training = false;
  EXPECT_EQ(layer.run().ids, (Ids{0, 1, 0, 1}));
}

// Logits of 0: a slot is the mean of its scope, and a token reads a quarter of every slot.
struct Slots : Trained {
  explicit Slots(const std::string &scope, const std::string &experts)
      : Trained("\"kind\": \"soft\", \"scope\": \"" + scope + "\"", experts) {
    fill("router.slots", 0);
    inputs.batch = 2;
    inputs.tokensPerSequence = 1;
    setX({4, 0, 0, 0, 8, 0, 0, 0});
  }
};

// Experts return their slot.
TEST(TrainingOracle, slots_have_a_row_of_a_mask_each) {
  const std::string experts = "\"form\": \"linear\", \"output_dropout\": {\"p\": 0.5}";
  std::vector<float> same;
  for (int e = 0; e < 4; ++e)
    for (float v : identityMatrix(4))
      same.push_back(v);
  std::vector<double> mask(4 * 4, 1), second(4 * 4, 1);
  mask[4 * 1] = 2, mask[4 * 3] = 0;     // slot 1 twice, slot 3 not
  second[4 * 0] = 4, second[4 * 2] = 6; // of sequence 1
  Slots batch("batch", experts);
  batch.set("experts.up", same);
  batch.setExtra("output_mask", mask);
  expectNear(batch.run().y, {6, 0, 0, 0, 6, 0, 0, 0}); // mean 6 · (1 + 2 + 1 + 0) / 4
  mask[4 * 3] = 1;
  batch.setExtra("output_mask", mask);
  expectNear(batch.run().y, {7.5, 0, 0, 0, 7.5, 0, 0, 0});
  Slots sequences("sequence", experts);
  sequences.set("experts.up", same);
  std::vector<double> both = mask;
  both.insert(both.end(), second.begin(), second.end());
  sequences.setExtra("output_mask", both);
  expectNear(sequences.run().y, {5, 0, 0, 0, 24, 0, 0, 0}); // 4 · 5 / 4 and 8 · 12 / 4
  sequences.setExtra("output_mask", mask);
  EXPECT_FALSE(sequences.tryRun());
  EXPECT_EQ(sequences.error, "input 'output_mask' has 16 values; expected [8,4]");
  sequences.inputs.extra.erase("output_mask");
  EXPECT_FALSE(sequences.tryRun());
  EXPECT_EQ(sequences.error, "input 'output_mask' is missing; experts.output_dropout needs it");
  sequences.inputs.training = false;
  expectNear(sequences.run().y, {4, 0, 0, 0, 8, 0, 0, 0});
}

// Inner values (x0, x0, x0) of expert 1 and (x0) of the others; o = their sum in every column.
TEST(TrainingOracle, slots_of_other_widths_share_a_mask) {
  Slots layer("batch", "\"form\": \"mlp\", \"act\": \"identity\", \"intermediate\": [1, 3, 1, 1], "
                       "\"hidden_dropout\": {\"p\": 0.5}");
  for (const char *role : {"experts.up.", "experts.down."})
    for (int e = 0; e < 4; ++e)
      layer.fill(role + std::to_string(e), 1);
  layer.setExtra("hidden_mask", {1, 9, 9, 2, 0, 5, 0, 9, 9, 3, 9, 9});
  EXPECT_NEAR(layer.run().y[0], 6 * (1 + 7 + 0 + 3) / 4.0, 1e-12);
}
