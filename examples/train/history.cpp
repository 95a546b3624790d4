// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "history.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <iomanip>
#include <limits>
#include <sstream>
#include <stdexcept>

namespace train {

namespace {

constexpr double WIDTH = 720, LEFT = 40, RIGHT = 120, HEIGHT = 220, TOP = 36, GAP = 56, LINE = 15;

struct Curve {
  const char *colour, *label;
  std::function<double(const Row &)> value; // a negative one is left out
};

// One chart: its upper edge, and from 0 to which value it goes, with a line at every 1 / `parts` of it.
struct Chart {
  double top, high;
  int parts;
  double last_step;
  double x(double step) const { return LEFT + (WIDTH - LEFT - RIGHT) * step / last_step; }
  double y(double value) const { return top + HEIGHT * (1 - std::clamp(value / high, 0.0, 1.0)); }
};

std::string number(double value, int digits) {
  std::ostringstream out;
  out << std::setprecision(digits) << value;
  return out.str();
}

void text(std::ostream &out, double x, double y, const std::string &what, const std::string &more = "") {
  out << "<text x=\"" << number(x, 5) << "\" y=\"" << number(y, 5) << "\" " << more << ">" << what << "</text>\n";
}

// A grey ground behind every second phase, lines with numbers, the title.
void frame(std::ostream &out, const Chart &chart, const std::vector<Row> &history, const std::string &title) {
  double begin = 0;
  for (size_t i = 0; i < history.size(); ++i) {
    bool ends = i + 1 == history.size() || history[i + 1].phase != history[i].phase;
    if (ends && static_cast<int>(history[i].phase) % 2 == 0)
      out << "<rect x=\"" << chart.x(begin) << "\" y=\"" << chart.top << "\" width=\""
          << chart.x(history[i].step) - chart.x(begin) << "\" height=\"" << HEIGHT << "\" fill=\"#f1f3f5\"/>\n";
    if (ends)
      begin = history[i].step;
  }
  for (int i = 0; i <= chart.parts; ++i) {
    double value = chart.high * i / chart.parts;
    out << "<path d=\"M" << LEFT << " " << chart.y(value) << "H" << WIDTH - RIGHT
        << "\" stroke=\"#ced4da\" stroke-width=\"0.7\"/>\n";
    text(out, LEFT - 6, chart.y(value) + 4, number(value, 3), "text-anchor=\"end\"");
  }
  text(out, LEFT, chart.top - 10, title, "font-weight=\"bold\"");
}

// The curves, and behind the last point of each its name and value, moved down where two would meet.
void curves(std::ostream &out, const Chart &chart, const std::vector<Row> &history, const std::vector<Curve> &all) {
  std::vector<std::pair<double, const Curve *>> ends; // last value
  for (const Curve &curve : all) {
    double last = -1;
    out << "<polyline fill=\"none\" stroke=\"" << curve.colour << "\" stroke-width=\"1.8\" points=\"";
    for (const Row &row : history)
      if (double value = curve.value(row); value >= 0) {
        last = value;
        out << number(chart.x(row.step), 5) << "," << number(chart.y(value), 5) << " ";
      }
    out << "\"/>\n";
    if (last >= 0)
      ends.push_back({last, &curve});
  }
  std::sort(ends.begin(), ends.end(), [](const auto &a, const auto &b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  double lowest = -std::numeric_limits<double>::infinity(), below = chart.top + HEIGHT + LINE;
  for (size_t i = 0; i < ends.size(); ++i) {
    double room = below - LINE * static_cast<double>(ends.size() - i); // for those that follow
    lowest = std::max(std::min(chart.y(ends[i].first) + 4, room), lowest + LINE);
    text(out, WIDTH - RIGHT + 6, lowest, ends[i].second->label + (" " + number(ends[i].first, 3)),
         std::string("fill=\"") + ends[i].second->colour + "\"");
  }
}

} // namespace

void draw_history(const std::string &path, const std::vector<Row> &history, double entropy) {
  if (history.empty())
    return;
  double steps = history.back().step, most = std::ceil(entropy), second = TOP + HEIGHT + GAP;
  Chart loss{TOP, most, static_cast<int>(most), steps}, use{second, 1, 4, steps};
  std::ostringstream out;
  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " << WIDTH << " " << second + HEIGHT + TOP
      << "\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
  frame(out, loss, history, "loss, nats per character");
  curves(out, loss, history,
         {{"#1971c2", "training", [](const Row &row) { return row.loss; }},
          {"#e8590c", "held out", [](const Row &row) { return row.held_out > 0 ? row.held_out : -1; }}});
  frame(out, use, history, "experts: use (1: all alike), largest share of choices, dropped tokens");
  curves(out, use, history,
         {{"#2f9e44", "use", [](const Row &row) { return row.utilisation; }},
          {"#9c36b5", "largest", [](const Row &row) { return row.largest; }},
          {"#868e96", "dropped", [](const Row &row) { return row.dropped; }}});
  text(out, LEFT, second + HEIGHT + 20, "step 1");
  text(out, WIDTH - RIGHT, second + HEIGHT + 20, number(steps, 9), "text-anchor=\"end\"");
  text(out, (LEFT + WIDTH - RIGHT) / 2, second + HEIGHT + 20, "grey: warm-up and fine-tuning",
       "text-anchor=\"middle\"");
  out << "</svg>\n";
  std::ofstream file(path, std::ios::binary);
  file << out.str();
  file.close();
  if (!file)
    throw std::runtime_error(path + ": cannot be written");
}

} // namespace train
