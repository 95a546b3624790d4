// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A stage and one of its row ranges -> the fastest entry on this machine, and a record of everything that was measured.
//
//   1. candidates   neighbours of the best entry so far (Candidates.h), until none is faster
//   2. right        each computes what the default computes, bit by bit, at every row count that is checked, on a
//                   poisoned output; one that does not is recorded as wrong and never timed
//   3. screened     rounds of default and candidates, in turn, on weights that no cache holds
//   4. chosen       the best few against the default in pairs, ABBA; one is chosen if the 95 % interval of its gain
//                   lies above 0 and the gain is 1 % at least, else the default stays, with the same proof

#ifndef MOEC_CODEGEN_SEARCH_TUNESEARCH_H
#define MOEC_CODEGEN_SEARCH_TUNESEARCH_H

#include "codegen/bench/Ceilings.h"
#include "codegen/pipeline/StageCompiler.h"
#include "codegen/search/Candidates.h"
#include "codegen/search/RowClasses.h"
#include "codegen/tune/TuneRecord.h"

#include "dsl/text/Result.h"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace moec {

class LoadedObject;
class StageMemory;
class StageTimer;

struct SearchOptions {
  CandidateSpace space;
  TuneRecord stamp;     // stage apart, what every record of this run says: machine, routing, stamp, threads
  ProbeResult ceilings; // of this machine, for the length of turns and for results that cannot be
  double minimumGain = 0.01;
  int rounds = 7, pairs = 15; // of screening; of the proof
  int64_t coldBytes = int64_t(512) << 20;
  std::function<bool()> expired;                                             // true: no further batch
  std::function<Result<>(const TuneRecord &record)> remember;                // called for every record
  std::function<void(size_t tried, size_t wrong, double bestGain)> progress; // may be empty
};

struct SearchOutcome {
  RowClass rows;
  ScheduleEntry standard;
  ScheduleEntry chosen;                // the standard, unless `changed`
  bool changed = false, known = false; // known: an earlier run had chosen
  double gain = 0, gainLow = 0, gainHigh = 0;
  int64_t pairs = 0, wins = 0;
  size_t tried = 0, wrong = 0, reused = 0; // candidates: timed, wrong, taken from earlier records
};

class StageSearch {
public:
  // `stage` is a step of `compiler`. `earlier`: records of runs before, of any stage.
  StageSearch(StageCompiler &compiler, size_t step, const StageSchedule &schedule, const SearchOptions &options,
              const std::vector<TuneRecord> &earlier);
  ~StageSearch();

  std::vector<RowClass> classes(const std::vector<int64_t> &tokens) const;
  // E-MEMORY, E-INTERNAL, and what `remember` returns.
  Result<SearchOutcome> search(const RowClass &rows);

private:
  struct Measured {
    ScheduleEntry entry;
    std::string text;
    bool usable = false; // right and timed
    double gain = 0;
  };
  struct Batch; // compiled, loaded and checked candidates; the first is the default

  TuneRecord recordOf(const RowClass &rows, const std::string &candidate) const;
  Result<> measure(const RowClass &rows, std::vector<ScheduleEntry> candidates, SearchOutcome &outcome,
                   std::vector<Measured> &measured);
  std::map<std::string, TuneRecord>::const_iterator earlierChoice(const RowClass &rows) const;
  Result<> checkRows(Batch &batch, const RowClass &rows);
  void time(Batch &batch, const RowClass &rows);
  Result<> prove(const RowClass &rows, std::vector<Measured> best, SearchOutcome &outcome);
  Result<std::unique_ptr<Batch>> build(const RowClass &rows, std::vector<ScheduleEntry> entries);

  StageCompiler &compiler;
  size_t step;
  const StageSchedule &schedule;
  const MatmulStage &stage;
  const SearchOptions &options;
  std::map<std::string, TuneRecord> known; // by questionOf
  std::unique_ptr<StageMemory> memory;
  std::unique_ptr<StageTimer> timer;
};

} // namespace moec

#endif
