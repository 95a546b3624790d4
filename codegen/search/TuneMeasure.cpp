// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Candidates of one row range -> built, compared with the default, timed beside it, and recorded.

#include "codegen/search/TuneBatch.h"

#include "codegen/bench/RatioInterval.h"
#include "codegen/tune/TuneCandidate.h"

#include <algorithm>

namespace moec {

namespace {
constexpr double turnSeconds = 0.003;
constexpr size_t batchSize = 24; // candidates between two looks at the clock
constexpr double tooSlow = 3;    // times the default: timed once, not again
} // namespace

Result<std::unique_ptr<StageSearch::Batch>> StageSearch::build(std::vector<ScheduleEntry> entries,
                                                               const ScheduleEntry &standard) {
  auto batch = std::make_unique<Batch>();
  batch->entries = std::move(entries);
  batch->entries.insert(batch->entries.begin(), standard);
  int64_t mostPacked = 0;
  for (const ScheduleEntry &entry : batch->entries)
    mostPacked = std::max(mostPacked, entry.kernel.integers.at("panel_m"));
  Result<StageObject> object = compiler.compile(step, schedule.isa, batch->entries);
  if (!object)
    return object.takeError();
  Result<std::unique_ptr<LoadedObject>> loaded = LoadedObject::load({&object->file});
  if (!loaded)
    return loaded.takeError();
  batch->loaded = std::move(*loaded);
  std::vector<moec_kernel_fn> functions;
  for (const std::string &symbol : object->symbols) {
    Result<moec_kernel_fn> kernel = batch->loaded->kernel(symbol);
    if (!kernel)
      return kernel.takeError();
    functions.push_back(*kernel);
  }
  if (!memory || memory->mostRows() < mostPacked) {
    memory.reset();
    memory = std::make_unique<StageMemory>(
        stage, std::max(mostPacked, schedule.entries.back().kernel.integers.at("panel_m") + 48), options.coldBytes);
    if (!memory->ready())
      return Diagnostic::error("E-MEMORY", "not enough memory for the cold weights of stage " + stage.name);
  }
  std::vector<TrialKernel> kernels;
  for (size_t c = 0; c < functions.size(); ++c)
    kernels.push_back({functions[c], batch->entries[c].kernel.integers.at("panel_m"),
                       haveSameBits(batch->entries[c].numeric, standard.numeric)});
  batch->trial = std::make_unique<KernelTrial>(stage, *memory, object->scratchBytes, std::move(kernels));
  if (!batch->trial->ready())
    return Diagnostic::error("E-MEMORY", "not enough memory for the scratch of stage " + stage.name);
  batch->pairs.resize(batch->entries.size());
  return batch;
}

// Every number of rows that the range's blocks can have, those of a candidate with a larger panel_m included.
Result<> StageSearch::check(Batch &batch, const RowClass &rows) {
  std::vector<int64_t> counts = rows.checked;
  if (schedule.entries[rows.entry].lastRow < 0)
    for (const ScheduleEntry &entry : batch.entries)
      while (counts.back() < entry.kernel.integers.at("panel_m"))
        counts.push_back(counts.back() + 1);
  Result<std::vector<TrialVerdict>> verdicts = batch.trial->check(counts, rows.rows, options.expired);
  if (!verdicts)
    return verdicts.takeError();
  batch.verdicts = std::move(*verdicts);
  return {};
}

KernelTrial::Turns StageSearch::turnsOf(const RowClass &rows) const {
  return {rows.rows, memory->blocksFor(rows.rows, turnSeconds, options.ceilings.gflops, options.ceilings.gbps)};
}

// Rounds of all candidates that are right.
Result<> StageSearch::time(Batch &batch, const RowClass &rows) {
  std::vector<size_t> right;
  for (size_t c = 1; c < batch.entries.size(); ++c)
    if (batch.verdicts[c].what == TrialVerdict::Right)
      right.push_back(c);
  Result<std::vector<KernelTrial::Pairs>> pairs =
      batch.trial->screen(right, turnsOf(rows), options.rounds, tooSlow, batch.verdicts);
  if (!pairs)
    return pairs.takeError();
  for (size_t r = 0; r < right.size(); ++r)
    batch.pairs[right[r]] = std::move((*pairs)[r]);
  return {};
}

// Default and candidate in turn; the default first and last. Nothing: the candidate failed.
Result<std::optional<TuneTimes>> StageSearch::timeProof(Batch &batch, size_t candidate, const RowClass &rows,
                                                        bool &believable, TrialVerdict &verdict) {
  using Times = std::optional<TuneTimes>;
  Result<KernelTrial::Pairs> pairs = batch.trial->duel(0, candidate, turnsOf(rows), options.pairs, verdict);
  if (!pairs)
    return pairs.takeError();
  if (pairs->empty())
    return Times();
  TuneTimes times = batch.timesOf(*pairs);
  believable = true;
  if (!tooFast(times.candidate.median, times, options.ceilings))
    return Times(times);
  // Either the candidate or the probe is wrong: a busy machine hides what it can do.
  ProbeResult ceilings = options.probe ? options.probe() : options.ceilings;
  Result<std::vector<double>> alone = batch.trial->alone(candidate, turnsOf(rows), options.pairs, verdict);
  if (!alone)
    return alone.takeError();
  if (alone->empty())
    return Times();
  believable = !tooFast(medianOf(*alone), times, ceilings);
  return Times(times);
}

// Builds each candidate alone, after a batch could not be built, and records those at fault.
Result<> StageSearch::dropFailing(const RowClass &rows, std::vector<ScheduleEntry> &candidates,
                                  SearchOutcome &outcome) {
  std::vector<ScheduleEntry> good;
  for (ScheduleEntry &entry : candidates) {
    Result<StageObject> object = compiler.compile(step, schedule.isa, {entry});
    if (object) {
      good.push_back(std::move(entry));
      continue;
    }
    TuneRecord record = recordOf(rows, candidateText(entry));
    record.result = TuneResult::Failed;
    record.detail = object.error().placedMessage();
    ++outcome.failed;
    if (Result<> kept = remember(record); !kept)
      return kept;
  }
  candidates = std::move(good);
  return {};
}

Result<> StageSearch::measureBatch(const RowClass &rows, std::vector<ScheduleEntry> candidates, SearchOutcome &outcome,
                                   std::vector<Measured> &measured) {
  Result<std::unique_ptr<Batch>> built = build(candidates, outcome.standard);
  if (!built && built.error().code != "E-MEMORY") {
    size_t before = candidates.size();
    if (Result<> dropped = dropFailing(rows, candidates, outcome); !dropped)
      return dropped;
    if (candidates.empty())
      return {};
    if (candidates.size() < before)
      built = build(candidates, outcome.standard);
  }
  if (!built)
    return built.takeError();
  Batch &batch = **built;
  if (Result<> checked = check(batch, rows); !checked)
    return checked;
  if (Result<> timed = time(batch, rows); !timed)
    return timed;
  for (size_t c = 1; c < batch.entries.size(); ++c) {
    if (batch.verdicts[c].what == TrialVerdict::Unknown) {
      outcome.complete = false;
      continue;
    }
    TuneRecord record = recordOf(rows, candidateText(batch.entries[c]));
    takeVerdict(batch.verdicts[c], record, outcome);
    if (record.result == TuneResult::Ok) {
      ++outcome.tried;
      if (batch.pairs[c].size() < size_t(options.rounds)) {
        record.result = TuneResult::Timeout;
        record.detail = slowerDetail;
      } else {
        record.times = batch.timesOf(batch.pairs[c]);
      }
    }
    if (Result<> kept = remember(record); !kept)
      return kept;
    measured.push_back({batch.entries[c], record.candidate, earlier(record)->times});
  }
  return {};
}

// What a kernel that is not right leaves in its record.
void StageSearch::takeVerdict(const TrialVerdict &verdict, TuneRecord &record, SearchOutcome &outcome) {
  record.detail = verdict.detail;
  switch (verdict.what) {
  case TrialVerdict::Wrong:
    record.result = TuneResult::Wrong;
    ++outcome.wrong;
    return;
  case TrialVerdict::Crashed:
    record.result = TuneResult::Failed;
    ++outcome.failed;
    ++outcome.crashed;
    return;
  case TrialVerdict::Stuck:
    record.result = TuneResult::Timeout;
    ++outcome.stuck;
    return;
  case TrialVerdict::Unknown:
  case TrialVerdict::Right:
    return;
  }
}

// Those of earlier records first. With the budget's end the outcome is not complete.
Result<std::vector<StageSearch::Measured>>
StageSearch::measure(const RowClass &rows, std::vector<ScheduleEntry> candidates, SearchOutcome &outcome) {
  std::vector<Measured> measured;
  std::vector<ScheduleEntry> unknown;
  for (ScheduleEntry &entry : candidates) {
    std::string text = candidateText(entry);
    if (const TuneRecord *found = earlier(recordOf(rows, text))) {
      ++outcome.reused;
      measured.push_back({std::move(entry), std::move(text), found->times});
    } else {
      unknown.push_back(std::move(entry));
    }
  }
  for (size_t i = 0; i < unknown.size(); i += batchSize) {
    if (options.expired()) {
      outcome.complete = false;
      break;
    }
    auto end = unknown.begin() + int64_t(std::min(i + batchSize, unknown.size()));
    std::vector<ScheduleEntry> batch(unknown.begin() + int64_t(i), end);
    if (Result<> done = measureBatch(rows, std::move(batch), outcome, measured); !done)
      return done.takeError();
  }
  return measured;
}

} // namespace moec
