// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Records in, by what they measure -> cells out.

#include "Landscape.h"

#include "codegen/bench/RatioInterval.h"
#include "codegen/tune/TuneCandidate.h"

#include <algorithm>
#include <ctime>
#include <map>
#include <numeric>
#include <utility>

namespace moec {

static std::string stageName(const TuneRecord &record) {
  return record.stage.layer + " " + record.stage.name + ", " + record.target;
}

static std::string cellName(const TuneRecord &record) {
  return stageName(record) + ", " + (record.routing == "uniform" ? "" : record.routing + ", ") +
         (record.threads == 1 ? "" : std::to_string(record.threads) + " threads, ") +
         (record.cuda() ? "tokens " : "rows ") + classText(record.rows);
}

static LandscapeCandidate candidateOf(const TuneRecord &record) {
  LandscapeCandidate candidate;
  candidate.text = changesText(record.standard, record.candidate, record.cuda());
  candidate.result = tuneResultName(record.result) + (record.detail.empty() ? "" : ": " + record.detail);
  candidate.failed = record.result != TuneResult::Ok;
  if (record.times)
    candidate.us = record.times->candidate.median;
  return candidate;
}

static LandscapeChoice choiceOf(const TuneRecord &record) {
  LandscapeChoice choice;
  if (!record.keepsDefault()) {
    choice.text = changesText(record.standard, record.candidate, record.cuda());
    if (choice.text.empty())
      choice.text = record.candidate;
  }
  if (record.times)
    choice.gain = record.times->gain, choice.gainLow = record.times->gainLow, choice.gainHigh = record.times->gainHigh;
  choice.unfinished = record.unfinished;
  return choice;
}

// "2026-11-27T10:00:00Z" as the record's reader has checked it.
static double secondsOf(const std::string &date) {
  tm parts = {};
  return strptime(date.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts) ? double(timegm(&parts)) : 0;
}

namespace {
// Keeps the two means while records are read in the order of the file.
class Course {
public:
  explicit Course(size_t cells) : best(cells, 0), proven(cells, 0) {}

  void take(const TuneRecord &record, size_t cell, const std::string &name) {
    double now = secondsOf(record.stamp.date);
    if (last > 0 && now > last)
      step.seconds += now - last <= longestStep ? now - last : 0;
    last = std::max(last, now);
    step.event.clear();
    if (record.kind == TuneRecord::Measurement) {
      ++step.measured;
      if (record.result == TuneResult::Ok && record.times && !record.predicted)
        best[cell] = std::min(best[cell], -std::log1p(record.times->gain));
    } else {
      proven[cell] = record.keepsDefault() || !record.times ? 0 : -std::log1p(record.times->gain);
      step.event = name;
    }
    double oldBest = step.best, oldProven = step.proven;
    step.best = mean(best);
    step.proven = mean(proven);
    if (steps.empty() || step.best != oldBest || step.proven != oldProven)
      steps.push_back(step);
    else
      end = step;
  }
  std::vector<LandscapeStep> finish() {
    if (end && end->measured >= steps.back().measured && end->seconds >= steps.back().seconds)
      steps.push_back(*end);
    return std::move(steps);
  }

private:
  static double mean(const std::vector<double> &logs) {
    return std::exp(std::accumulate(logs.begin(), logs.end(), 0.0) / double(logs.size()));
  }

  static constexpr double longestStep = 60;
  std::vector<double> best, proven; // logarithms, by cell
  double last = 0;
  LandscapeStep step;
  std::optional<LandscapeStep> end;
  std::vector<LandscapeStep> steps;
};
} // namespace

Landscape landscapeOf(const TuneFile &file) {
  Landscape landscape;
  landscape.name = file.path;
  landscape.skippedLines = file.skippedLines;
  std::map<std::string, size_t> places;
  std::map<std::pair<size_t, std::string>, size_t> known; // cell, kernel -> candidate
  std::vector<std::vector<double>> defaults;
  std::vector<std::pair<const TuneRecord *, size_t>> inOrder; // with its cell
  for (const auto &[record, line] : file.records) {
    std::string name = cellName(record);
    std::string key = name + shapeText(record.stage) + record.stage.spec + " " + record.routing + " " +
                      std::to_string(record.threads) + machineKey(record.machine, record.cuda());
    auto [place, added] = places.emplace(key, landscape.cells.size());
    if (added) {
      landscape.cells.push_back({name, {}, NAN});
      landscape.cells.back().stage = stageName(record);
      defaults.emplace_back();
    }
    LandscapeCell &cell = landscape.cells[place->second];
    inOrder.emplace_back(&record, place->second);
    if (record.share > 0)
      cell.share = record.share;
    if (record.times)
      defaults[place->second].push_back(record.times->standard.median);
    if (record.kind == TuneRecord::Choice) {
      cell.choice = choiceOf(record);
      continue;
    }
    auto [slot, first] = known.emplace(std::pair(place->second, record.candidate), cell.candidates.size());
    if (first)
      cell.candidates.push_back(candidateOf(record));
    else
      cell.candidates[slot->second] = candidateOf(record);
  }
  for (size_t i = 0; i < landscape.cells.size(); ++i)
    landscape.cells[i].defaultUs = medianOf(defaults[i]);
  Course course(landscape.cells.size());
  for (auto [record, cell] : inOrder)
    course.take(*record, cell, landscape.cells[cell].name);
  landscape.course = course.finish();
  return landscape;
}

} // namespace moec
