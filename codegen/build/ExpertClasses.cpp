// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// cost(c, j) = fewest columns for the j narrowest widths in c classes
//            = min over i < j: cost(c - 1, i) + width_j * (experts of widths i .. j)

#include "codegen/build/ExpertClasses.h"

#include <algorithm>
#include <map>

namespace moec {

namespace {

constexpr int64_t mostClasses = 8;

// Columns of whole panels: a panel holds 16 columns of gate and up each, or 32 of one matrix.
int64_t wholePanels(const ExpertsSpec &experts, int64_t width) {
  int64_t panel = experts.form == ExpertForm::Glu ? 16 : 32;
  return (width + panel - 1) / panel * panel;
}

// A plan has at most 256 buffers; every matrix of a class takes about three.
int64_t classLimit(const ExpertsSpec &experts) {
  int64_t matrices = 2 + experts.layers;
  if (experts.lora && experts.lora->at == LoraAt::PerMatrix)
    matrices *= 3;
  return std::clamp<int64_t>(160 / (3 * matrices + 8), 1, mostClasses);
}

// Where each class ends among `counts` [width -> experts], ascending, the number of widths last.
std::vector<size_t> bestEnds(const std::vector<std::pair<int64_t, int64_t>> &counts, int64_t limit) {
  size_t n = counts.size();
  size_t most = std::min(n, size_t(limit));
  std::vector<int64_t> before(n + 1, 0);
  for (size_t i = 0; i < n; ++i)
    before[i + 1] = before[i] + counts[i].second;
  std::vector<std::vector<int64_t>> cost(most + 1, std::vector<int64_t>(n + 1, INT64_MAX / 2));
  std::vector<std::vector<size_t>> from(most + 1, std::vector<size_t>(n + 1, 0));
  cost[0][0] = 0;
  for (size_t c = 1; c <= most; ++c)
    for (size_t j = 1; j <= n; ++j)
      for (size_t i = 0; i < j; ++i) {
        int64_t total = cost[c - 1][i] + counts[j - 1].first * (before[j] - before[i]);
        if (total < cost[c][j]) {
          cost[c][j] = total;
          from[c][j] = i;
        }
      }
  std::vector<size_t> ends;
  size_t end = n;
  for (size_t c = most; c > 0; --c) {
    ends.insert(ends.begin(), end);
    end = from[c][end];
  }
  return ends;
}

} // namespace

std::vector<ExpertClass> expertClasses(const ExpertsSpec &experts) {
  std::map<int64_t, std::vector<int64_t>> byWidth;
  for (int64_t e = 0; e < experts.count; ++e)
    byWidth[wholePanels(experts, experts.intermediate.empty() ? 0 : experts.width(e))].push_back(e);
  std::vector<std::pair<int64_t, int64_t>> counts;
  for (const auto &[width, members] : byWidth)
    counts.push_back({width, int64_t(members.size())});
  std::vector<ExpertClass> classes;
  auto next = byWidth.begin();
  size_t begin = 0;
  for (size_t end : bestEnds(counts, classLimit(experts))) {
    ExpertClass own;
    for (; begin < end; ++begin, ++next)
      own.experts.insert(own.experts.end(), next->second.begin(), next->second.end());
    std::sort(own.experts.begin(), own.experts.end());
    for (int64_t e : own.experts)
      own.width = std::max(own.width, experts.intermediate.empty() ? 0 : experts.width(e));
    classes.push_back(std::move(own));
  }
  return classes;
}

std::string classRole(const std::string &role, size_t number) {
  size_t dot = role.find('.');
  std::string own = ".class" + std::to_string(number);
  return dot == std::string::npos ? role + own : role.substr(0, dot) + own + role.substr(dot);
}

double paddedShare(const ExpertsSpec &experts) {
  double computed = 0, own = 0;
  for (const ExpertClass &members : expertClasses(experts))
    for (int64_t e : members.experts) {
      computed += double(wholePanels(experts, members.width));
      own += double(wholePanels(experts, experts.intermediate.empty() ? 0 : experts.width(e)));
    }
  return own > 0 ? computed / own - 1 : 0;
}

} // namespace moec
