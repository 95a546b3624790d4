// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/search/RowClasses.h"

#include <algorithm>
#include <cmath>

namespace moec {

std::vector<double> choiceProbabilities(const TuneRouting &routing, int64_t groups, int64_t choices) {
  std::vector<double> shares(size_t(groups), 1);
  if (routing.name == "zipf")
    for (size_t e = 0; e < shares.size(); ++e)
      shares[e] = 1 / (1 + double(e));
  else if (routing.counts.size() == shares.size())
    shares = routing.counts;
  // A token chooses an expert once at most: what an expert cannot take goes to the others.
  std::vector<bool> full(shares.size());
  double left = double(std::min(groups, choices));
  for (bool again = true; again;) {
    again = false;
    double sum = 0;
    for (size_t e = 0; e < shares.size(); ++e)
      sum += full[e] ? 0 : shares[e];
    for (size_t e = 0; e < shares.size() && sum > 0; ++e)
      if (!full[e] && shares[e] * left / sum > 1) {
        full[e] = again = true;
        left -= 1;
        break;
      }
    if (again)
      continue;
    for (size_t e = 0; e < shares.size(); ++e)
      shares[e] = full[e] ? 1 : sum > 0 ? shares[e] * left / sum : 0;
  }
  return shares;
}

namespace {

// ln of the binomial coefficient's probability: `rows` of `tokens` with probability p each.
double logBinomial(int64_t tokens, int64_t rows, double p) {
  auto n = double(tokens), r = double(rows);
  return std::lgamma(n + 1) - std::lgamma(r + 1) - std::lgamma(n - r + 1) + r * std::log(p) + (n - r) * std::log1p(-p);
}

// Rows of a group -> its probability; the middle 95 % stand for all that are not 0.
std::map<int64_t, double> groupRows(int64_t tokens, double p) {
  std::map<int64_t, double> density;
  if (p <= 0)
    return density;
  if (p >= 1)
    return {{tokens, 1}};
  double mean = double(tokens) * p, deviation = std::sqrt(mean * (1 - p));
  auto low = std::clamp<int64_t>(int64_t(std::floor(mean - 2 * deviation)), 1, tokens);
  auto high = std::clamp<int64_t>(int64_t(std::ceil(mean + 2 * deviation)), low, tokens);
  double total = 0;
  for (int64_t rows = low; rows <= high; ++rows)
    total += density[rows] = std::exp(logBinomial(tokens, rows, p));
  double filled = -std::expm1(double(tokens) * std::log1p(-p));
  for (auto &[rows, probability] : density)
    probability *= filled / total;
  return density;
}

} // namespace

std::map<int64_t, double> blockRows(const MatmulStage &stage, int64_t tokens, int64_t maxRows, int64_t multiple,
                                    const TuneRouting &routing) {
  std::map<int64_t, double> blocks;
  auto add = [&](int64_t rows, double groups) {
    int64_t parts = (rows + maxRows - 1) / maxRows, block = (rows + parts - 1) / std::max<int64_t>(parts, 1);
    block = std::min((block + multiple - 1) / multiple * multiple, maxRows);
    for (int64_t row = 0; row < rows; row += block)
      blocks[std::min(block, rows - row)] += groups;
  };
  if (tokens <= 0)
    return blocks;
  if (!stage.mode.routed || stage.groups <= 1) {
    add(tokens * (stage.mode.routed ? stage.rowsPerToken : 1), 1);
    return blocks;
  }
  std::map<double, double> alike; // experts of equal probability are computed once
  for (double p : choiceProbabilities(routing, stage.groups, stage.rowsPerToken))
    alike[p] += 1;
  for (auto [p, experts] : alike)
    for (auto [rows, probability] : groupRows(tokens, p))
      add(rows, experts * probability);
  return blocks;
}

// Work of a block: its weights are read once, whatever the rows, and each row is multiplied. The break-even of machines
// of our time is near eight rows.
static double workOf(int64_t rows) { return std::max(8.0, double(rows)); }

// A kernel that is wrong at one number of rows must be found, so every one is tried; of ranges of hundreds the first
// and the last, between which a block only has more of the same row blocks.
static std::vector<int64_t> checkedRows(int64_t first, int64_t last, int64_t likely) {
  constexpr int64_t firstOnes = 160, lastOnes = 64;
  std::vector<int64_t> checked;
  for (int64_t r = first; r <= last; ++r)
    if (r < first + firstOnes || r > last - lastOnes || r == likely)
      checked.push_back(r);
  return checked;
}

std::vector<RowClass> rowClasses(const MatmulStage &stage, const StageSchedule &schedule,
                                 const std::vector<int64_t> &tokens, const TuneRouting &routing) {
  const ScheduleEntry &open = schedule.entries.back();
  int64_t maxRows = open.kernel.integers.at("panel_m"), multiple = open.kernel.integers.at("block_m");
  std::map<size_t, std::map<int64_t, double>> met; // entry -> rows -> work
  double total = 0;
  for (int64_t t : tokens)
    for (auto [rows, blocks] : blockRows(stage, t, maxRows, multiple, routing)) {
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
    c.checked = checkedRows(range.firstRow, range.lastRow < 0 ? maxRows : range.lastRow, c.rows);
    classes.push_back(std::move(c));
  }
  return classes;
}

} // namespace moec
