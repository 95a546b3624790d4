// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The harness judged: what is equal passes, and every classic way of being wrong is refused.

#include "tests/reference/TinyLayer.h"

#include "codegen/check/Compare.h"
#include "codegen/check/RowSpread.h"

#include <algorithm>
#include <cmath>

using namespace moec;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double notANumber = std::numeric_limits<double>::quiet_NaN();

const std::string text =
    "{\"moec\": 1, \"hidden\": 16, \"router\": {\"top_k\": 2, \"normalize\": {\"kind\": \"sum\"}}, "
    "\"experts\": {\"count\": 4, \"intermediate\": 8}}";

std::vector<double> honest() {
  TinyLayer layer(text);
  layer.randomX(9);
  return layer.run().y;
}

Comparison against(const std::vector<double> &actual, const std::vector<double> &expected, double maxRel = 2e-5) {
  CompareOptions options;
  options.maxRel = maxRel;
  return compareRows(actual, expected, 16, options);
}

} // namespace

// A token of which few experts of many are chosen, and a row of which few columns are finite.
TEST(RowSpread, limits_are_over_the_columns_that_are_compared) {
  const std::vector<double> chosen = {2, 0, 0, 0, 0, 0, 0, 0}, infinite = {2, inf, inf, inf, inf, inf, inf, inf};
  for (const std::vector<double> &want : {chosen, infinite}) {
    std::vector<double> run = want;
    run[0] += 0.01;
    RowSpread spread(want, 1, weightless);
    spread.add(run, {1});
    EXPECT_NEAR(spread.slack().rms[0], 5 * 0.01, 1e-12); // 1 + 4/sqrt(1), of one column
  }
}

TEST(Compare, rows_equal_and_nearly_equal_pass) {
  std::vector<double> y = honest(), rounded = y;
  EXPECT_TRUE(against(y, y).pass);
  EXPECT_EQ(against(y, y).text, "ok worst error 0 of its row, 0 of the limit, nmse 0");
  EXPECT_EQ(against(y, y).rows, 9);
  EXPECT_EQ(against(y, y).values, 9 * 16);
  for (double &v : rounded)
    v = float(v);
  EXPECT_TRUE(against(rounded, y).pass) << against(rounded, y).text;
  EXPECT_GT(against(rounded, y).maxAbs, 0);
}

TEST(Compare, rows_wrong_outputs_are_refused) {
  std::vector<double> y = honest();
  std::vector<double> zeroed(y.size(), 0), flipped, reversed(y.rbegin(), y.rend()), rotated = y, lastRow = y,
                                                                                    oneRow = y, scaled = y;
  for (double v : y)
    flipped.push_back(-v);
  std::rotate(rotated.begin(), rotated.begin() + 16, rotated.end());
  std::fill(lastRow.end() - 16, lastRow.end(), 0);
  std::swap_ranges(oneRow.begin(), oneRow.begin() + 8, oneRow.begin() + 8);
  for (double &v : scaled)
    v *= 1.0001;
  // Also where bf16 arithmetic throughout is allowed.
  for (double tolerance : {2e-5, 2e-2}) {
    EXPECT_FALSE(against(zeroed, y, tolerance).pass);
    EXPECT_FALSE(against(flipped, y, tolerance).pass);
    EXPECT_FALSE(against(reversed, y, tolerance).pass);
    EXPECT_FALSE(against(rotated, y, tolerance).pass);
    EXPECT_FALSE(against(lastRow, y, tolerance).pass);
    EXPECT_FALSE(against(oneRow, y, tolerance).pass);
  }
  EXPECT_FALSE(against(scaled, y).pass);
  EXPECT_EQ(against(lastRow, y).worstRow, 8);
}

TEST(Compare, rows_wrong_layers_are_refused) {
  std::vector<double> y = honest();
  TinyLayer swapped(text), dropped(text), permuted(text);
  for (TinyLayer *layer : {&swapped, &dropped, &permuted})
    layer->randomX(9);
  std::swap(swapped.tensors["experts.gate"], swapped.tensors["experts.up"]);
  EXPECT_FALSE(against(swapped.run().y, y, 2e-2).pass);
  int64_t expert = swapped.out.ids[0], size = 16 * 8;
  std::vector<float> &down = dropped.tensors["experts.down"];
  std::fill_n(down.begin() + expert * size, size, 0.0f);
  EXPECT_FALSE(against(dropped.run().y, y, 2e-2).pass);
  std::vector<float> &gate = permuted.tensors["experts.gate"];
  std::rotate(gate.begin(), gate.begin() + size, gate.end());
  EXPECT_FALSE(against(permuted.run().y, y, 2e-2).pass);
}

TEST(Compare, rows_are_measured_by_their_own_size) {
  // One large row hides nothing of a small one, nor a large element of its own row an error in all others.
  std::vector<double> y(160, 1e-3), off = y;
  std::fill_n(y.begin(), 16, 100);
  std::copy_n(y.begin(), 16, off.begin());
  off[9 * 16 + 3] = 1.001e-3;
  Comparison result = against(off, y);
  EXPECT_EQ(result.text,
            "FAIL row 9 column 3 is 0.001; expected 0.001 within 2e-08 (worst error 0.001 of its row, 50 of "
            "the limit, nmse 6.25e-18, at row 9 column 3)");
  EXPECT_EQ(result.worstRow, 9);
}

TEST(Compare, rows_small_error_in_all_of_a_row_fails) {
  CompareOptions options;
  options.slack.most = {1, 1};
  options.slack.rms = {1e-3, 1e-3};
  std::vector<double> y(64, 1), off = y;
  for (size_t i = 32; i < 64; ++i)
    off[i] += i % 2 ? 2e-3 : -2e-3;
  EXPECT_EQ(compareRows(off, y, 32, options).text.substr(0, 79),
            "FAIL row 1 is off by 0.002 (root mean square); its size is 1, allowed 0.00102 (");
  options.slack.rms[1] = 3e-3;
  EXPECT_TRUE(compareRows(off, y, 32, options).pass);
}

TEST(Compare, rows_all_a_little_too_small_fail) {
  CompareOptions options;
  options.slack.most = options.slack.rms = {1, 1};
  std::vector<double> y(64, 1), off(64, 0.999);
  EXPECT_EQ(compareRows(off, y, 32, options).text.substr(0, 76),
            "FAIL all rows together are 0.001 of their size too small; allowed 2e-05 (wor");
  options.slack.gain = 1e-3;
  EXPECT_TRUE(compareRows(off, y, 32, options).pass);
}

TEST(Compare, rows_nothing_compared_does_not_pass) {
  EXPECT_EQ(against({}, {}).text, "FAIL no row was compared");
  std::vector<double> nothing(32, notANumber), some = nothing;
  EXPECT_EQ(against(nothing, nothing).text, "FAIL no value was compared: the reference has none that is finite");
  some[3] = 1;
  EXPECT_TRUE(against(some, some).pass);
  EXPECT_EQ(against(some, some).values, 1);
  EXPECT_FALSE(against(nothing, some).pass);
  CompareOptions options;
  options.mayBeUndefined = true;
  EXPECT_TRUE(compareRows(nothing, nothing, 8, options).pass);
  EXPECT_FALSE(compareRows(std::vector<double>(32, 1), nothing, 8, options).pass);
  options.mayBeUndefined = false;
  EXPECT_EQ(compareChoices({}, {}, {}, {}, 2, options).text, "FAIL no row was compared");
}

TEST(Compare, rows_not_finite_is_refused) {
  std::vector<double> y = honest(), bad = y;
  for (double value : {notANumber, inf, -inf}) {
    bad[21] = value;
    Comparison result = against(bad, y, 1e9);
    EXPECT_FALSE(result.pass);
    EXPECT_EQ(result.worstRow, 1);
    EXPECT_EQ(result.worstCol, 5);
    EXPECT_TRUE(against(bad, bad).pass); // as the reference has it there too
    EXPECT_FALSE(against(y, bad, 1e9).pass);
  }
  bad = y;
  bad[0] = inf;
  EXPECT_EQ(against(bad, std::vector<double>(y.size(), 0.5), 1e9).text, "FAIL row 0 column 0 is inf; expected 0.5");
}

TEST(Compare, rows_poison_is_refused) {
  CompareOptions options;
  options.maxRel = 1e9;
  options.poison = -1234.5;
  EXPECT_EQ(compareRows({1, -1234.5}, {1, 2}, 2, options).text,
            "FAIL row 0 column 1 still holds the poison -1.23e+03; expected 2");
  EXPECT_TRUE(compareRows({1, -1234.5}, {1, -1234.5}, 2, options).pass);
}

TEST(Compare, rows_zero_expected_and_wrong_size) {
  CompareOptions options;
  EXPECT_TRUE(compareRows({0, -0.0}, {0, 0}, 2, options).pass);
  EXPECT_FALSE(compareRows({0, 1e-30}, {0, 0}, 2, options).pass);
  EXPECT_EQ(compareRows({1, 2, 3}, {1, 2}, 2, options).text, "FAIL 3 elements; expected 2 in rows of 2");
  EXPECT_FALSE(compareRows({1, 2, 3}, {1, 2, 3}, 2, options).pass);
  EXPECT_FALSE(compareRows({1}, {1}, 0, options).pass);
}

TEST(Compare, choices_as_sets_aligned_by_id) {
  CompareOptions options;
  auto compare = [&](Ids ids, std::vector<double> weights) {
    return compareChoices(ids, weights, {3, 1, 0, 2}, {0.75, 0.25, 1, 0}, 2, options);
  };
  EXPECT_TRUE(compare({3, 1, 0, 2}, {0.75, 0.25, 1, 0}).pass);
  EXPECT_TRUE(compare({1, 3, 0, -1}, {0.25, 0.75, 1, 0}).pass);
  EXPECT_EQ(compare({1, 3, 0, 2}, {0.75, 0.25, 1, 0}).text,
            "FAIL row 0 expert 1 is 0.75; expected 0.25 within 1.5e-05 (worst error 0.667 of its row, 3.33e+04 of the "
            "limit, nmse 0.308, at row 0 expert 1)");
  EXPECT_EQ(compare({3, 2, 0, 2}, {0.75, 0.25, 1, 0}).text, "FAIL token 0 has experts {2, 3}; expected {1, 3}");
  EXPECT_EQ(compare({3, 1, 0, 2}, {0.75, 0.25, 1, 0.5}).text, "FAIL token 1 has experts {0, 2}; expected {0}");
  EXPECT_EQ(compare({3, 3, 0, 2}, {0.75, 0.25, 1, 0}).text, "FAIL token 0 has one expert twice");
  EXPECT_EQ(compare({3, 1, 0, 2}, {notANumber, 0.25, 1, 0}).text,
            "FAIL the weight at row 0 expert 3 is nan; expected 0.75");
  // ids that were replaced may name an expert twice
  EXPECT_TRUE(compareChoices({3, 3}, {0.75, 0.25}, {3, 3}, {0.75, 0.25}, 2, options).pass);
  EXPECT_FALSE(compareChoices({3, 3}, {0.25, 0.75}, {3, 3}, {0.75, 0.25}, 2, options).pass);
  EXPECT_FALSE(compareChoices({3, 1}, {0.75, 0.25}, {3, 3}, {0.75, 0.25}, 2, options).pass);
  EXPECT_EQ(compare({3, 1}, {0.75, 0.25}).text, "FAIL 2 ids and 2 weights; expected 4 in rows of 2");
}
