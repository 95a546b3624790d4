// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One pass judges every record by itself, one ranks the choices that are left, one says why the others lost.

#include "codegen/tune/TuneLookup.h"

#include "codegen/tune/TuneCandidate.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

#include <tuple>

namespace moec {

const char *tuneReasonName(TuneReason reason) {
  static const char *const names[] = {"stale",      "other template", "wrong",        "failed",
                                      "other bits", "illegal",        "slower",       "evidence",
                                      "undecided",  "other device",   "other source", "superseded"};
  return names[unsigned(reason)];
}

static std::string percent(double gain) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%+.1f %%", gain * 100);
  return text;
}

namespace {

class Lookup {
public:
  Lookup(const TuneSet &set, const TuneQuery &query, const WrongKernels &wrong)
      : set(set), query(query), cuda(llvm::StringRef(query.target).starts_with("cuda:")), wrong(wrong) {}

  // `items`, ascending, are all that is looked at.
  TuneAnswer run(const std::vector<size_t> &items) {
    std::vector<std::optional<Why>> reasons;
    for (size_t i : items) {
      reasons.push_back(unusable(set.items[i].record));
      if (!reasons.back() && set.items[i].record.kind == TuneRecord::Choice &&
          (!answer.used || rank(i) < rank(*answer.used)))
        answer.used = i;
    }
    if (answer.used)
      answer.match = matchDevice(set.items[*answer.used].record.machine, query.machine, cuda);
    for (size_t n = 0; n < items.size(); ++n)
      if (items[n] != answer.used)
        reject(items[n], reasons[n] ? *reasons[n] : outranked(items[n]));
    return std::move(answer);
  }

private:
  using Why = std::pair<TuneReason, std::string>;

  std::optional<Why> unusable(const TuneRecord &record);
  std::optional<Why> unusableKernel(const TuneRecord &record);
  Why outranked(size_t i);
  Why measured(const TuneRecord &record);

  // Less is better.
  using Rank = std::tuple<bool, DeviceMatch, TuneSource, bool, bool, bool, std::string, size_t>;
  Rank rank(size_t i) const {
    const TuneItem &item = set.items[i];
    const TuneRecord &record = item.record;
    bool otherSpec = !query.stage.spec.empty() && record.stage.spec != query.stage.spec;
    bool otherStage = !query.stage.name.empty() && record.stage.name != query.stage.name;
    bool otherThreads = query.threads && record.threads != query.threads;
    std::string lateness = record.stamp.date;
    for (char &c : lateness)
      c = char(127 - c);
    return Rank(record.predicted, matchDevice(record.machine, query.machine, cuda), item.source, otherSpec, otherStage,
                otherThreads, lateness, set.items.size() - i);
  }
  void reject(size_t i, const Why &why) {
    std::string text = tuneReasonName(why.first);
    answer.rejected.push_back({i, why.first, why.second.empty() ? text : text + ": " + why.second});
  }

  const TuneSet &set;
  const TuneQuery &query;
  bool cuda;
  const WrongKernels &wrong;
  TuneAnswer answer;
};

std::optional<Lookup::Why> Lookup::unusable(const TuneRecord &record) {
  if (std::string stale = staleReason(record.stamp, query.now); !stale.empty())
    return Why(TuneReason::Stale, stale);
  if (std::string now; !wrong.hasTemplate(record, now)) {
    auto text = [](const std::string &hash) {
      return hash.empty() ? "moec's own" : "of SHA-256 " + hash.substr(0, 12);
    };
    return Why(TuneReason::Template, "measured was one " + text(record.templateHash) + ", this is one " + text(now));
  }
  if (record.kind == TuneRecord::Measurement && record.result != TuneResult::Ok)
    return record.result == TuneResult::Wrong
               ? Why(TuneReason::Wrong, escaped(record.detail))
               : Why(TuneReason::Failed,
                     record.result == TuneResult::Timeout ? "it took too long" : escaped(record.detail));
  return unusableKernel(record);
}

std::optional<Lookup::Why> Lookup::unusableKernel(const TuneRecord &record) {
  if (std::optional<size_t> bad = wrong.find(record, record.candidate))
    return Why(TuneReason::Wrong, "measured by " + set.placeOf(*bad) + ": " + escaped(set.items[*bad].record.detail));
  if (record.kind == TuneRecord::Measurement)
    return std::nullopt;
  if (!cuda && !query.numerics.empty() && !llvm::is_contained(query.numerics, numericOf(record.candidate)))
    return Why(TuneReason::Bits, "numeric " + escaped(numericOf(record.candidate)) + ", the package has " +
                                     llvm::join(query.numerics, ", "));
  if (query.legal)
    if (Result<> legal = query.legal(record.candidate, record.rows); !legal)
      return Why(TuneReason::Illegal, legal.error().message);
  return std::nullopt;
}

// A usable record that is not used.
Lookup::Why Lookup::outranked(size_t i) {
  const TuneItem &item = set.items[i];
  if (item.record.kind == TuneRecord::Measurement)
    return measured(item.record);
  const TuneItem &used = set.items[*answer.used];
  std::string place = set.placeOf(*answer.used);
  if (item.record.predicted && !used.record.predicted)
    return {TuneReason::Superseded, "by " + place + ", which was measured"};
  if (matchDevice(item.record.machine, query.machine, cuda) != answer.match)
    return {TuneReason::Device,
            machineText(item.record.machine, cuda) + "; " + place + " is of " + machineText(used.record.machine, cuda)};
  if (item.source != used.source)
    return {TuneReason::Source,
            std::string(tuneSourceName(item.source)) + "; " + place + " is " + tuneSourceName(used.source)};
  return {TuneReason::Superseded, "by " + place};
}

Lookup::Why Lookup::measured(const TuneRecord &record) {
  std::string gain = record.times ? percent(record.times->gain) : "";
  if (!answer.used)
    return {TuneReason::Undecided, gain + ", and no choice was made; moec tune goes on where it stopped"};
  const TuneRecord &used = set.items[*answer.used].record;
  if (wrong.codeOf(record.candidate, cuda) == wrong.codeOf(used.candidate, cuda))
    return {TuneReason::Evidence, gain};
  if (matchDevice(record.machine, query.machine, cuda) != answer.match)
    return {TuneReason::Device, machineText(record.machine, cuda)};
  return {TuneReason::Slower,
          gain + ", chosen was " +
              (used.keepsDefault() || !used.times ? std::string("the default") : percent(used.times->gain))};
}

} // namespace

TuneLookup::TuneLookup(const TuneSet &set, const TuneQuery &query)
    : set(set), query(query), wrong(set, &query.now, query.templatesDir) {
  for (size_t i = 0; i < set.items.size(); ++i)
    if (set.items[i].record.target == query.target && set.items[i].record.stage.sameShape(query.stage))
      items.push_back(i);
}

TuneAnswer TuneLookup::at(int64_t rows) const {
  std::vector<size_t> here;
  llvm::copy_if(items, std::back_inserter(here), [&](size_t i) { return set.items[i].record.rows.has(rows); });
  return Lookup(set, query, wrong).run(here);
}

} // namespace moec
