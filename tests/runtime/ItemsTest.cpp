// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Items against a naive reading of moec_isa_variants' comment, and their splits.

#include "runtime/layer/items.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <tuple>
#include <vector>

namespace {

struct Case {
  moec_isa_variants isa = {};
  std::vector<uint8_t> cover;
  std::vector<int32_t> offsets;
};

Case randomCase(std::mt19937 &generator) {
  Case c;
  c.isa.num_variants = 1 + generator() % 5;
  c.isa.row_multiple = 1 + generator() % 4;
  c.isa.max_rows = c.isa.row_multiple * (1 + generator() % 6);
  for (uint32_t r = 0; r < c.isa.max_rows; ++r)
    c.cover.push_back(static_cast<uint8_t>(generator() % c.isa.num_variants));
  c.offsets = {0};
  for (unsigned groups = 1 + generator() % 12; groups > 0; --groups)
    c.offsets.push_back(c.offsets.back() + static_cast<int32_t>(generator() % 3 ? generator() % 50 : 0));
  return c;
}

// (variant, group, row0, rows) of every block, in the order the ABI asks for.
std::vector<std::tuple<int, int, int, int>> naiveItems(const Case &c) {
  std::vector<std::tuple<int, int, int, int>> items;
  int maxRows = static_cast<int>(c.isa.max_rows), multiple = static_cast<int>(c.isa.row_multiple);
  for (size_t g = 0; g + 1 < c.offsets.size(); ++g) {
    int n = c.offsets[g + 1] - c.offsets[g];
    if (n == 0)
      continue;
    int blocks = (n + maxRows - 1) / maxRows;
    int rows = ((n + blocks - 1) / blocks + multiple - 1) / multiple * multiple;
    for (int row = 0; row < n; row += rows) {
      int here = std::min(rows, n - row);
      items.emplace_back(c.cover[static_cast<size_t>(here) - 1], static_cast<int>(g), c.offsets[g] + row, here);
    }
  }
  std::sort(items.begin(), items.end());
  return items;
}

int variantOf(const moec_item_list &list, int64_t item) {
  int variant = 0;
  while (list.variant_first[variant + 1] <= item)
    ++variant;
  return variant;
}

} // namespace

TEST(Items, blocks_match_the_abi) {
  std::mt19937 generator(2);
  for (int repeat = 0; repeat < 2000; ++repeat) {
    Case c = randomCase(generator);
    std::vector<std::tuple<int, int, int, int>> want = naiveItems(c), got;
    int64_t rows = c.offsets.back(), groups = static_cast<int64_t>(c.offsets.size()) - 1;
    int64_t bound = std::min<int64_t>(rows, rows / c.isa.max_rows + groups);
    ASSERT_LE(static_cast<int64_t>(want.size()), bound);
    std::vector<moec_item> items(static_cast<size_t>(bound) + 1, moec_item{-9, -9, -9, -9, -9, -9});
    moec_item_list list;
    list.items = items.data();
    moec_items_build(&c.isa, c.cover.data(), c.offsets.data(), groups, 7, &list);
    ASSERT_EQ(items[static_cast<size_t>(bound)].group, -9);
    for (int64_t i = 0; i < list.num_items; ++i) {
      got.emplace_back(variantOf(list, i), items[i].group, items[i].row0, items[i].rows);
      ASSERT_EQ(items[i].panel0, 0);
      ASSERT_EQ(items[i].panels, 7);
    }
    ASSERT_EQ(got, want);
  }
}

TEST(Items, splits_keep_order_and_cover_every_panel_once) {
  std::mt19937 generator(3);
  for (int repeat = 0; repeat < 2000; ++repeat) {
    Case c = randomCase(generator);
    int32_t workers = 1 + static_cast<int32_t>(generator() % 16), panels = 1 + static_cast<int32_t>(generator() % 40);
    std::vector<std::tuple<int, int, int, int>> want = naiveItems(c), whole;
    size_t capacity = want.size() + static_cast<size_t>(MOEC_ITEMS_PER_WORKER * workers) + 1;
    std::vector<moec_item> items(capacity);
    moec_item_list list;
    list.items = items.data();
    moec_items_build(&c.isa, c.cover.data(), c.offsets.data(), static_cast<int64_t>(c.offsets.size()) - 1, panels,
                     &list);
    int64_t before = list.num_items;
    moec_items_split(&list, panels, workers);
    ASSERT_LE(list.num_items, std::max<int64_t>(before, MOEC_ITEMS_PER_WORKER * workers));
    if (workers > 1 && before && before * 2 <= MOEC_ITEMS_PER_WORKER * workers && panels > 1) {
      ASSERT_GT(list.num_items, before);
    }
    int32_t next = 0;
    for (int64_t i = 0; i < list.num_items; ++i) {
      ASSERT_EQ(items[i].panel0, next);
      ASSERT_GT(items[i].panels, 0);
      next += items[i].panels;
      if (next == panels) {
        whole.emplace_back(variantOf(list, i), items[i].group, items[i].row0, items[i].rows);
        next = 0;
      }
    }
    ASSERT_EQ(whole, want);
  }
}

TEST(Items, one_worker_never_splits) {
  moec_isa_variants isa = {0, 1, 0, 8, 1};
  std::vector<uint8_t> cover(8, 0);
  int32_t offsets[] = {0, 3};
  moec_item items[8];
  moec_item_list list;
  list.items = items;
  moec_items_build(&isa, cover.data(), offsets, 1, 30, &list);
  moec_items_split(&list, 30, 1);
  EXPECT_EQ(list.num_items, 1);
}
