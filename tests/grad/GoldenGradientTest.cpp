// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Gradients against those that the golden cases store: of published model code, and of formulas.

#include "tests/grad/GradientCase.h"

#include "codegen/check/GoldenCase.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

// The stored gradients are f32 results, relative to the largest of a tensor.
void expectStored(GradientCase &one, const GoldenCase &golden) {
  for (const auto &[name, stored] : golden.gradients) {
    std::vector<double> want = stored.values(), got;
    for (const auto &[role, gradient] : one.gradients())
      if (role == name)
        got = gradient->data;
    if (got.empty()) // nothing depends on it: a bias before a hard choice
      got.assign(want.size(), 0);
    ASSERT_EQ(got.size(), want.size()) << name;
    double most = 0, worst = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      most = std::max(most, std::fabs(want[i]));
      worst = std::max(worst, std::fabs(got[i] - want[i]));
    }
    EXPECT_LE(worst, 2e-5 * most) << name;
  }
}

TEST(Gradient, golden_gradients_are_those_that_the_cases_store) {
  std::string folder = MOEC_SOURCE_DIR "/tests/golden";
  int cases = 0, tensors = 0;
  Result<std::vector<std::string>> names = listGoldenCases(folder);
  ASSERT_TRUE(names);
  for (const std::string &name : *names) {
    SCOPED_TRACE(name);
    Result<GoldenCase> golden = readGoldenCase(folder, name);
    ASSERT_TRUE(golden) << golden.error().message;
    if (golden->gradients.empty())
      continue;
    GradientCase one;
    ASSERT_TRUE(one.both.readGolden(folder + "/" + name + ".json"));
    one.both.built.spec->passes.backward = true; // noise of training
    ASSERT_TRUE(one.both.built.buildGradient()) << one.both.built.refusals.front().message;
    ASSERT_TRUE(one.take(*golden)) << one.both.error;
    ASSERT_TRUE(one.runInterpreter());
    expectStored(one, *golden);
    ++cases;
    tensors += int(golden->gradients.size());
  }
  EXPECT_GE(cases, 30);
  std::printf("%d cases, %d tensors\n", cases, tensors);
}

} // namespace
