// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Candidates of one row range -> built, compared with the default, timed beside it, and recorded.

#include "codegen/search/TuneBatch.h"
#include "codegen/search/TuneProof.h"

#include "codegen/bench/RatioInterval.h"
#include "codegen/tune/TuneCandidate.h"

#include <algorithm>
#include <cmath>

namespace moec {

namespace {
constexpr double turnSeconds = 0.003;
constexpr size_t batchSize = 24;   // candidates between two looks at the clock
constexpr double tooSlow = 3;      // times the default: timed once, not again
constexpr double mostDrift = 0.02; // of the default, from the first third of the pairs to the last
constexpr int proofAttempts = 3;
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
  for (const std::string &symbol : object->symbols) {
    Result<moec_kernel_fn> kernel = batch->loaded->kernel(symbol);
    if (!kernel)
      return kernel.takeError();
    batch->kernels.push_back(*kernel);
  }
  if (!memory || memory->mostRows() < mostPacked) {
    memory.reset();
    memory = std::make_unique<StageMemory>(
        stage, std::max(mostPacked, schedule.entries.back().kernel.integers.at("panel_m") + 48), options.coldBytes);
    if (!memory->ready())
      return Diagnostic::error("E-MEMORY", "not enough memory for the cold weights of stage " + stage.name);
  }
  timer = std::make_unique<StageTimer>(*memory, object->scratchBytes);
  if (!timer->ready())
    return Diagnostic::error("E-MEMORY", "not enough memory for the scratch of stage " + stage.name);
  batch->wrongAt.resize(batch->entries.size());
  batch->pairs.resize(batch->entries.size());
  return batch;
}

// Bit by bit; a candidate of another numeric, which --allow-bits admits, by the size of each row.
static std::string differenceOf(const MatmulStage &stage, const std::vector<char> &want, const std::vector<char> &got,
                                bool sameNumeric) {
  DataType type = DataType(stage.result);
  auto size = int64_t(moec_dtype_bytes(uint32_t(stage.result)));
  if (sameNumeric) {
    auto [a, b] = std::mismatch(want.begin(), want.end(), got.begin());
    if (a == want.end())
      return "";
    int64_t at = a - want.begin();
    return "row " + std::to_string(at / stage.outStride) + ", column " + std::to_string(at % stage.outStride / size);
  }
  for (int64_t row = 0; row * stage.outStride < int64_t(want.size()); ++row) {
    double error = 0, square = 0;
    for (int64_t c = 0; c < stage.n; ++c) {
      double w = loadElement(want.data() + row * stage.outStride, type, c);
      double g = loadElement(got.data() + row * stage.outStride, type, c);
      if (std::isnan(w) && std::isnan(g))
        continue; // columns that this turn's panels do not reach
      error += (w - g) * (w - g);
      square += w * w;
    }
    if (!(error <= 1e-4 * square + 1e-12))
      return "row " + std::to_string(row);
  }
  return "";
}

// Every number of rows that the range's blocks can have, those of a candidate with a larger panel_m included. Where the
// default cannot take so many at once, it computes them in smaller blocks: a row's bits do not depend on its block.
void StageSearch::checkRows(Batch &batch, const RowClass &rows) {
  auto packed = [&](size_t c) { return batch.entries[c].kernel.integers.at("panel_m"); };
  bool open = schedule.entries[rows.entry].lastRow < 0;
  std::vector<int64_t> counts = rows.checked;
  for (size_t c = 1; open && c < batch.entries.size(); ++c)
    while (counts.back() < packed(c))
      counts.push_back(counts.back() + 1);
  auto check = [&](const StageMemory::Turn &turn, int64_t count) {
    StageMemory::Turn whole = turn;
    StageMemory::split(whole, packed(0));
    std::vector<char> want = timer->outputOf(batch.kernels[0], whole);
    for (size_t c = 1; c < batch.entries.size(); ++c) {
      if (!batch.wrongAt[c].empty() || packed(c) < count ||
          (batch.kernels[c] == batch.kernels[0] && count <= packed(0)))
        continue;
      bool same = haveSameBits(batch.entries[c].numeric, batch.entries[0].numeric);
      std::string where = differenceOf(stage, want, timer->outputOf(batch.kernels[c], turn), same);
      if (!where.empty())
        batch.wrongAt[c] = "blocks of " + std::to_string(count) + " rows: " + where;
    }
  };
  for (int64_t count : counts) {
    StageMemory::Turn turn;
    memory->prepareCheck(turn, count);
    check(turn, count);
  }
  StageMemory::Turn turn; // all panels, as they are timed
  memory->prepare(turn, rows.rows, 2);
  check(turn, rows.rows);
}

double StageSearch::once(Batch &batch, size_t candidate, const RowClass &rows, int64_t blocks) {
  memory->prepare(batch.turn, rows.rows, blocks);
  return std::max(timer->run(batch.kernels[candidate], batch.turn), 1e-3);
}

// Rounds of all candidates that are right, the default before each, on new weights every time.
void StageSearch::time(Batch &batch, const RowClass &rows) {
  int64_t blocks = memory->blocksFor(rows.rows, turnSeconds, options.ceilings.gflops, options.ceilings.gbps);
  once(batch, 0, rows, blocks); // warms up
  for (int round = 0; round < options.rounds; ++round) {
    double standard = once(batch, 0, rows, blocks);
    for (size_t c = 1; c < batch.entries.size(); ++c) {
      auto &pairs = batch.pairs[c];
      if (!batch.wrongAt[c].empty() || (!pairs.empty() && pairs[0].second > tooSlow * pairs[0].first))
        continue;
      if (c % 4 == 0)
        standard = once(batch, 0, rows, blocks);
      pairs.push_back({standard, once(batch, c, rows, blocks)});
    }
  }
}

// Default and candidate in turn, ABBA; the default first and last. Again if the machine changed meanwhile.
TuneTimes StageSearch::timeProof(Batch &batch, size_t candidate, const RowClass &rows, bool &believable) {
  int64_t blocks = memory->blocksFor(rows.rows, turnSeconds, options.ceilings.gflops, options.ceilings.gbps);
  TuneTimes times;
  for (int attempt = 0; attempt < proofAttempts; ++attempt) {
    std::vector<std::pair<double, double>> pairs;
    std::vector<double> standard;
    once(batch, candidate, rows, blocks);
    for (int pair = 0; pair < options.pairs; ++pair) {
      bool swapped = pair % 2;
      double first = once(batch, swapped ? candidate : 0, rows, blocks);
      double second = once(batch, swapped ? 0 : candidate, rows, blocks);
      pairs.push_back(swapped ? std::pair(second, first) : std::pair(first, second));
      standard.push_back(pairs.back().first);
    }
    times = timesOf(pairs, batch.turn);
    auto third = int64_t(standard.size() / 3);
    double begin = medianOf({standard.begin(), standard.begin() + third});
    double end = medianOf({standard.end() - third, standard.end()});
    if (std::abs(end / begin - 1) <= mostDrift)
      break;
  }
  believable = true;
  if (!tooFast(times.candidate.median, times, options.ceilings))
    return times;
  // Either the candidate or the probe is wrong: a busy machine hides what it can do.
  ProbeResult ceilings = options.probe ? options.probe() : options.ceilings;
  std::vector<double> alone;
  for (int turn = 0; turn < options.pairs; ++turn)
    alone.push_back(once(batch, candidate, rows, blocks));
  believable = !tooFast(medianOf(alone), times, ceilings);
  return times;
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
  checkRows(batch, rows);
  time(batch, rows);
  for (size_t c = 1; c < batch.entries.size(); ++c) {
    TuneRecord record = recordOf(rows, candidateText(batch.entries[c]));
    if (!batch.wrongAt[c].empty()) {
      record.result = TuneResult::Wrong;
      record.detail = batch.wrongAt[c];
      ++outcome.wrong;
    } else {
      ++outcome.tried;
      if (batch.pairs[c].size() < size_t(options.rounds)) {
        record.result = TuneResult::Timeout;
        record.detail = "more than three times as long as the default";
      } else {
        record.times = timesOf(batch.pairs[c], batch.turn);
      }
    }
    if (Result<> kept = remember(record); !kept)
      return kept;
    measured.push_back({batch.entries[c], record.candidate, earlier(record)->times});
  }
  return {};
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
