// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec_pack_panels and moec_pack_vector against the offset formula, element by element, for every type, part and
// stride.

#include "runtime/weights/pack.h"
#include "runtime/plan/weight_layout.h"
#include "runtime/weights/float_convert.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace {

int64_t bytesOf(int dtype) { return dtype == MOEC_F32 ? 4 : 2; }

// A value every type holds exactly, different for each (group, part, out, in) nearby.
float valueAt(int64_t group, int64_t part, int64_t out, int64_t in) {
  return static_cast<float>((group * 7 + part * 3 + out * 5 + in * 11) % 127 + 1) * (in % 2 ? -0.25f : 0.5f);
}

void store(char *target, int dtype, float value) {
  uint16_t bits = dtype == MOEC_BF16 ? moec_bf16_of_f32(value) : moec_f16_of_f32(value);
  if (dtype == MOEC_F32)
    memcpy(target, &value, 4);
  else
    memcpy(target, &bits, 2);
}

float load(const char *source, int dtype) {
  uint16_t bits;
  float value;
  memcpy(&bits, source, 2);
  memcpy(&value, source, bytesOf(dtype) == 4 ? 4 : 2);
  return dtype == MOEC_F32 ? value : dtype == MOEC_BF16 ? moec_f32_of_bf16(bits) : moec_f32_of_f16(bits);
}

moec_weight panels(int dtype, uint16_t parts, uint32_t groups, uint32_t n, uint32_t k) {
  moec_weight w = {};
  uint32_t columns = MOEC_PANEL_COLUMNS / parts;
  w.layout = MOEC_LAYOUT_PANELS;
  w.dtype = static_cast<uint16_t>(dtype);
  w.parts = parts;
  w.groups = groups;
  w.n = n;
  w.k = k;
  w.panels = (n + columns - 1) / columns;
  w.n_padded = w.panels * columns;
  w.k_padded = dtype == MOEC_F32 ? k : (k + 31) / 32 * 32;
  w.bytes = static_cast<uint64_t>(moec_panel_offset(&w, groups, 0, 0, 0) * bytesOf(dtype));
  return w;
}

// Packs from a source with the given strides at an odd address and compares every element of the region, padding
// included.
void checkPanels(int from, int to, uint16_t parts, uint32_t n, uint32_t k, int64_t outStride, int64_t inStride) {
  constexpr uint32_t groups = 2;
  moec_weight w = panels(to, parts, groups, n, k);
  std::vector<char> region(w.bytes + 64, '\x5a');
  size_t elements = static_cast<size_t>((n - 1) * outStride + (k - 1) * inStride + 1);
  for (uint32_t g = 0; g < groups; ++g)
    for (uint16_t part = 0; part < parts; ++part) {
      std::vector<char> source(elements * static_cast<size_t>(bytesOf(from)) + 1, '\x7f');
      for (uint32_t out = 0; out < n; ++out)
        for (uint32_t in = 0; in < k; ++in)
          store(source.data() + 1 + (out * outStride + in * inStride) * bytesOf(from), from, valueAt(g, part, out, in));
      moec_view view = {source.data() + 1, static_cast<moec_dtype>(from), outStride, inStride};
      moec_pack_panels(&w, part, g, &view, region.data());
    }
  std::vector<float> want(w.bytes / static_cast<size_t>(bytesOf(to)), 0.0f);
  for (uint32_t g = 0; g < groups; ++g)
    for (uint16_t part = 0; part < parts; ++part)
      for (uint32_t out = 0; out < n; ++out)
        for (uint32_t in = 0; in < k; ++in) {
          int64_t panel, v;
          moec_panel_column(&w, part, out, &panel, &v);
          want[static_cast<size_t>(moec_panel_offset(&w, g, panel, in, v))] = valueAt(g, part, out, in);
        }
  for (size_t i = 0; i < want.size(); ++i)
    ASSERT_EQ(load(region.data() + i * static_cast<size_t>(bytesOf(to)), to), want[i])
        << "types " << from << "->" << to << " parts " << parts << " [" << n << ", " << k << "] element " << i;
  for (size_t i = w.bytes; i < region.size(); ++i)
    ASSERT_EQ(region[i], '\x5a') << "written past the region";
}

} // namespace

TEST(Pack, panel_offsets_are_a_permutation) {
  for (int dtype : {MOEC_F32, MOEC_BF16, MOEC_F16}) {
    moec_weight w = panels(dtype, 1, 2, 70, 64);
    std::vector<int> seen(static_cast<size_t>(moec_panel_offset(&w, 2, 0, 0, 0)), 0);
    for (int64_t g = 0; g < 2; ++g)
      for (int64_t p = 0; p < w.panels; ++p)
        for (int64_t i = 0; i < w.k_padded; ++i)
          for (int64_t v = 0; v < 32; ++v)
            ++seen.at(static_cast<size_t>(moec_panel_offset(&w, g, p, i, v)));
    for (int count : seen)
      ASSERT_EQ(count, 1);
  }
}

// Offsets written out by hand from moec_abi.h: group 1 of 2 panels, depth 37, column 21.
TEST(Pack, panel_offsets_follow_the_formula) {
  moec_weight f32 = panels(MOEC_F32, 1, 2, 64, 40), bf16 = panels(MOEC_BF16, 1, 2, 64, 40);
  EXPECT_EQ(moec_panel_offset(&f32, 1, 1, 37, 21), ((1 * 2 + 1) * 40 + 37) * 32 + 21);
  EXPECT_EQ(moec_panel_offset(&bf16, 1, 1, 37, 21), (1 * 2 + 1) * 64 * 32 + 1 * 1024 + 1 * 512 + 2 * 32 + 5 * 2 + 1);
}

TEST(Pack, every_type_part_and_stride) {
  const int types[] = {MOEC_F32, MOEC_BF16, MOEC_F16};
  const uint32_t shapes[][2] = {{1, 1}, {6, 8}, {16, 32}, {17, 31}, {32, 33}, {33, 64}, {50, 7}};
  for (int from : types)
    for (int to : types)
      for (uint16_t parts : {1, 2})
        for (auto [n, k] : shapes) {
          int64_t out = n, in = k;
          checkPanels(from, to, parts, n, k, in, 1);      // out_in
          checkPanels(from, to, parts, n, k, 2 * in, 1);  // out_in, every second row
          checkPanels(from, to, parts, n, k, 1, out);     // in_out
          checkPanels(from, to, parts, n, k, 1, 2 * out); // in_out, one half
          checkPanels(from, to, parts, n, k, 2, 2 * out); // in_out, every second column
          ASSERT_FALSE(HasFatalFailure());
        }
}

TEST(Pack, vectors_are_padded_per_group) {
  moec_weight w = {};
  w.layout = MOEC_LAYOUT_VECTOR;
  w.groups = 2;
  w.n = 3;
  w.n_padded = 5;
  std::vector<float> region(10, 0.0f);
  uint16_t source[6 * 2];
  for (int i = 0; i < 6; ++i) {
    source[2 * i] = moec_bf16_of_f32(static_cast<float>(i + 1));
    source[2 * i + 1] = 0x7fff;
  }
  moec_view view = {source, MOEC_BF16, 2, 1};
  moec_pack_vector(&w, 0, 4, &view, region.data());
  view.data = source + 8;
  moec_pack_vector(&w, 4, 2, &view, region.data());
  EXPECT_EQ(region, (std::vector<float>{1, 2, 3, 0, 0, 4, 5, 6, 0, 0}));
}

TEST(Pack, conversions_round_to_nearest_even) {
  EXPECT_EQ(moec_bf16_of_f32(1.0f), 0x3f80);
  EXPECT_EQ(moec_bf16_of_f32(1.00390625f), 0x3f80); // half way, even below
  EXPECT_EQ(moec_bf16_of_f32(1.01171875f), 0x3f82); // half way, even above
  EXPECT_EQ(moec_bf16_of_f32(3.4e38f), 0x7f80);
  EXPECT_EQ(moec_bf16_of_f32(NAN) & 0x7fc0, 0x7fc0);
  EXPECT_EQ(moec_bf16_of_f32(-0.0f), 0x8000);
  EXPECT_EQ(moec_f16_of_f32(65519.0f), 0x7bff);
  EXPECT_EQ(moec_f16_of_f32(65520.0f), 0x7c00);
  EXPECT_EQ(moec_f16_of_f32(0x1p-24f), 0x0001);
  EXPECT_EQ(moec_f16_of_f32(0x1p-25f), 0x0000);
  EXPECT_EQ(moec_f16_of_f32(0x1.8p-24f), 0x0002);
  EXPECT_EQ(moec_f16_of_f32(-INFINITY), 0xfc00);
  EXPECT_EQ(moec_f16_of_f32(NAN) & 0x7e00, 0x7e00);
}

// Each of the 65536 patterns comes back; f16 between two neighbours goes to the nearer, to the even one half way.
TEST(Pack, conversions_of_all_16_bit_values) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    uint16_t pattern = static_cast<uint16_t>(bits);
    float half = moec_f32_of_f16(pattern), brain = moec_f32_of_bf16(pattern);
    if (half == half) {
      ASSERT_EQ(moec_f16_of_f32(half), pattern);
    } else {
      ASSERT_TRUE(std::isnan(moec_f32_of_f16(moec_f16_of_f32(half))));
    }
    if (brain == brain) {
      ASSERT_EQ(moec_bf16_of_f32(brain), pattern);
    }
    if ((pattern & 0x7fff) >= 0x7bff)
      continue;
    float next = moec_f32_of_f16(static_cast<uint16_t>(pattern + 1)), middle = (half + next) / 2;
    ASSERT_EQ(moec_f16_of_f32(middle), pattern % 2 ? pattern + 1 : pattern) << pattern;
    ASSERT_EQ(moec_f16_of_f32(std::nextafter(middle, half)), pattern);
    ASSERT_EQ(moec_f16_of_f32(std::nextafter(middle, next)), pattern + 1);
  }
}
