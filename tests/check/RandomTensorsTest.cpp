// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Seeds -> values of the mean, deviation and rounding asked for.

#include "codegen/check/RandomTensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <unistd.h>

using namespace moec;

TEST(RandomTensors, normal_has_mean_and_deviation) {
  constexpr int64_t count = 100000;
  std::vector<float> values(count), again(count), other(count);
  fillNormal(values.data(), DataType::F32, count, 3, 0.5, 1);
  fillNormal(again.data(), DataType::F32, count, 3, 0.5, 1);
  fillNormal(other.data(), DataType::F32, count, 3, 0.5, 2);
  double sum = 0, squares = 0;
  for (float value : values) {
    sum += value;
    squares += (value - 3.0) * (value - 3.0);
  }
  EXPECT_NEAR(sum / count, 3, 0.01);
  EXPECT_NEAR(std::sqrt(squares / count), 0.5, 0.01);
  EXPECT_EQ(values, again);
  EXPECT_NE(values, other);
}

TEST(RandomTensors, store_rounds_to_nearest_even) {
  uint16_t bits[1];
  auto stored = [&](DataType type, double value) {
    storeElement(bits, type, 0, value);
    return loadElement(bits, type, 0);
  };
  EXPECT_EQ(stored(DataType::BF16, 1 + 0x1p-8), 1.0); // a tie goes to even
  EXPECT_EQ(stored(DataType::BF16, 1 + 3 * 0x1p-8), 1 + 0x1p-6);
  EXPECT_EQ(stored(DataType::BF16, 1 + 0x1.8p-8), 1 + 0x1p-7);
  EXPECT_EQ(stored(DataType::F16, 1 + 0x1p-11), 1.0);
  EXPECT_EQ(stored(DataType::F16, -(1 + 0x1.8p-11)), -(1 + 0x1p-10));
  EXPECT_EQ(stored(DataType::F16, 2047.9), 2048.0);
  EXPECT_EQ(stored(DataType::F16, 0x1p-24), 0x1p-24);
  EXPECT_EQ(stored(DataType::F16, 0), 0.0);
  EXPECT_EQ(stored(DataType::F16, 65504), 65504.0);
}

TEST(RandomTensors, buffer_is_aligned_zeroed_and_movable) {
  PageBuffer buffer(100);
  ASSERT_NE(buffer.data(), nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 4096, 0u);
  EXPECT_EQ(static_cast<char *>(buffer.data())[99], 0);
  void *pointer = buffer.data();
  PageBuffer moved(std::move(buffer));
  EXPECT_EQ(moved.data(), pointer);
  EXPECT_EQ(buffer.data(), nullptr);
}

// A layer may have thousands of tensors of a few bytes: each takes its pages, not a large page of address space.
TEST(RandomTensors, small_buffers_take_little_address_space) {
  auto addressSpace = [] { // pages
    std::ifstream file("/proc/self/statm");
    int64_t pages = 0;
    file >> pages;
    return pages;
  };
  int64_t before = addressSpace();
  std::vector<PageBuffer> buffers;
  for (int i = 0; i < 4096; ++i) {
    buffers.emplace_back(100);
    ASSERT_NE(buffers.back().data(), nullptr);
    static_cast<char *>(buffers.back().data())[99] = 1;
  }
  EXPECT_LT((addressSpace() - before) * sysconf(_SC_PAGESIZE), int64_t(64) << 20);
  PageBuffer large(size_t(4) << 20);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(large.data()) % (size_t(2) << 20), 0u);
  EXPECT_EQ(PageBuffer(~size_t(0) - 5).data(), nullptr);
}
