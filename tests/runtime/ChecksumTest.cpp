// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sums of bytes: the formula of checksum.h, pieces that add up, and changes that are found and placed.

#include "runtime/weights/checksum.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

namespace {

using Bytes = std::vector<unsigned char>;

Bytes randomBytes(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  Bytes bytes(count);
  for (unsigned char &byte : bytes)
    byte = static_cast<unsigned char>(random());
  return bytes;
}

moec_checksum sumOf(const Bytes &bytes) { return moec_checksum_of(bytes.data(), 0, bytes.size()); }

bool same(moec_checksum a, moec_checksum b) { return a.sum == b.sum && a.weighted == b.weighted; }

} // namespace

TEST(Checksum, is_the_formula_for_every_length_and_offset) {
  for (size_t count = 0; count < 200; ++count)
    for (uint64_t offset : {uint64_t(0), uint64_t(4), uint64_t(4096), uint64_t(1) << 36}) {
      Bytes bytes = randomBytes(count, unsigned(count) + 1), padded = bytes;
      padded.resize((count + 3) / 4 * 4);
      moec_checksum want = {0, 0};
      for (size_t i = 0; i < padded.size() / 4; ++i) {
        uint32_t word;
        std::memcpy(&word, &padded[4 * i], 4);
        want.sum += word;
        want.weighted += (offset / 4 + i + 1) * word;
      }
      EXPECT_TRUE(same(moec_checksum_of(bytes.data(), offset, count), want)) << count << " at " << offset;
    }
}

TEST(Checksum, pieces_add_up) {
  Bytes bytes = randomBytes(5001, 1);
  for (size_t cut : {size_t(0), size_t(4), size_t(1024), size_t(5000)}) {
    moec_checksum sum = moec_checksum_of(&bytes[cut], cut, bytes.size() - cut);
    moec_checksum_add(&sum, moec_checksum_of(bytes.data(), 0, cut));
    EXPECT_TRUE(same(sum, sumOf(bytes))) << cut;
  }
}

TEST(Checksum, places_every_changed_byte) {
  Bytes bytes = randomBytes(1003, 2);
  const moec_checksum want = sumOf(bytes);
  for (size_t i = 0; i < bytes.size(); ++i)
    for (unsigned char change : {1, 0x80, 0xff}) {
      bytes[i] ^= change;
      ASSERT_EQ(moec_checksum_place(want, sumOf(bytes), bytes.size()), int64_t(i)) << int(change);
      bytes[i] ^= change;
    }
  bytes[500] ^= 3, bytes[502] ^= 7; // one word
  EXPECT_EQ(moec_checksum_place(want, sumOf(bytes), bytes.size()), 500);
}

TEST(Checksum, finds_changes_of_two_words) {
  Bytes bytes = randomBytes(400, 3);
  const moec_checksum want = sumOf(bytes);
  for (size_t i = 0; i < 100; ++i)
    for (size_t j = 0; j < i; ++j) {
      for (size_t k = 0; k < 4; ++k)
        std::swap(bytes[4 * i + k], bytes[4 * j + k]);
      ASSERT_FALSE(same(want, sumOf(bytes))) << i << " and " << j << " are swapped";
      ASSERT_EQ(moec_checksum_place(want, sumOf(bytes), bytes.size()), -1);
      for (size_t k = 0; k < 4; ++k)
        std::swap(bytes[4 * i + k], bytes[4 * j + k]);
    }
  Bytes lost(bytes.begin(), bytes.begin() + 200);
  lost.resize(bytes.size()); // the second half reads as zeros
  EXPECT_FALSE(same(want, sumOf(lost)));
  EXPECT_EQ(moec_checksum_place(want, sumOf(lost), bytes.size()), -1);
}
