// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Counting, and what follows from counts.

#include "codegen/check/RoutingStats.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

namespace moec {

namespace {

constexpr int32_t mostLabels = 1000;

Result<> fits(const RoutingRecord &record, const RoutingStats &stats) {
  size_t slots = size_t(record.tokens * record.choices), tokens = size_t(record.tokens);
  auto wrong = [](const std::string &what) { return Diagnostic::error("E-ROUTINGS", what); };
  if (record.tokens < 0 || record.choices < 1 || record.ids.size() != slots)
    return wrong("ids is not a table of tokens and choices");
  if (stats.choices && record.choices != stats.choices)
    return wrong("ids has " + std::to_string(record.choices) + " choices, earlier records have " +
                 std::to_string(stats.choices));
  if (!record.weights.empty() && record.weights.size() != slots)
    return wrong("weights and ids differ in shape");
  if (!record.labels.empty() && record.labels.size() != tokens)
    return wrong("labels has " + std::to_string(record.labels.size()) + " entries for " + std::to_string(tokens) +
                 " tokens");
  if (!record.kept.empty() && int64_t(record.kept.size()) > stats.experts)
    return wrong("kept has more entries than experts");
  if (!record.logits.empty() && (tokens == 0 || record.logits.size() % tokens))
    return wrong("logits does not have one row for every token");
  for (int32_t id : record.ids)
    if (id < -1 || id >= stats.experts)
      return wrong("ids holds " + std::to_string(id) + ", expected an expert 0.." + std::to_string(stats.experts - 1) +
                   ", or -1 for none");
  for (int32_t label : record.labels)
    if (label < 0 || label >= mostLabels)
      return wrong("labels holds " + std::to_string(label) + ", expected 0.." + std::to_string(mostLabels - 1));
  return {};
}

void addLogits(const RoutingRecord &record, RoutingStats &stats) {
  size_t columns = record.tokens ? record.logits.size() / size_t(record.tokens) : 0;
  for (size_t t = 0; columns && t < size_t(record.tokens); ++t) {
    bool large = false, broken = false;
    for (size_t i = 0; i < columns; ++i) {
      double z = std::fabs(double(record.logits[t * columns + i]));
      broken |= !std::isfinite(z);
      large |= std::isfinite(z) && z > logitLimit;
      if (std::isfinite(z))
        stats.largestLogit = std::max(stats.largestLogit, z);
    }
    stats.largeLogits += large;
    stats.brokenLogits += broken;
  }
}

void addLabels(const RoutingRecord &record, RoutingStats &stats) {
  for (size_t t = 0; t < record.labels.size(); ++t) {
    size_t label = size_t(record.labels[t]);
    if (label >= stats.labelTokens.size()) {
      stats.labelTokens.resize(label + 1);
      stats.byLabel.resize(label + 1, std::vector<int64_t>(size_t(stats.experts)));
    }
    ++stats.labelTokens[label];
    for (int64_t j = 0; j < record.choices; ++j)
      if (int32_t id = record.ids[t * size_t(record.choices) + size_t(j)]; id >= 0)
        ++stats.byLabel[label][size_t(id)];
  }
}

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", 100 * share);
  return text;
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", value);
  return text;
}

// "3, 7, 9 and 12 more"
std::string listOf(const std::vector<int64_t> &ids) {
  constexpr size_t shown = 8;
  std::string text;
  for (size_t i = 0; i < std::min(ids.size(), shown); ++i)
    text += (i ? ", " : "") + std::to_string(ids[i]);
  return ids.size() > shown ? text + " and " + std::to_string(ids.size() - shown) + " more" : text;
}

} // namespace

Result<> RoutingStats::add(const RoutingRecord &record) {
  if (Result<> fitting = fits(record, *this); !fitting)
    return fitting;
  choices = record.choices;
  tokens += record.tokens;
  dropsKnown = dropsKnown && (record.tokens == 0 || !record.kept.empty() || !record.weights.empty());
  std::vector<int64_t> here(static_cast<size_t>(experts));
  for (size_t slot = 0; slot < record.ids.size(); ++slot) {
    if (record.ids[slot] < 0) {
      ++none;
      continue;
    }
    size_t id = size_t(record.ids[slot]);
    ++here[id];
    dropped[id] += record.kept.empty() && !record.weights.empty() && record.weights[slot] == 0;
  }
  for (size_t e = 0; e < here.size(); ++e) {
    chosen[e] += here[e];
    if (e < record.kept.size())
      dropped[e] += std::max<int64_t>(0, here[e] - record.kept[e]);
  }
  addLogits(record, *this);
  addLabels(record, *this);
  return {};
}

int64_t RoutingStats::choicesMade() const { return std::accumulate(chosen.begin(), chosen.end(), int64_t(0)); }

RoutingSummary summaryOf(const RoutingStats &stats) {
  RoutingSummary summary;
  double total = double(stats.choicesMade()), mean = total / double(stats.experts), squares = 0;
  summary.dead = std::count(stats.chosen.begin(), stats.chosen.end(), 0);
  if (total == 0 || stats.tokens == 0)
    return summary;
  summary.even = mean / double(stats.tokens);
  auto busiest = std::max_element(stats.chosen.begin(), stats.chosen.end());
  summary.busiest = busiest - stats.chosen.begin();
  summary.largest = double(*busiest) / double(stats.tokens);
  for (int64_t n : stats.chosen) {
    double p = double(n) / total;
    summary.entropy -= p > 0 ? p * std::log(p) : 0;
    squares += (double(n) - mean) * (double(n) - mean);
  }
  summary.cv = std::sqrt(squares / double(stats.experts)) / mean;
  double least = std::log(double(std::min(stats.choices, stats.experts))), most = std::log(double(stats.experts));
  if (most > least)
    summary.balance = std::clamp((summary.entropy - least) / (most - least), 0.0, 1.0);
  return summary;
}

double labelShare(const RoutingStats &stats, size_t label, int64_t expert) {
  int64_t tokens = stats.labelTokens[label];
  return tokens ? double(stats.byLabel[label][size_t(expert)]) / double(tokens) : 0;
}

int64_t bestExpert(const RoutingStats &stats, size_t label) {
  const std::vector<int64_t> &counts = stats.byLabel[label];
  auto best = std::max_element(counts.begin(), counts.end());
  return best == counts.end() || *best == 0 ? -1 : best - counts.begin();
}

double labelLift(const RoutingStats &stats, size_t label, int64_t expert) {
  int64_t chosen = 0, tokens = 0;
  for (size_t l = 0; l < stats.labelTokens.size(); ++l) {
    chosen += stats.byLabel[l][size_t(expert)];
    tokens += stats.labelTokens[l];
  }
  return chosen ? labelShare(stats, label, expert) / (double(chosen) / double(tokens)) : 0;
}

bool enoughToJudge(const RoutingStats &stats) {
  return stats.choicesMade() >= choicesToJudge * stats.experts && stats.choices < stats.experts;
}

std::vector<Diagnostic> warningsOf(const RoutingStats &stats) {
  std::vector<Diagnostic> warnings;
  auto warn = [&](const char *code, std::string message, const char *hint) {
    warnings.push_back(Diagnostic::warning(code, std::move(message), hint));
  };
  RoutingSummary summary = summaryOf(stats);
  double even = summary.even;
  if (enoughToJudge(stats)) {
    bool byShare = summary.largest > collapseShare && summary.largest > collapseTimesEven * even;
    if (summary.balance < collapseBalance || byShare)
      warn("W-COLLAPSE",
           "routing collapses: expert " + std::to_string(summary.busiest) + " is chosen by " +
               percent(summary.largest) + " of the tokens, an even share is " + percent(even) +
               "; the balance of loads is " + number(summary.balance) + " of 1",
           "a balancing loss, a choice bias or a capacity spreads tokens");
    std::vector<int64_t> idle;
    double limit = std::min(idleShare, even / 2);
    for (int64_t e = 0; e < stats.experts; ++e)
      if (double(stats.chosen[size_t(e)]) < limit * double(stats.tokens))
        idle.push_back(e);
    if (!idle.empty())
      warn("W-IDLE",
           std::to_string(idle.size()) + (idle.size() == 1 ? " expert is" : " experts are") + " chosen by less than " +
               percent(limit) + " of the tokens: " + listOf(idle),
           "they learn little and cost memory");
  }
  if (stats.largeLogits)
    warn("W-LOGITS",
         "router logits reach " + number(stats.largestLogit) + ", above " + number(logitLimit) + " for " +
             std::to_string(stats.largeLogits) + " of " + std::to_string(stats.tokens) + " tokens",
         "scores saturate; a z loss or a soft cap holds them");
  if (stats.brokenLogits)
    warn("W-LOGITS",
         "router logits of " + std::to_string(stats.brokenLogits) + " of " + std::to_string(stats.tokens) +
             " tokens hold values that are not finite",
         "look at the inputs and the router's weights");
  return warnings;
}

} // namespace moec
