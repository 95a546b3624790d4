// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "history.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <iomanip>
#include <sstream>
#include <stdexcept>

namespace train {

namespace {

constexpr double WIDTH = 720, LEFT = 56, RIGHT = 130, HEIGHT = 220, TOP = 36, GAP = 44;

// One chart: its box, and the values at its ends.
struct Chart {
  double top, low, high, last_step;
  double x(double step) const { return LEFT + (WIDTH - LEFT - RIGHT) * step / last_step; }
  double y(double value) const { return top + HEIGHT * (high - value) / (high - low); }
};

using Value = std::function<double(const Row &)>; // a negative one is left out

void text(std::ostream &out, double x, double y, const std::string &what, const char *more = "") {
  out << "<text x=\"" << x << "\" y=\"" << y << "\" " << more << ">" << what << "</text>\n";
}

void curve(std::ostream &out, const Chart &chart, const std::vector<Row> &history, const char *colour,
           const std::string &label, const Value &value) {
  std::ostringstream points;
  double last = -1;
  for (const Row &row : history)
    if (double v = value(row); v >= 0) {
      points << std::fixed << std::setprecision(1) << chart.x(row.step) << ","
             << chart.y(std::clamp(v, chart.low, chart.high)) << " ";
      last = v;
    }
  if (last < 0)
    return;
  out << "<polyline fill=\"none\" stroke=\"" << colour << "\" stroke-width=\"1.8\" points=\"" << points.str()
      << "\"/>\n";
  std::ostringstream name;
  name << label << " " << std::setprecision(3) << last;
  text(out, WIDTH - RIGHT + 6, chart.y(std::clamp(last, chart.low, chart.high)) + 4, name.str(),
       (std::string("fill=\"") + colour + "\"").c_str());
}

// Box, horizontal lines with numbers, a darker ground behind every second phase.
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
  for (int i = 0; i <= 4; ++i) {
    double value = chart.low + (chart.high - chart.low) * i / 4, y = chart.y(value);
    out << "<path d=\"M" << LEFT << " " << y << "H" << WIDTH - RIGHT
        << "\" stroke=\"#ced4da\" stroke-width=\"0.7\"/>\n";
    std::ostringstream number;
    number << std::setprecision(3) << value;
    text(out, LEFT - 6, y + 4, number.str(), "text-anchor=\"end\"");
  }
  text(out, LEFT, chart.top - 10, title, "font-weight=\"bold\"");
}

} // namespace

void draw_history(const std::string &path, const std::vector<Row> &history, double entropy) {
  if (history.empty())
    return;
  double last_step = std::max(1.0, double(history.back().step)), height = 2 * (TOP + HEIGHT) + GAP;
  Chart loss{TOP, 0, std::ceil(entropy * 2) / 2, last_step}, use{TOP + HEIGHT + GAP, 0, 1, last_step};
  std::ostringstream out;
  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " << WIDTH << " " << height
      << "\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
  frame(out, loss, history, "loss, nats per character");
  curve(out, loss, history, "#1971c2", "training", [](const Row &row) { return row.loss; });
  curve(out, loss, history, "#e8590c", "held out", [](const Row &row) { return row.held_out > 0 ? row.held_out : -1; });
  frame(out, use, history, "experts: use (1: all alike), largest share of choices, dropped tokens");
  curve(out, use, history, "#2f9e44", "use", [](const Row &row) { return row.utilisation; });
  curve(out, use, history, "#9c36b5", "largest", [](const Row &row) { return row.largest; });
  curve(out, use, history, "#868e96", "dropped", [](const Row &row) { return row.dropped; });
  text(out, LEFT, height - 12, "grey: warm-up and fine-tuning; " + std::to_string(int64_t(last_step)) + " steps");
  out << "</svg>\n";
  std::ofstream file(path, std::ios::binary);
  file << out.str();
  file.close();
  if (!file)
    throw std::runtime_error(path + ": cannot be written");
}

} // namespace train
