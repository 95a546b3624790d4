// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A stage and one of its row ranges -> the fastest entry on this machine, and a record of everything that was measured.
//
//   1. candidates   neighbours of the best entry so far (Candidates.h), until none is faster
//   2. right        each computes what the default computes, bit by bit, at every row count that is checked, on a
//                   poisoned output, in a child process; one that does not is recorded as wrong and never timed, one
//                   that cannot be built or ends with a signal as failed, one that never returns as timeout
//   3. screened     rounds of default and candidates, in turn, on weights that no cache holds
//   4. chosen       the best few against the default in pairs, ABBA; one is chosen if the 95 % interval of its gain
//                   lies above 0 and the gain is 1 % at least, else the default stays, with the same proof; times
//                   that the ceilings forbid are taken again alone, and do not count if they stay; of several whose
//                   intervals meet, pairs of one with the other decide, and on a tie the one that changes less
//   5. few          when all ranges are decided, one kernel takes the place of another where it costs 1 % at most
//
// Records of earlier runs with the same default are taken as if they were measured now, so a search that was cut goes
// on where it ended, and one that was complete measures nothing.

#ifndef MOEC_CODEGEN_SEARCH_TUNESEARCH_H
#define MOEC_CODEGEN_SEARCH_TUNESEARCH_H

#include "codegen/bench/Ceilings.h"
#include "codegen/pipeline/StageCompiler.h"
#include "codegen/search/Candidates.h"
#include "codegen/search/KernelTrial.h"
#include "codegen/search/RowClasses.h"
#include "codegen/search/TuneProof.h"
#include "codegen/tune/TuneRecord.h"

#include "dsl/text/Result.h"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace moec {

class LoadedObject;

struct SearchOptions {
  CandidateSpace space;
  TuneRouting routing;
  TuneRecord stamp;     // stage apart, what every record of this run says: machine, routing, stamp, threads
  ProbeResult ceilings; // of this machine, for the length of turns and for results that cannot be
  std::function<ProbeResult()> probe; // the best of it after another look; may be empty
  double minimumGain = 0.01, coverLoss = 0.01;
  int rounds = 7, pairs = 15; // of screening; of the proof
  int64_t coldBytes = int64_t(512) << 20;
  std::function<bool()> expired;                                             // true: nothing more is measured
  std::function<Result<>(const TuneRecord &record)> remember;                // called for every record
  std::function<void(size_t tried, size_t wrong, double bestGain)> progress; // may be empty
};

struct SearchOutcome {
  RowClass rows;
  ScheduleEntry standard;
  ScheduleEntry chosen; // the standard, unless `changed`
  bool changed = false;
  bool known = false;      // an earlier run had chosen, and nothing was left to measure
  bool reached = true;     // false: the budget ended before anything was measured
  bool complete = false;   // false: the budget ended before every candidate was measured
  bool unbelieved = false; // a candidate stayed faster than the ceilings allow
  bool shared = false;     // the kernel of another range, at most 1 % slower than this range's best
  double bestGain = 0;     // of all candidates that are right; 0: none is faster than the default
  double gain = 0, gainLow = 0, gainHigh = 0;
  int64_t pairs = 0, wins = 0;
  // Candidates: timed; wrong; not built, or ended with a signal; only the latter; never returned; of earlier records.
  size_t tried = 0, wrong = 0, failed = 0, crashed = 0, stuck = 0, reused = 0;

  void proofIs(const TuneTimes &times) {
    gain = times.gain, gainLow = times.gainLow, gainHigh = times.gainHigh;
    pairs = times.pairs, wins = times.wins;
  }
  bool news() const { return tried + wrong + failed + stuck > 0; }
};

// Detail of a timeout record whose candidate returns, but too late to be of use.
inline constexpr const char *slowerDetail = "more than three times as long as the default";

class StageSearch {
public:
  // `stage` is a step of `compiler`. `earlier`: records of runs before, of any stage.
  StageSearch(StageCompiler &compiler, size_t step, const StageSchedule &schedule, const SearchOptions &options,
              const std::vector<TuneRecord> &earlier);
  ~StageSearch();

  std::vector<RowClass> classes(const std::vector<int64_t> &tokens) const;
  // E-MEMORY, E-INTERNAL, and what `remember` returns.
  Result<SearchOutcome> search(const RowClass &rows);
  // Outcomes of this search -> the same with fewer kernels. Every kernel is measured in the ranges of the others first.
  Result<> cover(std::vector<SearchOutcome *> outcomes);
  // Records that the default stays after all, and makes it so.
  Result<> withdraw(SearchOutcome &outcome);

private:
  struct Measured {
    ScheduleEntry entry;
    std::string text;
    std::optional<TuneTimes> times; // of one that is right
    size_t order = 0;               // in which the walk met it
    double gain() const { return times ? times->gain : -1; }
  };
  struct Batch; // compiled, loaded and checked candidates; the first is the default

  int64_t mostRows(const RowClass &rows) const;
  TuneRecord recordOf(const RowClass &rows, const std::string &candidate) const;
  const TuneRecord *earlier(const TuneRecord &question) const;
  const TuneRecord *earlierChoice(const RowClass &rows) const;
  Result<> remember(const TuneRecord &record);
  Result<std::vector<Measured>> measure(const RowClass &rows, std::vector<ScheduleEntry> candidates,
                                        SearchOutcome &outcome);
  Result<> measureBatch(const RowClass &rows, std::vector<ScheduleEntry> candidates, SearchOutcome &outcome,
                        std::vector<Measured> &measured);
  Result<> dropFailing(const RowClass &rows, std::vector<ScheduleEntry> &candidates, SearchOutcome &outcome);
  Result<std::vector<Measured>> walk(const RowClass &rows, SearchOutcome &outcome);
  Result<> check(Batch &batch, const RowClass &rows);
  Result<> time(Batch &batch, const RowClass &rows);
  KernelTrial::Turns turnsOf(const RowClass &rows) const;
  static void takeVerdict(const TrialVerdict &verdict, TuneRecord &record, SearchOutcome &outcome);
  Result<std::optional<TuneTimes>> timeProof(Batch &batch, size_t candidate, const RowClass &rows, bool &believable,
                                             TrialVerdict &verdict);
  // Rivals in pairs with each other where the default leaves their order open -> the decision, and the pairs.
  struct Finalists;
  Result<> settle(Batch &batch, const RowClass &rows, const Finalists &finalists, Decision &decision,
                  std::vector<TuneDuel> &duels);
  Result<> prove(const RowClass &rows, const std::vector<Measured> &measured, SearchOutcome &outcome);
  Result<std::unique_ptr<Batch>> build(std::vector<ScheduleEntry> entries, const ScheduleEntry &standard);

  StageCompiler &compiler;
  size_t step;
  const StageSchedule &schedule;
  const MatmulStage &stage;
  const SearchOptions &options;
  std::map<std::string, TuneRecord>
      known; // the latest answer to each question, with the default it was measured beside
  std::unique_ptr<StageMemory> memory;
};

} // namespace moec

#endif
