// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Texts of token ranges -> numbers, or the sentence that says what is wrong.

#include "codegen/check/TokenRange.h"

#include <gtest/gtest.h>

using namespace moec;

static std::vector<int64_t> numbers(const char *text) {
  Result<std::vector<int64_t>> out = parseTokenRange(text, 8192);
  EXPECT_TRUE(out) << out.error().message;
  return *out;
}

static std::string refusal(const char *text) {
  Result<std::vector<int64_t>> out = parseTokenRange(text, 8192);
  EXPECT_FALSE(out) << text;
  return out ? "" : out.error().message;
}

TEST(TokenRange, forms_give_their_numbers) {
  EXPECT_EQ(numbers("1,2,4-64*2"), (std::vector<int64_t>{1, 2, 4, 8, 16, 32, 64}));
  EXPECT_EQ(numbers("100-103"), (std::vector<int64_t>{100, 101, 102, 103}));
  EXPECT_EQ(numbers("0-20+8"), (std::vector<int64_t>{0, 8, 16}));
  EXPECT_EQ(numbers("0"), (std::vector<int64_t>{0}));
  EXPECT_EQ(numbers("3-100*5"), (std::vector<int64_t>{3, 15, 75}));
  EXPECT_EQ(numbers("8192"), (std::vector<int64_t>{8192}));
}

TEST(TokenRange, refusals_say_why) {
  EXPECT_EQ(refusal("8193"), "token range \"8193\" is outside 0..8192 or runs backwards");
  EXPECT_EQ(refusal("1,"), "token range \"\" is not a number");
  EXPECT_EQ(refusal("1-"), "token range \"1-\" has no number after \"-\"");
  EXPECT_EQ(refusal("1-4*x"), "token range \"1-4*x\" has no number after its step sign");
  EXPECT_EQ(refusal("1-4+0"), "token range \"1-4+0\" has a step that goes nowhere");
  EXPECT_EQ(refusal("1-4*1"), "token range \"1-4*1\" has a step that goes nowhere");
  EXPECT_EQ(refusal("4;5"),
            "token range \"4;5\" is not of the form N, FIRST-LAST, FIRST-LAST+STEP or FIRST-LAST*FACTOR");
  EXPECT_EQ(refusal("0-8000"), "token range \"0-8000\" gives more than 4096 numbers");
  EXPECT_EQ(refusal("99999999999999999999"), "token range \"99999999999999999999\" is not a number");
  EXPECT_EQ(refusal("-5"), "token range \"-5\" is outside 0..8192 or runs backwards");
}
