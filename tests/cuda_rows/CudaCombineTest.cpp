// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Combine: the CUDA kernel on the emulator gives what the CPU kernel gives, for whole and odd widths.

#include "BothKernels.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

std::string combineText(const std::string &element, int64_t hidden, int64_t choices, bool weighted) {
  std::string h = std::to_string(hidden), k = std::to_string(choices);
  std::string rows = "tensor<?x" + h + "x" + element + ">", route = "!moe.route<5 groups, " + k + " choices>";
  std::string weights = weighted ? " weighted %w : tensor<?x" + k + "xf32>" : "", out = "tensor<?x" + h + "xf32>";
  return "func.func @f(%o: " + rows + ", %r: " + route + ", %w: tensor<?x" + k + "xf32>) -> " + out +
         " {\n  %y = moe.combine %o : " + rows + " over %r : " + route + weights + " -> " + out +
         "\n  return %y : " + out + "\n}";
}

TEST(CudaCombine, AnyWidthTypeAndNumberOfChoices) {
  struct {
    const char *element;
    int64_t hidden, choices;
    bool weighted;
    int64_t tokens;
  } cases[] = {{"f32", 8, 1, false, 3},    {"f32", 64, 2, true, 70},    {"bf16", 64, 8, true, 9},
               {"bf16", 2048, 8, true, 2}, {"f32", 2056, 4, true, 2},   {"bf16", 4100, 3, true, 2},
               {"f32", 7, 9, true, 5},     {"bf16", 37, 17, false, 5},  {"bf16", 1, 2, true, 300},
               {"f32", 12, 6, true, 33},   {"bf16", 7168, 8, false, 1}, {"f32", 16, 5, true, 0}};
  for (auto c : cases) {
    SCOPED_TRACE(testing::Message() << c.element << ", hidden " << c.hidden << ", " << c.choices << " choices");
    BothKernels both(combineText(c.element, c.hidden, c.choices, c.weighted), uint64_t(c.hidden));
    both.prepare(c.tokens);
    ASSERT_EQ(both.run(), "");
    EXPECT_EQ(compareBuffers(both.outputs, both.expected, 1e-6), "");
  }
}

TEST(CudaCombine, EpilogueOfEveryKind) {
  for (const char *hidden : {"48", "50"}) {
    SCOPED_TRACE(hidden);
    std::string text = R"(
func.func @f(%o: tensor<?xNxbf16>, %r: !moe.route<4 groups, 2 choices>, %w: tensor<?x2xf32>, %s: tensor<?xNxbf16>,
             %g: tensor<?xf32>, %b: tensor<Nxf32>, %c: tensor<1xf32>) -> tensor<?xNxbf16> {
  %y = moe.combine %o : tensor<?xNxbf16> over %r : !moe.route<4 groups, 2 choices> weighted %w : tensor<?x2xf32>
      -> tensor<?xNxbf16> epilogue(%acc, %e = %s elem : tensor<?xNxbf16>, %f = %g row : tensor<?xf32>,
                                   %h = %b col : tensor<Nxf32>, %k = %c scalar : tensor<1xf32>) {
    %0 = arith.extf %e : bf16 to f32
    %1 = arith.mulf %0, %f : f32
    %2 = arith.addf %acc, %1 : f32
    %3 = arith.addf %2, %h : f32
    %4 = arith.divf %3, %k : f32
    %5 = arith.truncf %4 : f32 to bf16
    moe.yield %5 : bf16
  }
  return %y : tensor<?xNxbf16>
})";
    for (size_t at = text.find("N"); at != std::string::npos; at = text.find("N", at))
      text.replace(at, 1, hidden);
    BothKernels both(text, 7);
    both.prepare(12);
    ASSERT_EQ(both.run(), "");
    EXPECT_EQ(compareBuffers(both.outputs, both.expected, 1.0 / 128), "");
  }
}

} // namespace
