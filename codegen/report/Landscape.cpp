// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Records in, by what they measure -> cells out.

#include "Landscape.h"

#include "codegen/bench/RatioInterval.h"
#include "codegen/tune/TuneCandidate.h"

#include <map>
#include <utility>

namespace moec {

static std::string cellName(const TuneRecord &record) {
  return record.stage.layer + " " + record.stage.name + ", " + record.target + ", " +
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

Landscape landscapeOf(const TuneFile &file) {
  Landscape landscape;
  landscape.name = file.path;
  landscape.skippedLines = file.skippedLines;
  std::map<std::string, size_t> places;
  std::map<std::pair<size_t, std::string>, size_t> known; // cell, kernel -> candidate
  std::vector<std::vector<double>> defaults;
  for (const auto &[record, line] : file.records) {
    if (record.kind != TuneRecord::Measurement)
      continue;
    std::string name = cellName(record);
    std::string key = name + shapeText(record.stage) + machineKey(record.machine, record.cuda());
    auto [place, added] = places.emplace(key, landscape.cells.size());
    if (added) {
      landscape.cells.push_back({name, {}, NAN});
      defaults.emplace_back();
    }
    std::vector<LandscapeCandidate> &candidates = landscape.cells[place->second].candidates;
    auto [slot, first] = known.emplace(std::pair(place->second, record.candidate), candidates.size());
    if (first)
      candidates.push_back(candidateOf(record));
    else
      candidates[slot->second] = candidateOf(record);
    if (record.times)
      defaults[place->second].push_back(record.times->standard.median);
  }
  for (size_t i = 0; i < landscape.cells.size(); ++i)
    landscape.cells[i].defaultUs = medianOf(defaults[i]);
  return landscape;
}

} // namespace moec
