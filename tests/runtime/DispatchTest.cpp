// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec_dispatch against the definition of its tables.

#include "runtime/layer/dispatch.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace {

void checkTables(const std::vector<int32_t> &ids, int64_t numTokens, int64_t choices, int64_t numGroups) {
  std::vector<int32_t> offsets(static_cast<size_t>(numGroups) + 1, -9), token(ids.size() + 1, -9),
      slot(ids.size() + 1, -9), row(ids.size() + 1, -9);
  moec_route route = {offsets.data(), token.data(), slot.data(), row.data()};
  moec_dispatch(ids.data(), numTokens, choices, numGroups, &route);
  int32_t next = 0;
  std::vector<int32_t> wantRow(ids.size(), -1);
  for (int32_t g = 0; g < numGroups; ++g) {
    ASSERT_EQ(offsets[static_cast<size_t>(g)], next);
    for (size_t s = 0; s < ids.size(); ++s)
      if (ids[s] == g) {
        ASSERT_EQ(slot[static_cast<size_t>(next)], static_cast<int32_t>(s));
        ASSERT_EQ(token[static_cast<size_t>(next)], static_cast<int32_t>(s) / static_cast<int32_t>(choices));
        wantRow[s] = next++;
      }
  }
  ASSERT_EQ(offsets.back(), next);
  row.pop_back();
  EXPECT_EQ(row, wantRow);
  for (size_t r = static_cast<size_t>(next); r < slot.size(); ++r)
    ASSERT_EQ(slot[r], -9) << "row " << r << " is not in use";
}

} // namespace

TEST(Dispatch, tables_match_their_definition) {
  std::mt19937 generator(1);
  for (int repeat = 0; repeat < 500; ++repeat) {
    int64_t numTokens = generator() % 40, choices = 1 + generator() % 6, numGroups = 1 + generator() % 20;
    std::vector<int32_t> ids(static_cast<size_t>(numTokens * choices));
    for (int32_t &id : ids)
      id = static_cast<int32_t>(generator() % static_cast<unsigned>(numGroups + 4)) - 2; // two below, two above
    checkTables(ids, numTokens, choices, numGroups);
    ASSERT_FALSE(testing::Test::HasFatalFailure());
  }
}

TEST(Dispatch, extreme_ids_make_no_row) { checkTables({INT32_MIN, INT32_MAX, -1, 3, 2, 1 << 30}, 3, 2, 3); }
