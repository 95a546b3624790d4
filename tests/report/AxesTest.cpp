// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ranges -> ticks and texts of numbers; labels that would overlap.

#include "codegen/report/Axes.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace moec;

static std::vector<std::string> labels(const std::vector<Tick> &ticks) {
  std::vector<std::string> texts;
  for (const Tick &tick : ticks)
    if (!tick.label.empty())
      texts.push_back(tick.label);
  return texts;
}

using Texts = std::vector<std::string>;

TEST(Axes, numbers_have_three_digits) {
  EXPECT_EQ(shortNumber(0), "0");
  EXPECT_EQ(shortNumber(0.25), "0.25");
  EXPECT_EQ(shortNumber(0.012345), "0.0123");
  EXPECT_EQ(shortNumber(1.2), "1.2");
  EXPECT_EQ(shortNumber(99.96), "100");
  EXPECT_EQ(shortNumber(12345.6), "12,346");
  EXPECT_EQ(shortNumber(1234567), "1,234,567");
  EXPECT_EQ(shortNumber(-4096), "-4,096");
  EXPECT_EQ(shortNumber(-512), "-512");
  EXPECT_EQ(shortNumber(1e-7), "1e-07");
  EXPECT_EQ(shortNumber(NAN), "-");
  EXPECT_EQ(timeText(250), "250 µs");
  EXPECT_EQ(timeText(41300), "41.3 ms");
  EXPECT_EQ(timeText(1.02e6), "1.02 s");
  EXPECT_EQ(timeText(NAN), "-");
}

TEST(Axes, ticks_are_round_and_inside) {
  EXPECT_EQ(labels(logTicks(0.9, 11)), (Texts{"1", "2", "5", "10"}));
  EXPECT_EQ(labels(logTicks(1, 5000)), (Texts{"1", "10", "100", "1,000"}));
  EXPECT_EQ(labels(linearTicks(0, 100, 5)), (Texts{"0", "20", "40", "60", "80", "100"}));
  EXPECT_EQ(labels(linearTicks(-3, 4, 4)), (Texts{"-2", "0", "2", "4"}));
  EXPECT_EQ(labels(valueTicks({512, 1, 32, 32})), (Texts{"1", "32", "512"}));
  EXPECT_LE(logTicks(1e-9, 1e30).size(), 14u);
}

TEST(Axes, ranges_hold_what_can_be_drawn) {
  EXPECT_EQ(rangeOf({}, true, 0.1), (std::pair<double, double>(0, 0)));
  EXPECT_EQ(rangeOf({NAN, -1, 0, INFINITY}, true, 0.1), (std::pair<double, double>(0, 0)));
  EXPECT_EQ(rangeOf({8}, true, 0.1), (std::pair<double, double>(4, 16)));
  EXPECT_EQ(rangeOf({0, 10}, false, 0.1), (std::pair<double, double>(-1, 11)));
  auto [lo, hi] = rangeOf({NAN, 1, 100}, true, 0.5);
  EXPECT_NEAR(lo, 0.1, 1e-9);
  EXPECT_NEAR(hi, 1000, 1e-6);
}

TEST(Axes, labels_that_would_overlap_are_left_out) {
  std::vector<double> many;
  for (int t = 1; t <= 600; ++t)
    many.push_back(t);
  Svg svg("latency", "many", 960, 380);
  drawAxes(svg, {{true, 1, 600, 66, 946}, valueTicks(many), "T"}, {{true, 1, 10, 334, 12}, logTicks(1, 10), "ms"});
  std::string text = svg.finish();
  size_t labelled = 0, at = 0;
  double last = -100;
  for (std::string mark = "text-anchor=\"middle\">"; (at = text.find(mark, at)) != std::string::npos; at += 1) {
    size_t begin = text.rfind("x=\"", at);
    if (text.compare(text.rfind('<', at), 18, "<text class=\"tick\"") != 0)
      continue;
    double x = std::stod(text.substr(begin + 3));
    EXPECT_GT(x - last, 12);
    last = x;
    ++labelled;
  }
  EXPECT_GT(labelled, 10u);
  EXPECT_LT(labelled, 60u);
}

TEST(Axes, texts_are_cut_to_a_width) {
  EXPECT_EQ(fittedText("short", 100), "short");
  EXPECT_EQ(fittedText("a long label", 40), "a lon…");
  EXPECT_LE(textWidth(fittedText(std::string(500, 'x'), 90)), 90);
  EXPECT_EQ(fittedText("µµµµµµµµµµ", 33), "µµµµ…"); // whole characters
}
