// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Formulas of derived parameters: values, and the whole text of every error.

#include "codegen/tile/Instantiate.h"

#include <gtest/gtest.h>

namespace moec {
namespace {

const std::map<std::string, int64_t> names = {{"k", 100}, {"block_k", 32}, {"zero", 0}, {"low", INT64_MIN}};

int64_t valueOf(const std::string &formula) {
  Result<int64_t> value = evaluateFormula(formula, names);
  EXPECT_TRUE(value) << formula << ": " << value.error().message;
  return value ? *value : -1;
}

std::string errorOf(const std::string &formula) {
  Result<int64_t> value = evaluateFormula(formula, names);
  EXPECT_FALSE(value) << formula;
  return value ? "" : value.error().message;
}

TEST(Formula, arithmetic_binds_as_written) {
  EXPECT_EQ(valueOf("2 + 3 * 4"), 14);
  EXPECT_EQ(valueOf("(2+3)*4"), 20);
  EXPECT_EQ(valueOf("20 - 5 - 3"), 12);
  EXPECT_EQ(valueOf("100 / 7 / 2"), 7);
  EXPECT_EQ(valueOf("  k "), 100);
  EXPECT_EQ(valueOf("9223372036854775807"), INT64_MAX);
}

TEST(Formula, functions) {
  EXPECT_EQ(valueOf("ceildiv(k, block_k)"), 4);
  EXPECT_EQ(valueOf("ceildiv(96, block_k)"), 3);
  EXPECT_EQ(valueOf("ceildiv(0, 5)"), 0);
  EXPECT_EQ(valueOf("ceildiv(9223372036854775807, 2)"), INT64_MAX / 2 + 1);
  EXPECT_EQ(valueOf("min(k, 3) + max(k, 3)"), 103);
}

TEST(Formula, names_and_functions_that_do_not_exist) {
  EXPECT_EQ(errorOf("blok_k"), "unknown name 'blok_k'");
  EXPECT_EQ(errorOf("floor(k, 2)"), "unknown function 'floor'; there are ceildiv, min and max");
}

TEST(Formula, division_by_zero) {
  EXPECT_EQ(errorOf("k / zero"), "division by a value that is not positive");
  EXPECT_EQ(errorOf("low / (0 - 1)"), "division by a value that is not positive");
  EXPECT_EQ(errorOf("ceildiv(k, zero)"), "ceildiv needs a >= 0 and b > 0");
  EXPECT_EQ(errorOf("ceildiv(low, 2)"), "ceildiv needs a >= 0 and b > 0");
}

TEST(Formula, overflow) {
  EXPECT_EQ(errorOf("9223372036854775807 + 1"), "the result does not fit 64 bits");
  EXPECT_EQ(errorOf("low - 1"), "the result does not fit 64 bits");
  EXPECT_EQ(errorOf("low * 2"), "the result does not fit 64 bits");
  EXPECT_EQ(errorOf("9223372036854775807 * k / k"), "the result does not fit 64 bits");
  EXPECT_EQ(errorOf("max(low * 2, 1)"), "the result does not fit 64 bits");
  EXPECT_EQ(errorOf("9223372036854775808"), "a number does not fit 64 bits");
}

TEST(Formula, depth) {
  auto nested = [](size_t depth) { return std::string(depth, '(') + "1" + std::string(depth, ')'); };
  EXPECT_EQ(valueOf(nested(31)), 1);
  EXPECT_EQ(errorOf(nested(32)), "nested too deeply");
  EXPECT_EQ(errorOf(std::string(100000, '(')), "nested too deeply");
}

TEST(Formula, syntax) {
  EXPECT_EQ(errorOf(""), "expected a number, a name or '('");
  EXPECT_EQ(errorOf("2 +"), "expected a number, a name or '('");
  EXPECT_EQ(errorOf("-1"), "expected a number, a name or '('");
  EXPECT_EQ(errorOf("(1"), "expected ')'");
  EXPECT_EQ(errorOf("min(1)"), "expected ',' in min(a, b)");
  EXPECT_EQ(errorOf("min(1, 2"), "expected ')' after min(a, b");
  EXPECT_EQ(errorOf("1 2"), "unexpected '2'");
  EXPECT_EQ(errorOf("k % 2"), "unexpected '% 2'");
}

} // namespace
} // namespace moec
