// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every golden case the oracle covers: stored inputs -> logits, ids, weights and y of the published code.

#include "codegen/check/GoldenCase.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

using namespace moec;

namespace {

const std::string folder = MOEC_SOURCE_DIR "/tests/golden";

std::vector<std::string> allCases() {
  Result<std::vector<std::string>> names = listGoldenCases(folder);
  return names ? *names : std::vector<std::string>();
}

// max|a - b| / max|b|; NaN counts as infinite.
double relativeError(const std::vector<double> &actual, const std::vector<double> &expected) {
  double most = 0, error = 0;
  if (actual.size() != expected.size())
    return HUGE_VAL;
  for (size_t i = 0; i < expected.size(); ++i) {
    most = std::max(most, std::fabs(expected[i]));
    double difference = std::fabs(actual[i] - expected[i]);
    error = std::isnan(difference) ? HUGE_VAL : std::max(error, difference);
  }
  return error == 0 ? 0 : error / most;
}

// ids as sets of those kept, weights aligned by id.
void compareChoices(const ReferenceOutputs &outputs, const GoldenBatch &batch, double tolerance) {
  std::vector<double> ids = batch.find("ids")->values(), weights = batch.find("weights")->values();
  ASSERT_EQ(ids.size(), outputs.ids.size());
  ASSERT_EQ(weights.size(), outputs.weights.size());
  std::vector<double> kept(ids.size(), 1);
  if (batch.find("kept"))
    kept = batch.find("kept")->values();
  double scale = 0;
  for (double w : weights)
    scale = std::max(scale, std::fabs(w));
  for (int64_t t = 0; t < batch.numTokens(); ++t) {
    std::map<int64_t, double> expected, actual;
    for (int64_t i = t * outputs.choices; i < (t + 1) * outputs.choices; ++i) {
      if (kept[i])
        expected[int64_t(ids[i])] = weights[i];
      if (outputs.kept[i])
        actual[outputs.ids[i]] = outputs.weights[i];
    }
    ASSERT_EQ(expected.size(), actual.size()) << "token " << t;
    for (auto [id, weight] : expected) {
      ASSERT_TRUE(actual.count(id)) << "token " << t << " lacks expert " << id;
      EXPECT_NEAR(actual[id], weight, tolerance * scale) << "token " << t << " expert " << id;
    }
  }
}

void compareExpertChoice(const ReferenceOutputs &outputs, const GoldenBatch &batch, int64_t experts, double tolerance) {
  std::vector<double> tokens = batch.find("expert_tokens")->values(), weights = batch.find("expert_weights")->values();
  ASSERT_EQ(tokens.size(), outputs.expertTokens.size());
  int64_t capacity = outputs.expertCapacity;
  for (int64_t e = 0; e < experts; ++e) {
    std::map<int64_t, double> expected, actual;
    for (int64_t i = e * capacity; i < (e + 1) * capacity; ++i) {
      expected[int64_t(tokens[i])] = weights[i];
      actual[outputs.expertTokens[i]] = outputs.expertWeights[i];
    }
    for (auto [token, weight] : expected) {
      ASSERT_TRUE(actual.count(token)) << "expert " << e << " lacks token " << token;
      EXPECT_NEAR(actual[token], weight, tolerance) << "expert " << e << " token " << token;
    }
  }
}

void compareBatch(const GoldenCase &golden, const GoldenBatch &batch) {
  double tolerance = golden.dtype == DataType::F32 ? 2e-6 : 1e-5;
  MemoryWeights weights = golden.view();
  Result<ReferenceOutputs> ran = runReference(golden.spec, referenceInputs(golden, batch, weights));
  ASSERT_TRUE(ran) << ran.error().message;
  const ReferenceOutputs &outputs = *ran;
  EXPECT_LE(relativeError(outputs.y, batch.find("y")->values()), tolerance);
  if (batch.find("logits")) {
    EXPECT_LE(relativeError(outputs.logits, batch.find("logits")->values()), tolerance);
  }
  if (batch.find("ids") && batch.find("weights"))
    compareChoices(outputs, batch, tolerance);
  if (batch.find("expert_tokens"))
    compareExpertChoice(outputs, batch, golden.spec.experts.count, tolerance);
  if (batch.find("counts")) {
    EXPECT_EQ(std::vector<double>(outputs.counts.begin(), outputs.counts.end()), batch.find("counts")->values());
  }
  for (size_t i = 0; i < golden.spec.losses.size(); ++i)
    if (std::optional<double> wanted = golden.lossOf(i, batch.index)) {
      EXPECT_NEAR(outputs.losses[i], *wanted, 1e-5 * std::fabs(*wanted)) << golden.spec.losses[i].kind;
    }
  for (const char *name : {"used_moe", "skipped"}) {
    if (!batch.find(name))
      continue;
    std::vector<double> expected = batch.find(name)->values();
    for (size_t t = 0; t < expected.size(); ++t)
      EXPECT_EQ(outputs.routed[t] != 0, (expected[t] != 0) == (std::string(name) == "used_moe")) << "token " << t;
  }
}

class GoldenOracle : public testing::TestWithParam<std::string> {};

} // namespace

TEST_P(GoldenOracle, matches_stored_outputs) {
  Result<GoldenCase> golden = readGoldenCase(folder, GetParam());
  ASSERT_TRUE(golden) << golden.error().placedMessage();
  for (const GoldenBatch &batch : golden->batches) {
    SCOPED_TRACE("batch " + std::to_string(batch.index));
    compareBatch(*golden, batch);
  }
}

INSTANTIATE_TEST_SUITE_P(golden, GoldenOracle, testing::ValuesIn(allCases()), [](const auto &info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(GoldenOracleFolder, golden_all_cases_found) {
  std::vector<std::string> names = allCases();
  EXPECT_EQ(names.size(), 81u);
  RecordProperty("cases", int(names.size()));
}

// Losses are compared above where the case has them.
TEST(GoldenOracleFolder, golden_losses_are_compared) {
  size_t compared = 0;
  for (const std::string &name : allCases()) {
    Result<GoldenCase> golden = readGoldenCase(folder, name);
    ASSERT_TRUE(golden) << golden.error().placedMessage();
    for (size_t i = 0; i < golden->spec.losses.size(); ++i)
      compared += golden->lossOf(i, golden->lossBatch).has_value();
  }
  EXPECT_EQ(compared, 10u);
}
