// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/search/RowClasses.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace moec {

std::map<int64_t, double> blockRows(const MatmulStage &stage, int64_t tokens, int64_t maxRows) {
  std::map<int64_t, double> blocks;
  auto add = [&](int64_t rows, double groups) {
    int64_t parts = (rows + maxRows - 1) / maxRows;
    if (rows > 0)
      blocks[(rows + parts - 1) / parts] += groups * double(parts);
  };
  if (!stage.mode.routed || stage.groups <= 1) {
    add(tokens * (stage.mode.routed ? stage.rowsPerToken : 1), 1);
    return blocks;
  }
  double groups = double(stage.groups), mean = double(tokens * stage.rowsPerToken) / groups;
  double deviation = std::sqrt(std::max(mean * (1 - 1 / groups), 1e-9));
  int64_t low = std::max<int64_t>(1, int64_t(std::floor(mean - 2 * deviation)));
  int64_t high = std::max<int64_t>(low, int64_t(std::ceil(mean + 2 * deviation)));
  // A normal density over the integers near the mean; few expected rows make it a Poisson's.
  double total = 0;
  std::map<int64_t, double> density;
  for (int64_t rows = low; rows <= high; ++rows) {
    double p = mean < 8 ? std::exp(double(rows) * std::log(mean) - mean - std::lgamma(double(rows) + 1))
                        : std::exp(-0.5 * std::pow((double(rows) - mean) / deviation, 2));
    total += density[rows] = p;
  }
  double filled = mean < 8 ? groups * (1 - std::exp(-mean)) : groups;
  for (auto [rows, p] : density)
    add(rows, filled * p / total);
  return blocks;
}

// Work of a block: its weights are read once, whatever the rows, and each row is multiplied. The break-even of machines
// of our time is near eight rows.
static double workOf(int64_t rows) { return std::max(8.0, double(rows)); }

std::vector<RowClass> rowClasses(const MatmulStage &stage, const StageSchedule &schedule,
                                 const std::vector<int64_t> &tokens) {
  int64_t maxRows = schedule.entries.back().kernel.integers.at("panel_m");
  std::map<size_t, std::map<int64_t, double>> met; // entry -> rows -> work
  double total = 0;
  for (int64_t t : tokens)
    for (auto [rows, blocks] : blockRows(stage, t, maxRows)) {
      double work = blocks * workOf(rows);
      met[schedule.entryFor(rows)][rows] += work;
      total += work;
    }
  std::vector<RowClass> classes;
  for (const auto &[entry, rows] : met) {
    RowClass c;
    c.entry = entry;
    double most = 0;
    for (auto [count, work] : rows) {
      c.weight += work / total;
      if (work > most) {
        most = work;
        c.rows = count;
      }
    }
    const ScheduleEntry &range = schedule.entries[entry];
    int64_t last = range.lastRow < 0 ? maxRows : range.lastRow;
    std::set<int64_t> checked = {range.firstRow, last, c.rows};
    for (int64_t r = range.firstRow; r <= last && checked.size() < 16; ++r)
      checked.insert(r);
    c.checked.assign(checked.begin(), checked.end());
    classes.push_back(std::move(c));
  }
  return classes;
}

} // namespace moec
