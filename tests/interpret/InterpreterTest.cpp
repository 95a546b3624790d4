// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The interpreter against the spec's reference: what `build` makes of a spec gives, op by op in float64 and without
// rounding, what the reference gives for the spec. They share only ReferenceRounding, which is off here.

#include "tests/interpret/BothAnswers.h"

#include "codegen/check/Compare.h"
#include "codegen/check/RandomSpec.h"

#include <gtest/gtest.h>

#include <filesystem>

using namespace moec;
using interpret::Tensor;

namespace {

Comparison compared(const Tensor &got, const std::vector<double> &want, double tolerance) {
  CompareOptions options;
  options.maxRel = tolerance;
  options.scale = 1e-3;
  std::vector<double> expected = want, actual = got.data;
  for (size_t i = 0; i < expected.size() && i < actual.size(); ++i)
    if (std::isnan(expected[i])) // tokens that a wrap leads around the router
      expected[i] = actual[i] = 0;
  return compareRows(actual, expected, std::max<int64_t>(1, got.columns()), options);
}

// True: compared to 1e-9.
bool expectAgreement(BothAnswers &answers) {
  bool exact = answers.constantsAreExact();
  double tolerance = exact ? 1e-9 : 2e-6;
  const Tensor *y = answers.result("y"), *logits = answers.result("logits"), *ids = answers.result("ids");
  const Tensor *losses = answers.result("losses"), *weights = answers.result("weights");
  Comparison comparison = compared(*y, answers.want.y, tolerance);
  EXPECT_TRUE(comparison.pass) << "y: " << comparison.text;
  if (logits && logits->data.size() == answers.want.logits.size()) {
    comparison = compared(*logits, answers.want.logits, tolerance);
    EXPECT_TRUE(comparison.pass) << "logits: " << comparison.text;
  }
  if (losses) {
    comparison = compared(*losses, answers.want.losses, tolerance);
    EXPECT_TRUE(comparison.pass) << "losses: " << comparison.text;
  }
  if (ids && weights && ids->data.size() == answers.want.ids.size()) {
    CompareOptions options;
    options.maxRel = tolerance;
    std::vector<int64_t> got(ids->data.begin(), ids->data.end());
    comparison =
        compareChoices(got, weights->data, answers.want.ids, answers.want.weights, answers.want.choices, options);
    EXPECT_TRUE(comparison.pass) << "ids and weights: " << comparison.text;
  }
  return exact;
}

TEST(Interpreter, golden_specs_agree_with_the_reference) {
  int exact = 0, all = 0;
  for (const auto &entry : std::filesystem::directory_iterator(std::string(MOEC_SOURCE_DIR) + "/tests/golden")) {
    if (entry.path().extension() != ".json" || entry.path().stem().string().rfind("index", 0) == 0)
      continue;
    SCOPED_TRACE(entry.path().stem().string());
    BothAnswers answers;
    ASSERT_TRUE(answers.readGolden(entry.path()) && answers.built.build());
    ASSERT_TRUE(answers.runReference(24)) << answers.error;
    ASSERT_TRUE(answers.runInterpreter());
    exact += expectAgreement(answers);
    ++all;
  }
  EXPECT_GE(all, 73);
  EXPECT_GE(exact, 40);
  std::printf("%d layers, %d of them to 1e-9\n", all, exact);
}

// Two of four tokens reach an expert; the others get x, and nothing of the latent space's bias and norm.
TEST(Interpreter, tokens_that_no_expert_took_bypass_the_latent_space) {
  BothAnswers answers;
  ASSERT_TRUE(answers.built.read(R"({
    "moec": 1, "name": "untaken", "dtype": "f32", "hidden": 6,
    "router": {"kind": "expert_choice", "score": "sigmoid", "select": {"tokens": 1}, "unselected": "identity"},
    "experts": {"count": 2, "intermediate": 4,
                "latent": {"dim": 5, "bias": true, "norm_out": "layernorm"}}})"));
  ASSERT_TRUE(answers.built.build());
  ASSERT_TRUE(answers.runReference(4)) << answers.error;
  ASSERT_TRUE(answers.runInterpreter());
  Comparison comparison = compared(*answers.result("y"), answers.want.y, 1e-5);
  EXPECT_TRUE(comparison.pass) << comparison.text;
}

TEST(Interpreter, random_specs_agree_with_the_reference) {
  RandomSizes sizes;
  sizes.most = 24;
  sizes.experts = 12;
  int exact = 0, all = 0;
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    BothAnswers answers;
    ASSERT_TRUE(answers.built.read(randomSpecText(seed, sizes)));
    if (!answers.built.build())
      continue; // refused: no layer of this version
    if (answers.built.spec->experts.act == Activation::Custom)
      continue;
    ASSERT_TRUE(answers.runReference(1 + int64_t(seed % 19))) << answers.error;
    ASSERT_TRUE(answers.runInterpreter());
    exact += expectAgreement(answers);
    ++all;
  }
  EXPECT_GE(all, 100);
  EXPECT_GE(exact, 35);
  std::printf("%d layers, %d of them to 1e-9\n", all, exact);
}

} // namespace
