// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "TuneOutput.h"

#include "codegen/tune/TuneCandidate.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"

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

void printTuneEnd(raw_ostream &os, const TuneSummaryLines &summary, const std::string &recordsFile) {
  Distance distance = distanceOf(summary);
  if (distance.ranges) {
    os << format("default      %.3f x the time of the best (geometric mean), ", distance.mean);
    if (distance.worstRow)
      os << format("at most %.3f x (", distance.worst) << placeOf(*distance.worstRow) << "), ";
    os << "at most 1.25 x in " << distance.near << " of " << distance.ranges
       << (distance.ranges == 1 ? " row range\n" : " row ranges\n");
  }
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
    json.attributeObject("default_over_best", [&] {
      json.attribute("geometric_mean", distance.mean);
      json.attribute("worst", distance.worst);
      json.attribute("within_1.25", int64_t(distance.near));
      json.attribute("ranges", int64_t(distance.ranges));
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
          json.attribute("complete", outcome.complete);
        });
    });
  });
  os << "\n";
}

} // namespace moec
