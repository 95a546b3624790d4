// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Gradients of golden and random specs against central differences of the reference, in float64.

#include "tests/grad/GradientCase.h"

#include "codegen/check/RandomSpec.h"

#include <gtest/gtest.h>

#include <filesystem>

using namespace moec;

namespace {

struct Counts {
  int layers = 0, tensors = 0, unsteady = 0, infinite = 0;
};

// Constants of the text are f32 numbers. Where one of them is not the spec's, both derivatives may differ by some 1e-7
// of their parts, by more where a norm divides by little, and where the parts cancel, by as little of the parts of L.
void expectGradients(GradientCase &one, int64_t tokens, uint64_t seed, Counts &counts) {
  ASSERT_TRUE(one.prepare(tokens, seed));
  std::vector<int64_t> choices;
  if (!std::isfinite(one.valueAt(choices))) { // a sum of scores that is 0, say
    ++counts.infinite;
    return;
  }
  ASSERT_TRUE(one.runInterpreter());
  Comparison forward = one.compareForward();
  EXPECT_TRUE(forward.pass) << "y: " << forward.text;
  ++counts.layers;
  double relative = one.both.constantsAreExact() ? 1e-6 : 1e-5;
  for (const auto &[name, values] : one.tensors) {
    if (name == "router.table")
      continue;
    GradientCase::Difference found = one.along(name, 31 + seed);
    ASSERT_TRUE(one.both.error.empty()) << one.both.error;
    ++counts.tensors;
    if (!found.steady) {
      ++counts.unsteady;
      continue;
    }
    double tolerance = relative * std::max(found.size, std::fabs(found.wanted)) + relative / 100 * (1 + found.value);
    EXPECT_NEAR(found.found, found.wanted, tolerance) << name << ", parts " << found.size;
  }
}

TEST(Gradient, golden_specs_agree_with_differences_of_the_reference) {
  Counts counts;
  for (const auto &entry : std::filesystem::directory_iterator(std::string(MOEC_SOURCE_DIR) + "/tests/golden")) {
    if (entry.path().extension() != ".json" || entry.path().stem().string().rfind("index", 0) == 0)
      continue;
    SCOPED_TRACE(entry.path().stem().string());
    GradientCase one;
    ASSERT_TRUE(one.both.readGolden(entry.path()));
    ASSERT_TRUE(one.both.built.buildGradient()) << one.both.built.refusals.front().message;
    expectGradients(one, 12, 1, counts);
  }
  EXPECT_GE(counts.layers, 73);
  std::printf("%d layers, %d tensors, %d where a choice changed; %d layers without a finite value\n", counts.layers,
              counts.tensors, counts.unsteady, counts.infinite);
}

TEST(Gradient, random_specs_agree_with_differences_of_the_reference) {
  RandomSizes sizes;
  sizes.most = 16;
  sizes.experts = 8;
  Counts counts;
  for (uint64_t n = 1; n <= 301; ++n) {
    uint64_t seed = n <= 300 ? n : 2559; // which once had a NaN
    SCOPED_TRACE("seed " + std::to_string(seed));
    GradientCase one;
    ASSERT_TRUE(one.both.built.read(randomSpecText(seed, sizes)));
    if (one.both.built.spec->experts.act == Activation::Custom)
      continue;
    if (!one.both.built.buildGradient()) {
      EXPECT_EQ(one.both.built.refusals.front().code, "E-UNSUPPORTED") << one.both.built.refusals.front().message;
      continue; // no layer of this version
    }
    expectGradients(one, 1 + int64_t(seed % 11), seed, counts);
  }
  EXPECT_GE(counts.layers, 200);
  std::printf("%d layers, %d tensors, %d where a choice changed; %d layers without a finite value\n", counts.layers,
              counts.tensors, counts.unsteady, counts.infinite);
}

} // namespace
