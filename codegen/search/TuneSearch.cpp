// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The search of one row range: which candidates are measured, and which one is chosen. TuneMeasure.cpp measures.

#include "codegen/search/TuneSearch.h"

#include "codegen/Machine.h"
#include "codegen/search/TuneBatch.h"
#include "codegen/search/TuneProof.h"
#include "codegen/tune/TuneCandidate.h"

#include <algorithm>
#include <set>

namespace moec {

namespace {
constexpr size_t finalists = 3;
constexpr int maxSteps = 6;          // of the walk from neighbour to neighbour
constexpr double worthAStep = 0.004; // gain by which a neighbour must be better to be walked to
} // namespace

static std::string keyOf(const TuneRecord &record) {
  return questionOf(record, /*withVersion=*/true) + record.standard;
}

StageSearch::StageSearch(StageCompiler &compiler, size_t step, const StageSchedule &schedule,
                         const SearchOptions &options, const std::vector<TuneRecord> &earlier)
    : compiler(compiler), step(step), schedule(schedule), stage(compiler.stages()[step]), options(options) {
  for (const TuneRecord &record : earlier)
    if (staleReason(record.stamp, options.stamp.stamp).empty())
      known[keyOf(record)] = record;
}

StageSearch::~StageSearch() = default;

std::vector<RowClass> StageSearch::classes(const std::vector<int64_t> &tokens) const {
  return rowClasses(stage, schedule, tokens, options.routing);
}

// The largest block of the range.
int64_t StageSearch::mostRows(const RowClass &rows) const {
  const ScheduleEntry &standard = schedule.entries[rows.entry];
  return standard.lastRow < 0 ? standard.kernel.integers.at("panel_m") : standard.lastRow;
}

TuneRecord StageSearch::recordOf(const RowClass &rows, const std::string &candidate) const {
  const ScheduleEntry &standard = schedule.entries[rows.entry];
  TuneRecord record = options.stamp;
  record.stage = tuneStageOf(stage, options.stamp.stage.spec, options.stamp.stage.layer);
  record.target = targetOf(schedule.isa);
  record.rows = {standard.firstRow, standard.lastRow};
  record.routing = options.routing.name;
  record.standard = candidateText(standard);
  record.candidate = candidate;
  record.templateHash = overlayHash(candidate, /*cuda=*/false, options.space.templatesDir);
  record.share = std::min(rows.weight, 1.0);
  record.stamp.date = utcDate();
  return record;
}

const TuneRecord *StageSearch::earlier(const TuneRecord &question) const {
  auto found = known.find(keyOf(question));
  return found == known.end() ? nullptr : &found->second;
}

// A choice answers for kernels of its numeric, whichever that was.
const TuneRecord *StageSearch::earlierChoice(const RowClass &rows) const {
  for (llvm::StringRef numeric : numericNames) {
    TuneRecord question = recordOf(rows, "kernel numeric " + numeric.str());
    question.kind = TuneRecord::Choice;
    const TuneRecord *found = earlier(question);
    if (found && found->templateHash == overlayHash(found->candidate, /*cuda=*/false, options.space.templatesDir))
      return found;
  }
  return nullptr;
}

// What this run measures is known to its later steps as the file says it, with six digits: a run that resumes decides
// as this one does.
Result<> StageSearch::remember(const TuneRecord &record) {
  if (Result<TuneRecord> read = parseTuneRecord(printTuneRecord(record)); read)
    known[keyOf(record)] = std::move(*read);
  return options.remember(record);
}

// From neighbour to neighbour, as long as one is better.
Result<std::vector<StageSearch::Measured>> StageSearch::walk(const RowClass &rows, SearchOutcome &outcome) {
  std::vector<Measured> measured;
  std::set<std::string> tried = {candidateText(outcome.standard)};
  ScheduleEntry at = outcome.standard;
  double gain = 0;
  outcome.complete = true;
  for (int step = 0; step < maxSteps && outcome.complete; ++step) {
    std::vector<ScheduleEntry> next;
    if (std::optional<ScheduleEntry> entry =
            step ? std::nullopt : heuristicEntry(stage, schedule.isa, at, rows.rows, mostRows(rows), options.space))
      if (tried.insert(candidateText(*entry)).second)
        next.push_back(std::move(*entry));
    for (ScheduleEntry &entry : neighbours(stage, schedule.isa, at, rows.rows, mostRows(rows), options.space))
      if (tried.insert(candidateText(entry)).second)
        next.push_back(std::move(entry));
    Result<std::vector<Measured>> found = measure(rows, std::move(next), outcome);
    if (!found)
      return found.takeError();
    measured.insert(measured.end(), found->begin(), found->end());
    auto best = std::max_element(measured.begin(), measured.end(),
                                 [](const Measured &a, const Measured &b) { return a.gain() < b.gain(); });
    if (best == measured.end())
      break;
    outcome.bestGain = std::max(0.0, best->gain());
    if (options.progress)
      options.progress(outcome.tried, outcome.wrong, outcome.bestGain);
    if (best->gain() < gain + worthAStep)
      break;
    gain = best->gain();
    at = best->entry;
  }
  return measured;
}

Result<SearchOutcome> StageSearch::search(const RowClass &rows) {
  SearchOutcome outcome;
  outcome.rows = rows;
  outcome.standard = outcome.chosen = schedule.entries[rows.entry];
  Result<std::vector<Measured>> measured = walk(rows, outcome);
  if (!measured)
    return measured.takeError();
  if (const TuneRecord *choice = earlierChoice(rows); choice && !outcome.news()) {
    outcome.known = true;
    outcome.changed = !choice->keepsDefault();
    if (Result<ScheduleEntry> chosen = cpuCandidate(choice->candidate, choice->rows, options.space.templatesDir);
        chosen)
      outcome.chosen = std::move(*chosen);
    if (const auto &times = choice->times)
      outcome.proofIs(*times);
    return outcome;
  }
  outcome.reached = !measured->empty();
  for (size_t m = 0; m < measured->size(); ++m)
    (*measured)[m].order = m;
  std::sort(measured->begin(), measured->end(), [](const Measured &a, const Measured &b) {
    return a.gain() != b.gain() ? a.gain() > b.gain() : a.text < b.text;
  });
  size_t few = 0;
  while (few < std::min(finalists, measured->size()) && (*measured)[few].times)
    ++few;
  measured->resize(few);
  if (Result<> proven = prove(rows, *measured, outcome); !proven)
    return proven.takeError();
  return outcome;
}

struct StageSearch::Finalists {
  const std::vector<Measured> &measured;
  std::vector<Rival> rivals;
  std::vector<size_t> of; // by rival: which of `measured`; its kernel in the batch is the one after it

  const Measured &measuredOf(size_t rival) const { return measured[of[rival]]; }
};

// The one with the largest gain against each of the others whose interval meets its own; a winner takes its place.
Result<> StageSearch::settle(Batch &batch, const RowClass &rows, const Finalists &finalists, Decision &decision,
                             std::vector<TuneDuel> &duels) {
  const ScheduleEntry &standard = schedule.entries[rows.entry];
  auto simplicity = [&](size_t rival) {
    const Measured &m = finalists.measuredOf(rival);
    return std::pair(countChanges(standard, m.entry), m.order);
  };
  for (size_t challenger : undecided(finalists.rivals, decision, options.minimumGain)) {
    TrialVerdict verdict;
    Result<KernelTrial::Pairs> pairs = batch.trial->duel(
        finalists.of[decision.chosen] + 1, finalists.of[challenger] + 1, turnsOf(rows), options.pairs, verdict);
    if (!pairs)
      return pairs.takeError();
    if (pairs->empty()) // one of them failed now; what they did beside the default counts
      continue;
    TuneTimes times = batch.timesOf(*pairs);
    duels.push_back({finalists.measuredOf(decision.chosen).text, finalists.measuredOf(challenger).text, times.pairs,
                     times.wins, times.gain, times.gainLow, times.gainHigh});
    if (challengerWins(times, simplicity(challenger) < simplicity(decision.chosen)))
      decision.chosen = decision.evidence = challenger;
  }
  return {};
}

// The finalists against the default, one after the other. Without any, the default stays without a proof.
Result<> StageSearch::prove(const RowClass &rows, const std::vector<Measured> &measured, SearchOutcome &outcome) {
  if (measured.empty())
    return {};
  std::vector<ScheduleEntry> entries;
  for (const Measured &m : measured)
    entries.push_back(m.entry);
  Result<std::unique_ptr<Batch>> built = build(std::move(entries), outcome.standard);
  if (!built)
    return built.takeError();
  Finalists finalists{measured, {}, {}};
  for (size_t c = 0; c < measured.size(); ++c) {
    Rival rival;
    TrialVerdict verdict;
    Result<std::optional<TuneTimes>> times = timeProof(**built, c + 1, rows, rival.believable, verdict);
    if (!times)
      return times.takeError();
    if (!*times) { // it went well when it was screened
      TuneRecord record = recordOf(rows, measured[c].text);
      takeVerdict(verdict, record, outcome);
      if (Result<> kept = remember(record); !kept)
        return kept;
      continue;
    }
    rival.times = **times;
    outcome.unbelieved |= !rival.believable;
    finalists.rivals.push_back(rival);
    finalists.of.push_back(c);
  }
  const std::vector<Rival> &rivals = finalists.rivals;
  if (rivals.empty())
    return {};
  Decision decision = decide(rivals, options.minimumGain);
  TuneRecord choice = recordOf(rows, candidateText(outcome.standard));
  if (Result<> settled = settle(**built, rows, finalists, decision, choice.duels); !settled)
    return settled;
  outcome.changed = decision.chosen != Decision::none;
  outcome.proofIs(rivals[decision.evidence].times);
  choice.kind = TuneRecord::Choice;
  choice.times = rivals[decision.evidence].times;
  choice.unfinished = !outcome.complete;
  if (outcome.changed) {
    outcome.chosen = finalists.measuredOf(decision.chosen).entry;
    choice.candidate = finalists.measuredOf(decision.chosen).text;
    choice.templateHash = overlayHash(choice.candidate, /*cuda=*/false, options.space.templatesDir);
  }
  return remember(choice);
}

} // namespace moec
