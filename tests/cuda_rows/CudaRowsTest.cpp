// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Row programs: the CUDA kernel on the emulator gives what the CPU kernel gives, and keeps the emulator's rules.

#include "BothKernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

using namespace moec;

namespace {

std::string replaceAll(std::string text, const std::string &from, const std::string &to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

// softmax, the k largest, renormalised
std::string softmaxRouter(int64_t columns, int64_t k) {
  std::string text = R"(
func.func @f(%z: tensor<?xNxf32>) -> (tensor<?xKxi32>, tensor<?xKxf32>) {
  %r:2 = moe.row_program (%a = %z : tensor<?xNxf32>) -> (tensor<?xKxi32>, tensor<?xKxf32>) {
    %p = moe.softmax %a : tensor<?xNxf32>
    %i = moe.top_k K of %p : tensor<?xNxf32> -> tensor<?xKxi32>
    %v = moe.take %p at %i : tensor<?xNxf32>, tensor<?xKxi32> -> tensor<?xKxf32>
    %s = moe.reduce sum %v : tensor<?xKxf32> -> tensor<?xf32>
    %w = moe.map (%x = %v elem : tensor<?xKxf32>, %y = %s row : tensor<?xf32>) -> tensor<?xKxf32> {
      %0 = arith.divf %x, %y : f32
      moe.yield %0 : f32
    }
    moe.yield %i, %w : tensor<?xKxi32>, tensor<?xKxf32>
  }
  return %r#0, %r#1 : tensor<?xKxi32>, tensor<?xKxf32>
})";
  text = replaceAll(text, "top_k K", "top_k " + std::to_string(k));
  return replaceAll(replaceAll(text, "xNx", "x" + std::to_string(columns) + "x"), "xKx", "x" + std::to_string(k) + "x");
}

// sigmoid and bias, the sum of each group's two largest, the largest groups, the largest columns in them
std::string groupedRouter(int64_t columns, int64_t groups, int64_t kept, int64_t k) {
  std::string text = R"(
func.func @f(%z: tensor<?xNxf32>, %c: tensor<Nxf32>) -> (tensor<?xKxi32>, tensor<?xKxf32>, tensor<?xNxf32>) {
  %r:3 = moe.row_program (%a = %z : tensor<?xNxf32>, %b = %c : tensor<Nxf32>)
      -> (tensor<?xKxi32>, tensor<?xKxf32>, tensor<?xNxf32>) {
    %p = moe.map (%x = %a elem : tensor<?xNxf32>) -> tensor<?xNxf32> {
      %one = arith.constant 1.0 : f32
      %0 = arith.negf %x : f32
      %1 = math.exp %0 : f32
      %2 = arith.addf %one, %1 : f32
      %3 = arith.divf %one, %2 : f32
      moe.yield %3 : f32
    }
    %q = moe.map (%x = %p elem : tensor<?xNxf32>, %y = %b col : tensor<Nxf32>) -> tensor<?xNxf32> {
      %0 = arith.addf %x, %y : f32
      moe.yield %0 : f32
    }
    %t = moe.top_k 2 of %q segments Gg : tensor<?xNxf32> -> tensor<?xDxi32>
    %u = moe.take %q at %t : tensor<?xNxf32>, tensor<?xDxi32> -> tensor<?xDxf32>
    %g = moe.reduce sum %u segments Gg : tensor<?xDxf32> -> tensor<?xGxf32>
    %h = moe.top_k Mm of %g : tensor<?xGxf32> -> tensor<?xMxi32>
    %m = moe.member %h : tensor<?xMxi32> -> tensor<?xGxi1>
    %s = moe.map (%x = %q elem : tensor<?xNxf32>, %y = %m segment : tensor<?xGxi1>) -> tensor<?xNxf32> {
      %zero = arith.constant 0.0 : f32
      %0 = arith.select %y, %x, %zero : f32
      moe.yield %0 : f32
    }
    %i = moe.top_k Kk of %s : tensor<?xNxf32> -> tensor<?xKxi32>
    %v = moe.take %p at %i : tensor<?xNxf32>, tensor<?xKxi32> -> tensor<?xKxf32>
    moe.yield %i, %v, %s : tensor<?xKxi32>, tensor<?xKxf32>, tensor<?xNxf32>
  }
  return %r#0, %r#1, %r#2 : tensor<?xKxi32>, tensor<?xKxf32>, tensor<?xNxf32>
})";
  auto put = [&](const std::string &letter, int64_t value) {
    std::string digits = std::to_string(value);
    text = replaceAll(text, "x" + letter + "x", "x" + digits + "x");
    text = replaceAll(text, "<" + letter + "x", "<" + digits + "x");
  };
  text = replaceAll(text, "Gg", std::to_string(groups));
  text = replaceAll(replaceAll(text, "Mm", std::to_string(kept)), "Kk", std::to_string(k));
  put("N", columns), put("G", groups), put("D", 2 * groups), put("M", kept), put("K", k);
  return text;
}

void check(BothKernels &both, double tolerance) {
  ASSERT_EQ(both.run(), "");
  EXPECT_EQ(compareBuffers(both.outputs, both.expected, tolerance), "");
}

TEST(CudaRows, SoftmaxRouterForAnyNumberOfColumns) {
  struct {
    int64_t columns, k;
  } shapes[] = {{1, 1},   {3, 3},   {8, 2},    {31, 5},  {32, 1},    {60, 4},
                {128, 8}, {257, 9}, {512, 22}, {520, 6}, {1000, 12}, {4096, 8}};
  for (auto shape : shapes) {
    SCOPED_TRACE(testing::Message() << shape.columns << " columns, k = " << shape.k);
    BothKernels both(softmaxRouter(shape.columns, shape.k), uint64_t(shape.columns));
    both.prepare(9);
    check(both, 2e-6);
  }
}

TEST(CudaRows, EveryNumberOfTokensUpToAFewBlocks) {
  BothKernels both(softmaxRouter(64, 6), 5);
  for (int64_t tokens = 0; tokens <= 13; ++tokens) {
    SCOPED_TRACE(testing::Message() << tokens << " tokens");
    both.prepare(tokens);
    check(both, 2e-6);
  }
}

TEST(CudaRows, GroupedRouter) {
  struct {
    int64_t columns, groups, kept, k;
  } shapes[] = {{256, 8, 4, 8},  {16, 4, 2, 3}, {160, 8, 3, 6}, {384, 1, 1, 8},
                {120, 40, 7, 5}, {66, 3, 2, 4}, {1200, 2, 1, 4}};
  for (auto shape : shapes) {
    SCOPED_TRACE(testing::Message() << shape.columns << " columns in " << shape.groups);
    BothKernels both(groupedRouter(shape.columns, shape.groups, shape.kept, shape.k), uint64_t(shape.columns));
    both.prepare(6);
    check(both, 2e-6);
  }
}

// Equal values, both zeros, NaN: ids are the CPU's, distinct and in range.
TEST(CudaRows, TopKOrdersTiesZerosAndNaN) {
  for (int64_t columns : {5, 40, 600}) {
    SCOPED_TRACE(testing::Message() << columns << " columns");
    std::string n = std::to_string(columns);
    BothKernels both(
        "func.func @f(%z: tensor<?x" + n + "xf32>) -> tensor<?x5xi32> {\n  %r = moe.row_program (%a = %z : tensor<?x" +
        n + "xf32>) -> tensor<?x5xi32> {\n    %i = moe.top_k 5 of %a : tensor<?x" + n +
        "xf32> -> tensor<?x5xi32>\n    moe.yield %i : tensor<?x5xi32>\n  }\n  return %r : tensor<?x5xi32>\n}");
    both.prepare(6);
    const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
    for (int64_t i = 0; i < columns; ++i) {
      both.inputs[0].set(i, 1.0);
      both.inputs[0].set(columns + i, i % 2 ? 0.0 : -0.0);
      both.inputs[0].set(2 * columns + i, nan);
      both.inputs[0].set(3 * columns + i, i % 3 ? nan : -inf);
      both.inputs[0].set(4 * columns + i, double(i % 4) - 2.0);
      both.inputs[0].set(5 * columns + i, i == columns - 1 ? inf : -inf);
    }
    check(both, 0);
    for (int64_t j = 0; j < 3; ++j) // rows 0 and 1 tie, row 2 has no number
      for (int64_t k = 0; k < 5; ++k)
        EXPECT_EQ(both.outputs[0].at(5 * j + k), float(k));
  }
}

const char *const wideNorm = R"(
func.func @f(%h: tensor<?x1030xbf16>, %g: tensor<1030xf32>) -> tensor<?x1030xbf16> {
  %n = moe.row_program (%a = %h : tensor<?x1030xbf16>, %b = %g : tensor<1030xf32>) -> tensor<?x1030xbf16> {
    %q = moe.map (%x = %a elem : tensor<?x1030xbf16>) -> tensor<?x1030xf32> {
      %0 = arith.extf %x : bf16 to f32
      %1 = arith.mulf %0, %0 : f32
      moe.yield %1 : f32
    }
    %s = moe.reduce sum %q : tensor<?x1030xf32> -> tensor<?xf32>
    %m = moe.map (%x = %s elem : tensor<?xf32>) -> tensor<?xf32> {
      %0 = math.sqrt %x : f32
      moe.yield %0 : f32
    }
    %y = moe.map (%x = %a elem : tensor<?x1030xbf16>, %d = %m row : tensor<?xf32>, %k = %b col : tensor<1030xf32>)
        -> tensor<?x1030xbf16> {
      %0 = arith.extf %x : bf16 to f32
      %1 = arith.divf %0, %d : f32
      %2 = arith.mulf %1, %k : f32
      %3 = math.tanh %2 : f32
      %4 = arith.truncf %3 : f32 to bf16
      moe.yield %4 : bf16
    }
    moe.yield %y : tensor<?x1030xbf16>
  }
  return %n : tensor<?x1030xbf16>
})";

// The squares are summed where they are made: nothing is kept, however wide the row is.
TEST(CudaRows, WideNorm) {
  for (const char *columns : {"1030", "14336"}) {
    BothKernels both(replaceAll(wideNorm, "1030", columns), 3);
    both.prepare(5);
    check(both, 1.0 / 128);
    EXPECT_EQ(both.facts.blockThreads, 128);
    EXPECT_EQ(both.facts.sharedBytes, 0);
  }
}

// Two runs: softmax reads one several times and makes the other.
std::string wideSoftmax(const char *columns) {
  std::string text = replaceAll(wideNorm, "%s = moe.reduce sum %q",
                                "%p = moe.softmax %q : tensor<?x1030xf32>\n    %s = moe.reduce sum %p");
  return replaceAll(text, "1030", columns);
}

TEST(CudaRows, RunsThatOtherOpsReadAreInSharedMemory) {
  BothKernels both(wideSoftmax("1030"), 3);
  both.prepare(5);
  check(both, 1.0 / 128);
  EXPECT_EQ(both.facts.blockThreads, 128);
  EXPECT_EQ(both.facts.sharedBytes, 4 * 2 * 4128); // runs of 1030 elements per warp, in 16-byte steps
}

// 16384 elements of two runs live at once are 128 KiB: one warp per block.
TEST(CudaRows, AVeryWideRowHasABlockOfItsOwn) {
  BothKernels both(wideSoftmax("16384"), 4);
  both.prepare(2);
  check(both, 1.0 / 128);
  EXPECT_EQ(both.facts.blockThreads, 32);
  EXPECT_EQ(both.facts.unitsPerBlock, 1);
  EXPECT_EQ(both.facts.sharedBytes, 131072);
}

std::string gatherProgram(int64_t hidden) {
  return replaceAll(R"(
func.func @f(%h: tensor<?xNxbf16>, %r: !moe.route<6 groups, 3 choices>, %w: tensor<?x3xf32>, %n: tensor<?xf32>)
    -> (tensor<?xNxbf16>, tensor<?xf32>, tensor<?xNxf32>) {
  %o:3 = moe.row_program (%a = %h : tensor<?xNxbf16>, %b = %r : !moe.route<6 groups, 3 choices>,
                          %c = %w : tensor<?x3xf32>, %d = %n : tensor<?xf32>)
      -> (tensor<?xNxbf16>, tensor<?xf32>, tensor<?xNxf32>) {
    %1 = moe.gather %a, %b : tensor<?xNxbf16>, !moe.route<6 groups, 3 choices> -> tensor<?xNxbf16>
    %2 = moe.gather %c, %b : tensor<?x3xf32>, !moe.route<6 groups, 3 choices> -> tensor<?xf32>
    %3 = moe.gather %d, %b : tensor<?xf32>, !moe.route<6 groups, 3 choices> -> tensor<?xf32>
    %4 = moe.map (%x = %1 elem : tensor<?xNxbf16>, %y = %3 row : tensor<?xf32>) -> tensor<?xNxf32> {
      %5 = arith.extf %x : bf16 to f32
      %6 = arith.mulf %5, %y : f32
      moe.yield %6 : f32
    }
    moe.yield %1, %2, %4 : tensor<?xNxbf16>, tensor<?xf32>, tensor<?xNxf32>
  }
  return %o#0, %o#1, %o#2 : tensor<?xNxbf16>, tensor<?xf32>, tensor<?xNxf32>
})",
                    "xNx", "x" + std::to_string(hidden) + "x");
}

TEST(CudaRows, GatherOverARoute) {
  for (int64_t hidden : {40, 37, 1}) { // 16-byte copies, elements, one column
    SCOPED_TRACE(testing::Message() << "hidden " << hidden);
    BothKernels both(gatherProgram(hidden), uint64_t(hidden));
    EXPECT_EQ(both.facts.unitsPerToken, 3);
    for (int64_t tokens : {0, 1, 11}) {
      both.prepare(tokens);
      check(both, 0);
    }
  }
}

// Columns of a slot [T,K*M] -> [R,N], whole or their first ones, in rows that are aligned and not.
TEST(CudaRows, GatherColumnsOfSlots) {
  for (auto [columns, taken] : {std::pair(8, 8), {5, 5}, {40, 37}, {7, 1}}) {
    SCOPED_TRACE(testing::Message() << columns << " columns, " << taken << " taken");
    std::string text = R"(
func.func @f(%h: tensor<?xNxf32>, %r: !moe.route<6 groups, 3 choices>, %m: tensor<?xMxf32>)
    -> (tensor<?xNxf32>, tensor<?xNxf32>) {
  %o:2 = moe.row_program (%b = %r : !moe.route<6 groups, 3 choices>, %c = %m : tensor<?xMxf32>,
                          %a = %h : tensor<?xNxf32>)
      -> (tensor<?xNxf32>, tensor<?xNxf32>) {
    %1 = moe.gather %c, %b : tensor<?xMxf32>, !moe.route<6 groups, 3 choices> -> tensor<?xNxf32>
    %2 = moe.map (%x = %1 elem : tensor<?xNxf32>, %y = %a elem : tensor<?xNxf32>) -> tensor<?xNxf32> {
      %3 = arith.mulf %x, %y : f32
      moe.yield %3 : f32
    }
    moe.yield %1, %2 : tensor<?xNxf32>, tensor<?xNxf32>
  }
  return %o#0, %o#1 : tensor<?xNxf32>, tensor<?xNxf32>
})";
    text = replaceAll(replaceAll(text, "xMx", "x" + std::to_string(3 * columns) + "x"), "xNx",
                      "x" + std::to_string(taken) + "x");
    BothKernels both(text, 3);
    for (int64_t tokens : {0, 1, 11}) {
      both.prepare(tokens);
      check(both, 0);
    }
  }
}

// Ids of `take` and `member` come from the caller: those outside name nothing.
TEST(CudaRows, TakeAndMemberOfAnyIds) {
  BothKernels both(R"(
func.func @f(%z: tensor<?x6xf32>, %j: tensor<?x4xi32>, %t: tensor<6xf32>) -> (tensor<?x4xf32>, tensor<?x6xf32>) {
  %r:2 = moe.row_program (%a = %z : tensor<?x6xf32>, %i = %j : tensor<?x4xi32>, %b = %t : tensor<6xf32>)
      -> (tensor<?x4xf32>, tensor<?x6xf32>) {
    %v = moe.take %a at %i : tensor<?x6xf32>, tensor<?x4xi32> -> tensor<?x4xf32>
    %u = moe.take %b at %i : tensor<6xf32>, tensor<?x4xi32> -> tensor<?x4xf32>
    %w = moe.map (%x = %v elem : tensor<?x4xf32>, %y = %u elem : tensor<?x4xf32>) -> tensor<?x4xf32> {
      %0 = arith.addf %x, %y : f32
      moe.yield %0 : f32
    }
    %m = moe.member %i : tensor<?x4xi32> -> tensor<?x6xi1>
    %n = moe.map (%x = %a elem : tensor<?x6xf32>, %y = %m elem : tensor<?x6xi1>) -> tensor<?x6xf32> {
      %0 = arith.constant 9.0 : f32
      %1 = arith.select %y, %0, %x : f32
      moe.yield %1 : f32
    }
    moe.yield %w, %n : tensor<?x4xf32>, tensor<?x6xf32>
  }
  return %r#0, %r#1 : tensor<?x4xf32>, tensor<?x6xf32>
})",
                   2);
  both.prepare(20);
  both.inputs[1].set(0, -1), both.inputs[1].set(1, -2147483648.0), both.inputs[1].set(2, 2147483520.0);
  check(both, 0);
}

// exp of every size: 1e-6 of the true value on [-87, 88], 0 and infinity beyond, NaN stays.
TEST(CudaRows, ExpIsAccurate) {
  BothKernels both(R"(
func.func @f(%z: tensor<?x512xf32>) -> tensor<?x512xf32> {
  %r = moe.row_program (%a = %z : tensor<?x512xf32>) -> tensor<?x512xf32> {
    %e = moe.map (%x = %a elem : tensor<?x512xf32>) -> tensor<?x512xf32> {
      %0 = math.exp %x : f32
      moe.yield %0 : f32
    }
    moe.yield %e : tensor<?x512xf32>
  }
  return %r : tensor<?x512xf32>
})");
  both.prepare(32);
  const int64_t count = 32 * 512;
  for (int64_t i = 0; i < count; ++i)
    both.inputs[0].set(i, -87.0 + 175.0 * double(i) / double(count - 1));
  const double inf = std::numeric_limits<double>::infinity();
  const double special[] = {inf, -inf, 200, -200, 88.8, std::numeric_limits<double>::quiet_NaN(), 0};
  for (int64_t i = 0; i < 7; ++i)
    both.inputs[0].set(i, special[i]);
  ASSERT_EQ(both.run(), "");
  const float expected[] = {float(inf), 0, float(inf), 0, float(inf)};
  for (int64_t i = 0; i < 5; ++i)
    EXPECT_EQ(both.outputs[0].at(i), expected[i]) << special[i];
  EXPECT_TRUE(std::isnan(both.outputs[0].at(5)));
  EXPECT_EQ(both.outputs[0].at(6), 1.0f);
  double worst = 0;
  for (int64_t i = 7; i < count; ++i) {
    double want = std::exp(double(both.inputs[0].at(i)));
    worst = std::max(worst, std::fabs(double(both.outputs[0].at(i)) - want) / want);
  }
  EXPECT_LT(worst, 1e-6);
}

} // namespace
