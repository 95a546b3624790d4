// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "TuneOutput.h"

#include "codegen/tune/TuneCandidate.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"

#include <algorithm>
#include <cmath>

using namespace llvm;

namespace moec {

size_t TuneSummaryLines::changed() const {
  return size_t(count_if(outcomes, [](const TunedRow &row) { return row.outcome.changed; }));
}

size_t TuneSummaryLines::notReached() const {
  return size_t(count_if(outcomes, [](const TunedRow &row) { return !row.outcome.complete; }));
}

static size_t sum(const std::vector<TunedRow> &rows, size_t SearchOutcome::*count) {
  size_t total = 0;
  for (const TunedRow &row : rows)
    total += row.outcome.*count;
  return total;
}

size_t TuneSummaryLines::crashed() const { return sum(outcomes, &SearchOutcome::crashed); }
size_t TuneSummaryLines::stuck() const { return sum(outcomes, &SearchOutcome::stuck); }

namespace {
// Time of the default over the time of what was chosen, of the ranges that were reached.
struct Distance {
  size_t ranges = 0, near = 0; // near: at most 1.25
  double mean = 1, worst = 1;  // geometric mean
  const TunedRow *worstRow = nullptr;
};
} // namespace

static Distance distanceOf(const TuneSummaryLines &summary) {
  Distance distance;
  double sum = 0;
  for (const TunedRow &row : summary.outcomes) {
    if (!row.outcome.reached)
      continue;
    double ratio = row.outcome.changed ? 1 + row.outcome.gain : 1;
    ++distance.ranges;
    distance.near += ratio <= 1.25;
    sum += std::log(ratio);
    if (ratio > distance.worst) {
      distance.worst = ratio;
      distance.worstRow = &row;
    }
  }
  if (distance.ranges)
    distance.mean = std::exp(sum / double(distance.ranges));
  return distance;
}

static std::string placeOf(const TunedRow &row) {
  return row.schedule->stage + " " + isaFacts(row.schedule->isa).name.str() + " rows " +
         rowRangeText(row.outcome.standard);
}

void printRange(raw_ostream &os, const TunedRow &row, const std::string &templatesDir) {
  const SearchOutcome &outcome = row.outcome;
  std::string what =
      outcome.changed ? changesText(candidateText(outcome.standard), candidateText(outcome.chosen), false, templatesDir)
                      : "default kept";
  os << left_justify(placeOf(row), 40) << " " << left_justify(what, 44);
  if (outcome.pairs)
    os << (outcome.changed ? " " : " best ")
       << format("%+.1f %% (%+.1f .. %+.1f)   %lld of %lld pairs", 100 * outcome.gain, 100 * outcome.gainLow,
                 100 * outcome.gainHigh, (long long)outcome.wins, (long long)outcome.pairs);
  if (outcome.shared)
    os << "   as another range";
  else if (outcome.known)
    os << "   known";
  if (outcome.unbelieved)
    os << "   faster than the ceilings allow, not believed";
  if (outcome.wrong)
    os << "   " << outcome.wrong << " wrong";
  if (outcome.failed)
    os << "   " << outcome.failed << " failed";
  if (outcome.stuck)
    os << "   " << outcome.stuck << " never returned";
  if (!outcome.complete)
    os << "   not finished";
  os << "\n";
}

void printTuneBegin(raw_ostream &os, const TuneSummaryLines &summary, size_t ranges, size_t earlier) {
  os << "searching    " << summary.stages << (summary.stages == 1 ? " stage, " : " stages, ");
  if (summary.backwardStages)
    os << summary.backwardStages << " of the backward pass, ";
  os << ranges << (ranges == 1 ? " row range" : " row ranges") << "; records of earlier runs: " << earlier << "\n";
  printFixedStages(os, summary.fixed);
}

void printFixedStages(raw_ostream &os, const std::vector<std::string> &names) {
  if (!names.empty())
    os << "not tuned    " << join(names, ", ") << ": their blocks have one size\n";
}

void TuneSummaryLines::noteProgress(double seconds, size_t ranges) {
  double sum = 0;
  for (const TunedRow &row : outcomes)
    sum += row.outcome.changed ? std::log1p(row.outcome.gain) : 0;
  progress.push_back({seconds, std::exp(sum / double(std::max<size_t>(ranges, 1)))});
}

static std::string secondsText(double seconds) {
  std::string text;
  raw_string_ostream os(text);
  if (seconds < 120)
    os << format("%.0f s", seconds);
  else
    os << format("%.1f min", seconds / 60);
  return text;
}

// At about a quarter, a half and all of the time: "1.004 x after 12 s, 1.019 x after 25 s, 1.021 x after 50 s".
static void printProgress(raw_ostream &os, const std::vector<TuneProgress> &progress) {
  if (progress.size() < 2)
    return;
  std::string text;
  size_t last = SIZE_MAX;
  for (double part : {0.25, 0.5, 1.0}) {
    size_t at = 0;
    while (at + 1 < progress.size() && progress[at].seconds < part * progress.back().seconds)
      ++at;
    if (at == last)
      continue;
    last = at;
    raw_string_ostream(text) << (text.empty() ? "" : ", ") << format("%.3f x", progress[at].mean) << " after "
                             << secondsText(progress[at].seconds);
  }
  os << "best so far  " << text << "\n";
}

static constexpr size_t mostLines = 10; // of failures, and of ranges that were not reached

static void printLeftOver(raw_ostream &os, const TuneSummaryLines &summary) {
  for (size_t i = 0; i < std::min(mostLines, summary.failures.size()); ++i)
    os << "failed       " << escaped(summary.failures[i]) << "\n";
  if (summary.failures.size() > mostLines)
    os << "failed       and " << summary.failures.size() - mostLines << " more\n";
  size_t shown = 0;
  for (const TunedRow &row : summary.outcomes)
    if (!row.outcome.complete && ++shown <= mostLines)
      os << "not reached  " << placeOf(row) << ", "
         << format("%.1f %% of the stage's work", 100 * row.outcome.rows.weight)
         << (row.outcome.reached ? ": some of its candidates" : "") << "\n";
  if (shown > mostLines)
    os << "not reached  and " << shown - mostLines << " more\n";
}

void printTuneEnd(raw_ostream &os, const TuneSummaryLines &summary, const std::string &recordsFile) {
  Distance distance = distanceOf(summary);
  if (distance.ranges) {
    os << format("default      %.3f x the time of the best (geometric mean), ", distance.mean);
    if (distance.worstRow)
      os << format("at most %.3f x (", distance.worst) << placeOf(*distance.worstRow) << "), ";
    os << "at most 1.25 x in " << distance.near << " of " << distance.ranges
       << (distance.ranges == 1 ? " row range\n" : " row ranges\n");
  }
  if (distance.ranges)
    printProgress(os, summary.progress);
  printLeftOver(os, summary);
  if (summary.measurements)
    os << "landscape    moec report " << recordsFile << " draws it, moec tunedb show " << recordsFile
       << " --stage NAME lists candidates by time\n";
  os << recordsFile << ": " << summary.measurements << " measurements; " << summary.changed() << " of "
     << summary.outcomes.size() << (summary.outcomes.size() == 1 ? " row range" : " row ranges")
     << " changed; candidates wrong: " << summary.wrong << ", failed: " << summary.failed;
  if (summary.stuck())
    os << ", never returned: " << summary.stuck();
  os << "; not reached: " << summary.notReached() << "\n";
}

void writeTuneJson(raw_ostream &os, const TuneSummaryLines &summary) {
  Distance distance = distanceOf(summary);
  json::OStream json(os, 2);
  json.object([&] {
    json.attribute("measurements", int64_t(summary.measurements));
    json.attribute("wrong", int64_t(summary.wrong));
    json.attribute("failed", int64_t(summary.failed));
    json.attribute("stuck", int64_t(summary.stuck()));
    json.attribute("changed", int64_t(summary.changed()));
    json.attribute("not_reached", int64_t(summary.notReached()));
    json.attribute("stages", int64_t(summary.stages));
    json.attribute("stages_backward", int64_t(summary.backwardStages));
    json.attributeArray("stages_not_tuned", [&] {
      for (const std::string &stage : summary.fixed)
        json.value(stage);
    });
    json.attributeObject("default_over_best", [&] {
      json.attribute("geometric_mean", distance.mean);
      json.attribute("worst", distance.worst);
      json.attribute("within_1.25", int64_t(distance.near));
      json.attribute("ranges", int64_t(distance.ranges));
    });
    json.attributeArray("best_so_far", [&] {
      for (const TuneProgress &step : summary.progress)
        json.object([&] {
          json.attribute("seconds", step.seconds);
          json.attribute("geometric_mean", step.mean);
        });
    });
    json.attributeArray("failures", [&] {
      for (const std::string &failure : summary.failures)
        json.value(json::fixUTF8(failure));
    });
    json.attributeArray("ranges", [&] {
      for (const TunedRow &row : summary.outcomes)
        json.object([&] {
          const SearchOutcome &outcome = row.outcome;
          json.attribute("stage", row.schedule->stage);
          json.attribute("isa", isaFacts(row.schedule->isa).name);
          json.attribute("rows", rowRangeText(outcome.standard));
          json.attribute("share_of_work", outcome.rows.weight);
          json.attribute("default", candidateText(outcome.standard));
          json.attribute("chosen", candidateText(outcome.chosen));
          json.attribute("gain", outcome.gain);
          json.attribute("gain_low", outcome.gainLow);
          json.attribute("gain_high", outcome.gainHigh);
          json.attribute("tried", int64_t(outcome.tried));
          json.attribute("wrong", int64_t(outcome.wrong));
          json.attribute("failed", int64_t(outcome.failed));
          json.attribute("stuck", int64_t(outcome.stuck));
          json.attribute("known", outcome.known);
          json.attribute("shared", outcome.shared);
          json.attribute("reached", outcome.reached);
          json.attribute("complete", outcome.complete);
        });
    });
  });
  os << "\n";
}

} // namespace moec
