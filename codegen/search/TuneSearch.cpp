// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The search of one row range: batches of candidates, each built in memory, compared with the default and timed.

#include "codegen/search/TuneSearch.h"

#include "codegen/bench/RatioInterval.h"
#include "codegen/emulate/LoadedObject.h"
#include "codegen/search/StageTimer.h"
#include "codegen/tune/TuneCandidate.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace moec {

namespace {
constexpr double turnSeconds = 0.003;
constexpr size_t finalists = 3;
constexpr int maxSteps = 6;          // of the walk from neighbour to neighbour
constexpr double worthAStep = 0.004; // gain by which a neighbour must be better to be walked to
constexpr double tooSlow = 3;        // times the default: timed once, not again
constexpr double mostDrift = 0.02;   // of the default, from the first third of the pairs to the last

TuneSpan spanOf(std::vector<double> us) {
  auto [low, high] = std::minmax_element(us.begin(), us.end());
  return us.empty() ? TuneSpan() : TuneSpan{medianOf(us), *low, *high};
}

// Pairs {default, candidate} of times -> what a record says of them.
TuneTimes timesOf(const std::vector<std::pair<double, double>> &pairs, const StageMemory::Turn &turn) {
  TuneTimes times;
  std::vector<double> standard, candidate;
  for (auto [a, b] : pairs) {
    standard.push_back(a);
    candidate.push_back(b);
    times.wins += b < a;
  }
  times.standard = spanOf(standard);
  times.candidate = spanOf(candidate);
  times.pairs = int64_t(pairs.size());
  RatioInterval ratio = pairedRatio(pairs); // candidate / default
  times.gain = 1 / ratio.ratio - 1;
  times.gainLow = ratio.known() ? 1 / ratio.high - 1 : times.gain;
  times.gainHigh = ratio.known() ? 1 / ratio.low - 1 : times.gain;
  times.flops = int64_t(turn.flops);
  times.bytes = int64_t(turn.weightBytes);
  return times;
}
} // namespace

struct StageSearch::Batch {
  std::vector<ScheduleEntry> entries; // [0]: the default
  std::vector<std::string> texts;
  std::unique_ptr<LoadedObject> loaded;
  std::vector<moec_kernel_fn> kernels;
  std::vector<std::string> wrongAt;                          // per entry; empty: right
  std::vector<std::vector<std::pair<double, double>>> pairs; // per entry
  StageMemory::Turn turn;                                    // the last one, for its work
};

StageSearch::StageSearch(StageCompiler &compiler, size_t step, const StageSchedule &schedule,
                         const SearchOptions &options, const std::vector<TuneRecord> &earlier)
    : compiler(compiler), step(step), schedule(schedule), stage(compiler.stages()[step]), options(options) {
  for (const TuneRecord &record : earlier)
    if (staleReason(record.stamp, options.stamp.stamp).empty())
      known[questionOf(record, /*withVersion=*/true)] = record;
}

StageSearch::~StageSearch() = default;

std::vector<RowClass> StageSearch::classes(const std::vector<int64_t> &tokens) const {
  return rowClasses(stage, schedule, tokens);
}

TuneRecord StageSearch::recordOf(const RowClass &rows, const std::string &candidate) const {
  const ScheduleEntry &standard = schedule.entries[rows.entry];
  TuneRecord record = options.stamp;
  record.stage = tuneStageOf(stage, options.stamp.stage.spec, options.stamp.stage.layer);
  record.target = targetOf(schedule.isa);
  record.rows = {standard.firstRow, standard.lastRow};
  record.standard = candidateText(standard);
  record.candidate = candidate;
  return record;
}

Result<std::unique_ptr<StageSearch::Batch>> StageSearch::build(const RowClass &rows,
                                                               std::vector<ScheduleEntry> entries) {
  auto batch = std::make_unique<Batch>();
  batch->entries = std::move(entries);
  for (const ScheduleEntry &entry : batch->entries)
    batch->texts.push_back(candidateText(entry));
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
  if (!memory) {
    memory =
        std::make_unique<StageMemory>(stage, schedule.entries.back().kernel.integers.at("panel_m"), options.coldBytes);
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
  if (sameNumeric) {
    auto [a, b] = std::mismatch(want.begin(), want.end(), got.begin());
    if (a == want.end())
      return "";
    int64_t at = a - want.begin(), size = moec_dtype_bytes(uint32_t(stage.result));
    return "row " + std::to_string(at / stage.outStride) + " column " + std::to_string(at % stage.outStride / size);
  }
  DataType type = DataType(stage.result);
  for (int64_t row = 0; row * stage.outStride < int64_t(want.size()); ++row) {
    double error = 0, size = 0;
    for (int64_t c = 0; c < stage.n; ++c) {
      double w = loadElement(want.data() + row * stage.outStride, type, c);
      double g = loadElement(got.data() + row * stage.outStride, type, c);
      if (std::isnan(w) && std::isnan(g))
        continue; // columns that this turn's panels do not reach
      error += (w - g) * (w - g);
      size += w * w;
    }
    if (!(error <= 1e-4 * size + 1e-12))
      return "row " + std::to_string(row);
  }
  return "";
}

Result<> StageSearch::checkRows(Batch &batch, const RowClass &rows) {
  for (int64_t count : rows.checked) {
    if (count > schedule.entries[rows.entry].kernel.integers.at("panel_m"))
      continue;
    StageMemory::Turn turn;
    memory->prepare(turn, count, 2);
    std::vector<char> want = timer->outputOf(batch.kernels[0], turn);
    for (size_t c = 1; c < batch.entries.size(); ++c) {
      if (!batch.wrongAt[c].empty() || batch.kernels[c] == batch.kernels[0])
        continue;
      bool same = (batch.entries[c].numeric == "amx") == (batch.entries[0].numeric == "amx");
      std::string where = differenceOf(stage, want, timer->outputOf(batch.kernels[c], turn), same);
      if (!where.empty())
        batch.wrongAt[c] = "blocks of " + std::to_string(count) + " rows: " + where;
    }
  }
  return {};
}

// Rounds of all candidates that are right, the default before each, on new weights every time.
void StageSearch::time(Batch &batch, const RowClass &rows) {
  int64_t blocks = memory->blocksFor(rows.rows, turnSeconds, options.ceilings.gflops, options.ceilings.gbps);
  auto once = [&](size_t c) {
    batch.turn = {};
    memory->prepare(batch.turn, rows.rows, blocks);
    return timer->run(batch.kernels[c], batch.turn);
  };
  once(0); // warms up
  for (int round = 0; round < options.rounds; ++round) {
    double standard = once(0);
    for (size_t c = 1; c < batch.entries.size(); ++c) {
      auto &pairs = batch.pairs[c];
      if (!batch.wrongAt[c].empty() || (!pairs.empty() && pairs[0].second > tooSlow * pairs[0].first))
        continue;
      if (c % 4 == 0)
        standard = once(0);
      pairs.push_back({standard, once(c)});
    }
  }
}

Result<> StageSearch::measure(const RowClass &rows, std::vector<ScheduleEntry> candidates, SearchOutcome &outcome,
                              std::vector<Measured> &measured) {
  std::vector<ScheduleEntry> unknown = {schedule.entries[rows.entry]};
  for (ScheduleEntry &entry : candidates) {
    Measured m;
    m.text = candidateText(entry);
    auto earlier = known.find(questionOf(recordOf(rows, m.text), true));
    if (earlier != known.end() && earlier->second.kind == TuneRecord::Measurement) {
      m.entry = entry;
      m.usable = earlier->second.result == TuneResult::Ok && earlier->second.times;
      m.gain = m.usable ? earlier->second.times->gain : 0;
      measured.push_back(std::move(m));
      ++outcome.reused;
    } else {
      unknown.push_back(std::move(entry));
    }
  }
  if (unknown.size() == 1)
    return {};
  Result<std::unique_ptr<Batch>> built = build(rows, std::move(unknown));
  if (!built)
    return built.takeError();
  Batch &batch = **built;
  if (Result<> checked = checkRows(batch, rows); !checked)
    return checked;
  time(batch, rows);
  for (size_t c = 1; c < batch.entries.size(); ++c) {
    TuneRecord record = recordOf(rows, batch.texts[c]);
    Measured m = {batch.entries[c], batch.texts[c], false, 0};
    if (!batch.wrongAt[c].empty()) {
      record.result = TuneResult::Wrong;
      record.detail = batch.wrongAt[c];
      ++outcome.wrong;
    } else if (batch.pairs[c].size() < size_t(options.rounds)) {
      record.result = TuneResult::Timeout;
      record.detail = "more than three times as long as the default";
      ++outcome.tried;
    } else {
      record.times = timesOf(batch.pairs[c], batch.turn);
      m.usable = true;
      m.gain = record.times->gain;
      ++outcome.tried;
    }
    if (Result<> kept = options.remember(record); !kept)
      return kept;
    measured.push_back(std::move(m));
  }
  return {};
}

// The finalists against the default, one after the other; the one with the largest proven gain wins.
Result<> StageSearch::prove(const RowClass &rows, std::vector<Measured> best, SearchOutcome &outcome) {
  std::vector<ScheduleEntry> entries = {outcome.standard};
  for (const Measured &m : best)
    entries.push_back(m.entry);
  Result<std::unique_ptr<Batch>> built = build(rows, std::move(entries));
  if (!built)
    return built.takeError();
  Batch &batch = **built;
  int64_t blocks = memory->blocksFor(rows.rows, turnSeconds, options.ceilings.gflops, options.ceilings.gbps);
  auto once = [&](size_t c) {
    batch.turn = {};
    memory->prepare(batch.turn, rows.rows, blocks);
    return timer->run(batch.kernels[c], batch.turn);
  };
  TuneRecord choice = recordOf(rows, candidateText(outcome.standard));
  choice.kind = TuneRecord::Choice;
  for (size_t c = 1; c < batch.entries.size(); ++c) {
    TuneTimes times;
    for (int attempt = 0; attempt < 3; ++attempt) {
      std::vector<std::pair<double, double>> pairs;
      std::vector<double> standard;
      once(c);
      for (int pair = 0; pair < options.pairs; ++pair) {
        double first = once(pair % 2 ? c : 0), second = once(pair % 2 ? 0 : c);
        pairs.push_back(pair % 2 ? std::pair(second, first) : std::pair(first, second));
        standard.push_back(pairs.back().first);
      }
      times = timesOf(pairs, batch.turn);
      size_t third = standard.size() / 3;
      double begin = medianOf({standard.begin(), standard.begin() + int64_t(third)});
      double end = medianOf({standard.end() - int64_t(third), standard.end()});
      if (std::abs(end / begin - 1) <= mostDrift)
        break;
    }
    double bound =
        std::max(batch.turn.flops / options.ceilings.gflops, batch.turn.weightBytes / options.ceilings.gbps) * 1e-3;
    bool impossible = times.candidate.median < 0.8 * bound;
    bool better = times.gainLow > 0 && times.gain >= options.minimumGain && !impossible;
    if (better && (!outcome.changed || times.gain > outcome.gain)) {
      outcome.changed = true;
      outcome.chosen = batch.entries[c];
      choice.candidate = batch.texts[c];
    }
    if (!choice.times || (better && outcome.chosen.kernel.integers == batch.entries[c].kernel.integers) ||
        (!outcome.changed && times.gain > choice.times->gain)) {
      choice.times = times;
      outcome.gain = times.gain;
      outcome.gainLow = times.gainLow;
      outcome.gainHigh = times.gainHigh;
      outcome.pairs = times.pairs;
      outcome.wins = times.wins;
    }
  }
  if (!choice.times)
    return {};
  return options.remember(choice);
}

// A choice answers for kernels of its numeric, whichever that was.
std::map<std::string, TuneRecord>::const_iterator StageSearch::earlierChoice(const RowClass &rows) const {
  for (const char *numeric : {"fma", "dot", "amx"}) {
    TuneRecord question = recordOf(rows, std::string("kernel numeric ") + numeric);
    question.kind = TuneRecord::Choice;
    if (auto found = known.find(questionOf(question, true)); found != known.end())
      return found;
  }
  return known.end();
}

Result<SearchOutcome> StageSearch::search(const RowClass &rows) {
  SearchOutcome outcome;
  outcome.rows = rows;
  outcome.standard = outcome.chosen = schedule.entries[rows.entry];
  if (auto earlier = earlierChoice(rows); earlier != known.end()) {
    outcome.known = true;
    outcome.changed = !earlier->second.keepsDefault();
    if (Result<ScheduleEntry> chosen =
            cpuCandidate(earlier->second.candidate, earlier->second.rows, options.space.templatesDir);
        chosen)
      outcome.chosen = std::move(*chosen);
    if (const auto &times = earlier->second.times)
      outcome.gain = times->gain, outcome.gainLow = times->gainLow, outcome.gainHigh = times->gainHigh,
      outcome.pairs = times->pairs, outcome.wins = times->wins;
    return outcome;
  }
  std::vector<Measured> measured;
  std::set<std::string> tried = {candidateText(outcome.standard)};
  ScheduleEntry at = outcome.standard;
  double gain = 0;
  for (int walk = 0; walk < maxSteps && !options.expired(); ++walk) {
    std::vector<ScheduleEntry> next;
    for (ScheduleEntry &entry : neighbours(stage, schedule.isa, at, rows.rows, options.space))
      if (tried.insert(candidateText(entry)).second)
        next.push_back(std::move(entry));
    if (next.empty())
      break;
    if (Result<> done = measure(rows, std::move(next), outcome, measured); !done)
      return done.takeError();
    auto best = std::max_element(measured.begin(), measured.end(), [](const Measured &a, const Measured &b) {
      return (a.usable ? a.gain : -1) < (b.usable ? b.gain : -1);
    });
    if (options.progress)
      options.progress(outcome.tried, outcome.wrong, std::max(gain, best->usable ? best->gain : 0));
    if (!best->usable || best->gain < gain + worthAStep)
      break;
    gain = best->gain;
    at = best->entry;
  }
  if (options.expired() && measured.empty())
    return outcome;
  std::sort(measured.begin(), measured.end(), [](const Measured &a, const Measured &b) {
    return std::pair(a.usable, a.gain) > std::pair(b.usable, b.gain);
  });
  size_t few = 0;
  while (few < std::min(finalists, measured.size()) && measured[few].usable)
    ++few;
  measured.resize(few);
  if (few)
    if (Result<> proven = prove(rows, std::move(measured), outcome); !proven)
      return proven.takeError();
  return outcome;
}

} // namespace moec
