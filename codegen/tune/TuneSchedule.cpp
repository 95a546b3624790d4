// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The borders of all ranges cut the rows into pieces that have one answer each; equal neighbours become one entry.

#include "codegen/tune/TuneSchedule.h"

#include "codegen/tune/TuneCandidate.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>
#include <map>
#include <set>

namespace moec {
namespace {

// What differs between the schedules of a CPU and of a CUDA stage.
struct CpuRules {
  using Stage = StageSchedule;
  using Entry = ScheduleEntry;
  static std::string target(const Stage &stage) { return targetOf(stage.isa); }
  static int64_t &first(Entry &entry) { return entry.firstRow; }
  static int64_t &last(Entry &entry) { return entry.lastRow; }
  static constexpr auto parse = cpuCandidate;
};

struct CudaRules {
  using Stage = CudaStage;
  using Entry = CudaEntry;
  static std::string target(const Stage &stage) { return targetOf(stage.arch); }
  static int64_t &first(Entry &entry) { return entry.firstToken; }
  static int64_t &last(Entry &entry) { return entry.lastToken; }
  static constexpr auto parse = cudaCandidate;
};

template <typename Rules> class Composer {
public:
  using Stage = typename Rules::Stage;
  using Entry = typename Rules::Entry;
  using Check = std::function<Result<>(const Stage &)>;

  // `standard` may have no entries.
  Composer(const Stage &standard, const TuneSet &set, TuneQuery query, Check check)
      : standard(standard), set(set), query(std::move(query)), check(std::move(check)) {}

  // Every piece gets its answer.
  void ask() {
    std::set<int64_t> starts = {1};
    for (Entry entry : standard.entries)
      starts.insert(Rules::first(entry));
    for (const TuneItem &item : set.items)
      if (item.record.kind == TuneRecord::Choice && item.record.target == query.target &&
          item.record.stage.sameShape(query.stage)) {
        starts.insert(item.record.rows.first);
        if (item.record.rows.last > 0)
          starts.insert(item.record.rows.last + 1);
      }
    TuneLookup lookup(set, query);
    for (auto it = starts.begin(); it != starts.end(); ++it) {
      auto next = std::next(it);
      TuneAnswer answer = lookup.at(*it);
      tuned.ranges.push_back(
          {{*it, next == starts.end() ? -1 : *next - 1}, answer.used, answer.match, std::move(answer.rejected)});
    }
  }

  // Choices that make the stage illegal, alone or beside each other, leave their rows to `standard`.
  void compose() {
    tuned.schedule = scheduleOf(tuned.ranges);
    if (!standard.entries.empty() && !check(tuned.schedule)) {
      std::vector<TunedRange> accepted = tuned.ranges;
      for (TunedRange &range : accepted)
        range.item.reset();
      for (size_t i = 0; i < accepted.size(); ++i) {
        if (!tuned.ranges[i].item)
          continue;
        accepted[i].item = tuned.ranges[i].item;
        if (Result<> legal = check(scheduleOf(accepted)); !legal) {
          accepted[i].item.reset();
          accepted[i].rejected.push_back({*tuned.ranges[i].item, TuneReason::Illegal,
                                          "illegal: beside the other entries: " + legal.error().message});
        }
      }
      tuned.ranges = std::move(accepted);
      tuned.schedule = scheduleOf(tuned.ranges);
    }
    mergeRanges();
  }

  TunedStage<Stage> tuned;

private:
  // The entry of `standard` that covers a piece.
  Entry standardFor(TuneClass rows) const {
    for (Entry entry : standard.entries)
      if (Rules::last(entry) < 0 || Rules::last(entry) >= rows.first)
        return entry;
    return Entry();
  }
  Entry entryOf(const TunedRange &range) const {
    Entry entry = standardFor(range.rows);
    if (range.item)
      if (auto parsed = Rules::parse(set.items[*range.item].record.candidate, range.rows, query.templatesDir))
        entry = *parsed;
    Rules::first(entry) = range.rows.first;
    Rules::last(entry) = range.rows.last;
    return entry;
  }
  Stage scheduleOf(const std::vector<TunedRange> &ranges) const {
    Stage stage = standard;
    stage.entries.clear();
    for (const TunedRange &range : ranges) {
      Entry entry = entryOf(range);
      if (!stage.entries.empty() && candidateText(stage.entries.back()) == candidateText(entry))
        Rules::last(stage.entries.back()) = Rules::last(entry);
      else
        stage.entries.push_back(std::move(entry));
    }
    return stage;
  }
  void mergeRanges() {
    std::vector<TunedRange> merged;
    for (TunedRange &range : tuned.ranges) {
      if (merged.empty() || merged.back().item != range.item) {
        merged.push_back(std::move(range));
        continue;
      }
      merged.back().rows.last = range.rows.last;
      for (TuneRejection &rejection : range.rejected)
        mergeRejection(merged.back().rejected, rejection);
    }
    tuned.ranges = std::move(merged);
  }
  // One reason per record.
  static void mergeRejection(std::vector<TuneRejection> &rejected, TuneRejection &rejection) {
    if (llvm::none_of(rejected, [&](const TuneRejection &known) { return known.item == rejection.item; }))
      rejected.push_back(std::move(rejection));
  }

  const Stage &standard;
  const TuneSet &set;
  TuneQuery query;
  Check check;
};

// `stage` with the rows of `entry` taken from its other entries.
CudaStage withEntry(const CudaStage &stage, const CudaEntry &entry) {
  CudaStage out = stage;
  out.entries.clear();
  bool placed = false;
  for (const CudaEntry &other : stage.entries) {
    CudaEntry before = other, after = other;
    if (entry.firstToken > other.firstToken) {
      if (other.lastToken < 0 || other.lastToken >= entry.firstToken)
        before.lastToken = entry.firstToken - 1;
      out.entries.push_back(before);
    }
    if (!placed && (other.lastToken < 0 || other.lastToken >= entry.firstToken)) {
      out.entries.push_back(entry);
      placed = true;
    }
    if (entry.lastToken > 0 && (other.lastToken < 0 || other.lastToken > entry.lastToken)) {
      after.firstToken = std::max(other.firstToken, entry.lastToken + 1);
      out.entries.push_back(after);
    }
  }
  return out;
}

} // namespace

TunedStage<StageSchedule> tuneStage(const MatmulStage &facts, const StageSchedule &standard, const TuneSet &set,
                                    TuneQuery query) {
  query.target = targetOf(standard.isa);
  std::string dir = query.templatesDir;
  if (!query.legal)
    query.legal = [&facts, dir, isa = standard.isa](const std::string &candidate, TuneClass rows) -> Result<> {
      Result<ScheduleEntry> entry = cpuCandidate(candidate, rows, dir);
      return entry ? checkEntry(facts, isa, *entry, dir) : Result<>(entry.takeError());
    };
  Composer<CpuRules> composer(standard, set, std::move(query),
                              [&](const StageSchedule &stage) { return checkStage(facts, stage, dir); });
  composer.ask();
  composer.compose();
  return std::move(composer.tuned);
}

TunedStage<CudaStage> tuneStage(const MatmulStage &facts, const CudaStage &standard, const TuneSet &set,
                                TuneQuery query) {
  query.target = targetOf(standard.arch);
  std::string dir = query.templatesDir;
  if (!query.legal)
    query.legal = [&facts, &standard, dir](const std::string &candidate, TuneClass tokens) -> Result<> {
      Result<CudaEntry> entry = cudaCandidate(candidate, tokens, dir);
      return entry ? checkStage(facts, withEntry(standard, *entry), dir) : Result<>(entry.takeError());
    };
  Composer<CudaRules> composer(standard, set, std::move(query),
                               [&](const CudaStage &stage) { return checkStage(facts, stage, dir); });
  composer.ask();
  composer.compose();
  return std::move(composer.tuned);
}

std::string originText(const TuneSet &set, const TunedRange &range) {
  if (!range.item)
    return "heuristics";
  return set.placeOf(*range.item) + ", " + tuneSourceName(set.items[*range.item].source) + ", " +
         deviceMatchName(range.match) + " machine" + (set.items[*range.item].record.predicted ? ", predicted" : "");
}

std::string rejectedText(const std::vector<TunedRange> &ranges) {
  std::map<TuneReason, std::set<size_t>> items; // a record may be rejected for several ranges
  for (const TunedRange &range : ranges)
    for (const TuneRejection &rejection : range.rejected)
      items[rejection.reason].insert(rejection.item);
  std::string text;
  for (const auto &[reason, rejected] : items)
    text += (text.empty() ? "" : ", ") + std::to_string(rejected.size()) + " " + tuneReasonName(reason);
  return text;
}

template <typename Rules>
static Result<TunedStage<typename Rules::Stage>> compileRecords(const typename Rules::Stage &empty, const TuneSet &set,
                                                                TuneQuery query,
                                                                typename Composer<Rules>::Check check) {
  query.target = Rules::target(empty);
  std::string where = "stage " + query.stage.name + " " + query.target;
  Composer<Rules> composer(empty, set, std::move(query), check);
  composer.ask();
  for (const TunedRange &range : composer.tuned.ranges)
    if (!range.item) {
      std::string rejected = rejectedText({range});
      return Diagnostic::error("E-RECORD", where + ": no usable choice for " + classText(range.rows) +
                                               (rejected.empty() ? "" : " (" + rejected + ")"));
    }
  composer.compose();
  if (Result<> legal = check(composer.tuned.schedule); !legal)
    return Diagnostic::error("E-RECORD", where + ": " + legal.error().message);
  return std::move(composer.tuned);
}

Result<TunedStage<StageSchedule>> recordedStage(Isa isa, const TuneSet &set, TuneQuery query) {
  StageSchedule empty;
  empty.stage = query.stage.name;
  empty.isa = isa;
  std::optional<MatmulStage> facts = matmulStageOf(query.stage);
  if (!facts)
    return Diagnostic::error("E-RECORD", "stage " + empty.stage + ": this version does not compute with its types");
  std::string dir = query.templatesDir;
  query.legal = [&facts, dir, isa](const std::string &candidate, TuneClass rows) -> Result<> {
    Result<ScheduleEntry> entry = cpuCandidate(candidate, rows, dir);
    return entry ? checkEntry(*facts, isa, *entry, dir) : Result<>(entry.takeError());
  };
  return compileRecords<CpuRules>(empty, set, std::move(query),
                                  [&](const StageSchedule &stage) { return checkStage(*facts, stage, dir); });
}

Result<TunedStage<CudaStage>> recordedStage(CudaArch arch, const TuneSet &set, TuneQuery query) {
  CudaStage empty;
  empty.stage = query.stage.name;
  empty.arch = arch;
  std::string dir = query.templatesDir;
  query.legal = [dir](const std::string &candidate, TuneClass tokens) -> Result<> {
    Result<CudaEntry> entry = cudaCandidate(candidate, tokens, dir);
    return entry ? Result<>() : Result<>(entry.takeError());
  };
  // The rules of CUDA entries need regions and strides, which records do not have; `compile --schedule` checks them.
  return compileRecords<CudaRules>(empty, set, std::move(query), [](const CudaStage &) { return Result<>(); });
}

} // namespace moec
