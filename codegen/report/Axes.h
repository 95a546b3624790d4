// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A range of values -> places in a chart, ticks whose labels do not overlap, and the frame that shows both.

#ifndef MOEC_CODEGEN_REPORT_AXES_H
#define MOEC_CODEGEN_REPORT_AXES_H

#include "Svg.h"

#include <string>
#include <vector>

namespace moec {

// Values lo..hi to pixels from..to, linear or logarithmic (then lo > 0). lo < hi.
struct Scale {
  bool log = false;
  double lo = 0, hi = 1, from = 0, to = 1;

  double operator()(double value) const;
};

struct Tick {
  double value = 0;
  std::string label; // empty: a grid line alone
};

struct Axis {
  Scale scale;
  std::vector<Tick> ticks;
  std::string title; // with its unit: "time of a call, ms"
};

// The smallest range that holds all values, with `margin` of its length (of its factor, if log) on both sides. Values
// that are not finite, or not positive if log, do not count. {0, 0} if none is left.
std::pair<double, double> rangeOf(const std::vector<double> &values, bool log, double margin);

// Ticks at 1, 2, 5 times powers of ten; labels only at powers of ten where the range is long.
std::vector<Tick> logTicks(double lo, double hi);
std::vector<Tick> linearTicks(double lo, double hi, int atMost);
// Ticks at given values, which are labelled as they are.
std::vector<Tick> valueTicks(const std::vector<double> &values);

// "0.25", "40", "12,000": a number of a tick or a tooltip, with three digits. "-" for NaN.
std::string shortNumber(double value);

// "250 µs", "41.3 ms", "1.02 s".
std::string timeText(double us);

// Grid, axes, labels and titles. The frame is what both scales span; labels that would overlap are left out.
void drawAxes(Svg &svg, const Axis &x, const Axis &y);

// Boxes of labels drawn so far. place() keeps a box and returns true if it overlaps none of them.
class LabelSpace {
public:
  bool place(double x, double y, double width, double height);
  void reserve(double x, double y, double width, double height) { boxes.push_back({x, y, width, height}); }

private:
  struct Box {
    double x, y, width, height;
  };
  std::vector<Box> boxes;
};

} // namespace moec

#endif
