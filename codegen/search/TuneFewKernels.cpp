// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The ranges of a stage, each with its best kernel -> the same ranges with fewer kernels.
//
// Two entries are the same kernel if they differ in panel_m at most, which sizes the packed rows and is not in the code
// (pipeline/ObjectJob shares such functions). A range may take a kernel that beats its default as a choice must and
// costs it 1 % at most; a range that keeps its default keeps it.

#include "codegen/search/TuneBatch.h"
#include "codegen/search/TuneProof.h"

#include "codegen/tune/TuneCandidate.h"
#include "codegen/tune/TuneCover.h"

#include <algorithm>

namespace moec {

Result<> StageSearch::cover(std::vector<SearchOutcome *> outcomes) {
  std::vector<ScheduleEntry> kernels; // those chosen, each once
  for (const SearchOutcome *outcome : outcomes)
    if (outcome->changed && std::none_of(kernels.begin(), kernels.end(), [&](const ScheduleEntry &kernel) {
          return codeOfCandidate(kernel) == codeOfCandidate(outcome->chosen);
        }))
      kernels.push_back(outcome->chosen);
  std::vector<SearchOutcome *> ranges;
  std::vector<std::vector<std::optional<Measured>>> cells; // range, kernel
  TimeMatrix times;
  for (SearchOutcome *outcome : outcomes) {
    if (!outcome->changed || kernels.size() < 2)
      continue;
    std::vector<ScheduleEntry> here;
    std::vector<size_t> which;
    for (size_t k = 0; k < kernels.size(); ++k) {
      ScheduleEntry entry = kernels[k];
      if (codeOfCandidate(entry) == codeOfCandidate(outcome->chosen)) {
        entry = outcome->chosen;
      } else {
        int64_t height = entry.kernel.integers.at("block_m");
        entry.firstRow = outcome->standard.firstRow, entry.lastRow = outcome->standard.lastRow;
        entry.kernel.integers["panel_m"] = (mostRows(outcome->rows) + height - 1) / height * height;
        if (!checkEntry(stage, schedule.isa, entry, options.space.templatesDir))
          continue;
      }
      here.push_back(std::move(entry));
      which.push_back(k);
    }
    std::vector<std::string> texts;
    for (const ScheduleEntry &entry : here)
      texts.push_back(candidateText(entry));
    Result<std::vector<Measured>> measured = measure(outcome->rows, std::move(here), *outcome);
    if (!measured)
      return measured.takeError();
    cells.emplace_back(kernels.size());
    times.emplace_back(kernels.size());
    std::string own = candidateText(outcome->chosen);
    for (Measured &m : *measured) {
      size_t k = which[size_t(std::find(texts.begin(), texts.end(), m.text) - texts.begin())];
      bool allowed = m.times && (m.text == own || (beatsDefault(*m.times, options.minimumGain) &&
                                                   !tooFast(m.times->candidate.median, *m.times, options.ceilings)));
      if (!allowed)
        continue;
      times.back()[k] = 1 / (1 + m.gain());
      cells.back()[k] = std::move(m);
    }
    ranges.push_back(outcome);
  }
  TuneCover cover = coverClasses(times, options.coverLoss);
  for (size_t r = 0; r < ranges.size(); ++r) {
    if (cover.ofClass[r] == TuneCover::none)
      continue;
    SearchOutcome &outcome = *ranges[r];
    const Measured &m = *cells[r][cover.ofClass[r]];
    if (m.text == candidateText(outcome.chosen))
      continue;
    outcome.chosen = m.entry;
    outcome.shared = true;
    outcome.proofIs(*m.times);
    TuneRecord choice = recordOf(outcome.rows, m.text);
    choice.kind = TuneRecord::Choice;
    choice.times = *m.times;
    choice.unfinished = !outcome.complete;
    if (Result<> kept = remember(choice); !kept)
      return kept;
  }
  return {};
}

Result<> StageSearch::withdraw(SearchOutcome &outcome) {
  TuneRecord choice = recordOf(outcome.rows, candidateText(outcome.standard));
  choice.kind = TuneRecord::Choice;
  outcome.chosen = outcome.standard;
  outcome.changed = outcome.shared = false;
  return remember(choice);
}

} // namespace moec
