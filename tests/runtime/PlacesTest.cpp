// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Places of groups against plain sorts.

#include "runtime/layer/places.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace {

moec_places fixedPlaces(double value) {
  moec_places places = {};
  places.value = value;
  places.times = places.over = 1;
  places.most = INT32_MAX;
  places.round = MOEC_ROUND_CEIL;
  return places;
}

TEST(Places, counts) {
  moec_places places = fixedPlaces(1.25);
  EXPECT_EQ(moec_places_at(&places, 100, 7), 2);
  places.round = MOEC_ROUND_NEAREST;
  EXPECT_EQ(moec_places_at(&places, 100, 7), 1);
  places.mode = MOEC_PLACES_SHARE;
  places.times = 2, places.over = 8;
  EXPECT_EQ(moec_places_at(&places, 16, 7), 5); // 1.25 * 16 * 2 / 8
  EXPECT_EQ(moec_places_at(&places, 17, 7), 5); // 5.3125
  EXPECT_EQ(moec_places_at(&places, 18, 7), 6); // 5.625
  places.round = MOEC_ROUND_CEIL;
  places.value = 1, places.times = 1, places.over = 3;
  EXPECT_EQ(moec_places_at(&places, 9, 0), 3); // exact, not rounded up
  places.mode = MOEC_PLACES_GIVEN;
  places.least = 2, places.most = 5;
  EXPECT_EQ(moec_places_at(&places, 9, 1), 2);
  EXPECT_EQ(moec_places_at(&places, 9, 4), 4);
  EXPECT_EQ(moec_places_at(&places, 9, 9), 5);
  places.least = 0;
  EXPECT_EQ(moec_places_at(&places, 9, -3), 0);
}

// Random ids with a few outside the groups; keys with ties, NaN and both zeros.
struct Case {
  int64_t tokens, choices, groups;
  std::vector<int32_t> ids, kept, queue, free;
  std::vector<float> keys;

  Case(int64_t tokens, int64_t choices, int64_t groups, unsigned seed)
      : tokens(tokens), choices(choices), groups(groups) {
    std::mt19937 random(seed);
    const float values[] = {0.f, -0.f, 1.f, -1.f, 0.5f, std::numeric_limits<float>::quiet_NaN(), -INFINITY, 3.f};
    for (int64_t i = 0; i < tokens * choices; ++i) {
      ids.push_back(int32_t(random() % unsigned(groups + 2)) - 1);
      keys.push_back(values[random() % 8]);
    }
    kept.assign(ids.size(), 99);
    queue.resize(ids.size());
    free.resize(size_t(groups));
  }
  moec_capacity_call call(const moec_places &places, int64_t sequence) {
    moec_capacity_call c = {};
    c.places = &places;
    c.num_tokens = tokens, c.sequence_tokens = sequence, c.choices = choices, c.num_groups = groups;
    c.ids = ids.data(), c.kept = kept.data(), c.free_places = free.data();
    if (places.flags & MOEC_PLACES_KEYS)
      c.keys = keys.data(), c.queue = queue.data();
    return c;
  }
  // The same by a stable sort of all slots of a scope.
  std::vector<int32_t> expected(const moec_places &places, int64_t length, int64_t count) const {
    std::vector<int32_t> out = ids;
    for (int64_t first = 0; first < tokens; first += length) {
      std::vector<int64_t> order;
      for (int64_t slot = first * choices; slot < std::min(first + length, tokens) * choices; ++slot)
        order.push_back(slot);
      auto rank = [&](int64_t slot) {
        bool tokenMajor = places.flags & MOEC_PLACES_TOKEN_MAJOR;
        float key = !(places.flags & MOEC_PLACES_KEYS)
                        ? 0
                        : keys[size_t(places.flags & MOEC_PLACES_SLOT_KEYS ? slot : slot / choices)];
        return std::make_tuple(tokenMajor ? 0 : slot % choices, std::isnan(key), std::isnan(key) ? 0.f : -key, slot);
      };
      std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return rank(a) < rank(b); });
      std::vector<int64_t> used(size_t(groups), 0);
      for (int64_t slot : order)
        if (int32_t id = ids[size_t(slot)]; id >= 0 && id < groups && used[size_t(id)]++ >= count)
          out[size_t(slot)] = -1;
    }
    return out;
  }
};

TEST(Places, capacity_keeps_the_front_of_every_queue) {
  for (unsigned flags : {0u, 1u, 2u, 3u, 6u, 7u})
    for (int64_t sequence : {1, 5, 20})
      for (int64_t count : {0, 1, 2, 7, 100}) {
        Case c(20, 3, 4, unsigned(flags * 100 + sequence));
        moec_places places = fixedPlaces(double(count));
        places.flags = uint16_t(flags);
        places.scope = sequence == 20 ? MOEC_SCOPE_BATCH : MOEC_SCOPE_SEQUENCE;
        moec_capacity_call call = c.call(places, sequence);
        moec_keep_capacity(&call);
        EXPECT_EQ(c.kept, c.expected(places, sequence, count)) << flags << " " << sequence << " " << count;
      }
}

TEST(Places, capacity_of_groups_ends_with_a_short_one) {
  Case c(11, 2, 3, 9);
  moec_places places = fixedPlaces(1);
  places.scope = MOEC_SCOPE_GROUP;
  places.group_tokens = 4;
  moec_capacity_call call = c.call(places, 11);
  moec_keep_capacity(&call);
  EXPECT_EQ(c.kept, c.expected(places, 4, 1));
}

TEST(Places, next_best_walks_the_ranks) {
  // two experts with one place each, three tokens that all want expert 0
  const int32_t ids[] = {0, 0, 0};
  const float rank[] = {3, 2, 1, /**/ 3, 2, 1, /**/ 3, 2, 1}; // id 2 has no group, hence always room
  int32_t kept[3], free[2];
  moec_places places = fixedPlaces(1);
  places.flags = MOEC_PLACES_NEXT;
  moec_capacity_call call = {};
  call.places = &places;
  call.num_tokens = call.sequence_tokens = 3, call.choices = 1, call.num_groups = 2, call.rank_columns = 3;
  call.ids = ids, call.kept = kept, call.rank = rank, call.free_places = free;
  moec_keep_capacity(&call);
  EXPECT_EQ(std::vector<int32_t>(kept, kept + 3), (std::vector<int32_t>{0, 1, 2}));
}

TEST(Places, top_tokens_are_a_stable_sort) {
  const float values[] = {0.f, -0.f, 1.f, -1.f, 2.5f, std::numeric_limits<float>::quiet_NaN(), -INFINITY, 1e-30f};
  std::mt19937 random(3);
  for (int64_t tokens : {1, 2, 9, 64})
    for (double count : {0.0, 1.0, 3.0, 80.0})
      for (bool some : {false, true}) {
        constexpr int64_t columns = 3;
        std::vector<float> x;
        std::vector<int32_t> mask(size_t(tokens * columns), 99), present;
        for (int64_t i = 0; i < tokens * columns; ++i)
          x.push_back(values[random() % 8]);
        for (int64_t t = 0; t < tokens; ++t)
          present.push_back(!some || random() % 3);
        moec_places places = fixedPlaces(count);
        moec_top_tokens(&places, tokens, tokens, columns, x.data(), some ? present.data() : nullptr, mask.data());
        for (int64_t n = 0; n < columns; ++n) {
          std::vector<int64_t> order;
          for (int64_t t = 0; t < tokens; ++t)
            if (present[size_t(t)])
              order.push_back(t);
          auto value = [&](int64_t t) { return x[size_t(t * columns + n)]; };
          std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
            return std::isnan(value(b)) ? !std::isnan(value(a)) : value(a) > value(b);
          });
          order.resize(std::min<size_t>(order.size(), size_t(count)));
          for (int64_t t = 0; t < tokens; ++t)
            EXPECT_EQ(mask[size_t(t * columns + n)], std::count(order.begin(), order.end(), t))
                << tokens << " " << count << " " << t;
        }
      }
}

TEST(Places, slots_are_rows_of_every_sequence) {
  int32_t offsets[4], token[12], slot[12], rows[6 * 6];
  moec_route route = {offsets, token, slot, rows};
  moec_make_slots(6, 3, 6, 3, &route); // two sequences of three tokens, three groups of two slots
  EXPECT_EQ(std::vector<int32_t>(offsets, offsets + 4), (std::vector<int32_t>{0, 4, 8, 12}));
  EXPECT_EQ(std::vector<int32_t>(token, token + 4), (std::vector<int32_t>{0, 0, 3, 3}));
  EXPECT_EQ(std::vector<int32_t>(slot, slot + 4), (std::vector<int32_t>{0, 1, 0, 1}));
  for (int64_t t = 0; t < 6; ++t)
    for (int64_t s = 0; s < 6; ++s) {
      int32_t row = rows[t * 6 + s];
      EXPECT_EQ(slot[row], s);
      EXPECT_EQ(token[row], t / 3 * 3);
      EXPECT_TRUE(offsets[s / 2] <= row && row < offsets[s / 2 + 1]);
    }
}

} // namespace
