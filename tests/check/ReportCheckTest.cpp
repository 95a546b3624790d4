// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// compareReports sees a wrong value of every report; the stored step of a choice bias comes out of the runtime's rule.

#include "codegen/check/OracleCheck.h"

#include "codegen/check/GoldenCase.h"
#include "dsl/spec/SpecReader.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

constexpr uint32_t allBits = (1u << MOEC_NUM_REPORTS) - 1;

LayerSpec specWith(const std::string &losses) {
  SpecSource source;
  DiagnosticList diagnostics;
  auto spec = readSpec(
      R"({"moec": 1, "name": "a", "hidden": 4, "router": {"top_k": 2}, "experts": {"count": 3, "intermediate": 4},
    "reports": "all", "losses": )" +
          losses + "}",
      "a.json", {}, source, diagnostics);
  EXPECT_TRUE(spec);
  return *spec;
}

struct Reported : testing::Test {
  LayerSpec spec = specWith(R"([{"kind": "z"}, {"kind": "load_balance"}])");
  ReferenceOutputs want;
  moec_layer_info info = {};
  std::unique_ptr<CallOutputs> out;
  void SetUp() override {
    info.num_logits = 3;
    info.num_losses = 2;
    info.num_choice_counts = 3;
    info.hidden = 4;
    info.top_k = 2;
    info.num_experts = 3;
    info.reports = allBits;
    out = std::make_unique<CallOutputs>(info, 2);
    out->counts = {2, 1, 1};
    sensitivity.totals = {{"losses", {0, 0}}, {"logit_mean", {0}}, {"logit_max", {0}}, {"diversity", {0}}};
    want.ids = {0, 1, 0, 2};
    want.probabilities = {0.5, 0.25, 0.25, 0.1, 0.2, 0.7};
    want.losses = {3.5, 1.25};
    want.counts = {2, 1, 1};
    want.logitMean = 0.5;
    want.logitMax = 2;
    want.diversity = 0.75;
    want.droppedTokens = 1;
    out->probabilities.assign(want.probabilities.begin(), want.probabilities.end());
    out->losses = {3.5f, 1.25f};
    out->choice_counts = {2, 1, 1};
    out->logit_mean = {0.5f};
    out->logit_max = {2};
    out->diversity = {0.75f};
    out->dropped_tokens = {1};
  }
  bool tied = false;
  Sensitivity sensitivity; // nothing but f32
  std::string complaint() {
    OracleResult result;
    std::string reason;
    return compareReports(spec, *out, want, sensitivity, tied, result, reason) ? "" : reason;
  }
};

} // namespace

TEST_F(Reported, right_values_pass) { EXPECT_EQ(complaint(), ""); }

TEST_F(Reported, wrong_probability) {
  out->probabilities[4] += 1e-3f;
  EXPECT_NE(complaint().find("probabilities"), std::string::npos);
}
TEST_F(Reported, wrong_loss) {
  out->losses[1] *= 1.001f;
  EXPECT_EQ(complaint(), "losses[1] load_balance: got 1.251250, expected 1.250000");
}
TEST_F(Reported, loss_that_was_not_written) {
  out->losses[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_NE(complaint().find("losses[0] z"), std::string::npos);
}
TEST_F(Reported, wrong_count) {
  out->choice_counts[2] = 2;
  EXPECT_EQ(complaint(), "choice_counts[2]: got 2, expected 1");
}
TEST_F(Reported, tie_excuses_what_is_made_of_choices_only) {
  tied = true;
  out->choice_counts[2] = 2;
  out->losses[1] = 9; // load_balance
  EXPECT_EQ(complaint(), "");
  out->losses[0] = 9; // z
  EXPECT_NE(complaint(), "");
}
TEST_F(Reported, expected_ones_follow_from_the_spec) {
  EXPECT_EQ(reportsOf(spec, true), allBits);
  EXPECT_EQ(reportsOf(spec, false), allBits & ~uint32_t(MOEC_REPORT_DIVERSITY));
  EXPECT_EQ(reportsOf(specWith("[]"), true), allBits & ~uint32_t(MOEC_REPORT_LOSSES));
  spec.reports = 0;
  EXPECT_EQ(reportsOf(spec, true), uint32_t(MOEC_REPORT_LOSSES));
}
TEST_F(Reported, wrong_logits) {
  out->logit_mean[0] = 0.501f;
  EXPECT_NE(complaint(), "");
  SetUp();
  out->logit_max[0] = 2.01f;
  EXPECT_NE(complaint(), "");
}
TEST_F(Reported, wrong_diversity_and_drops) {
  out->diversity[0] = 0.76f;
  EXPECT_NE(complaint(), "");
  SetUp();
  out->dropped_tokens[0] = 0;
  EXPECT_EQ(complaint(), "dropped_tokens[0]: got 0, expected 1");
}

// counts and the next bias of v3_sequence_loss are the formula's of dsl/README.md
TEST(GoldenUpdate, choice_bias_of_the_stored_step) {
  Result<GoldenCase> read = readGoldenCase(MOEC_SOURCE_DIR "/tests/golden", "v3_sequence_loss");
  ASSERT_TRUE(read) << read.error().placedMessage();
  const GoldenCase &golden = *read;
  const GoldenBatch &batch = golden.batches[0];
  ASSERT_TRUE(batch.find("counts") && batch.find("choice_bias_next") && golden.spec.update);
  std::vector<double> counts = batch.find("counts")->values(), next = batch.find("choice_bias_next")->values();
  std::vector<int32_t> whole(counts.begin(), counts.end());
  std::vector<double> before = golden.weights.at("router.choice_bias").values();
  std::vector<float> bias(before.begin(), before.end());
  ASSERT_EQ(
      moec_update_choice_bias(bias.data(), whole.data(), int64_t(whole.size()), float(golden.spec.update->rate), 0),
      MOEC_OK);
  for (size_t e = 0; e < bias.size(); ++e)
    EXPECT_NEAR(bias[e], next[e], 1e-7) << "expert " << e;
}
