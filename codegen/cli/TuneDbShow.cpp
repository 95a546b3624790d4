// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec tunedb show: the records of a stage, by target, machine and row class, the fastest first.

#include "TuneDb.h"

#include "codegen/emit/Manifest.h"
#include "codegen/tune/TuneCandidate.h"
#include "codegen/tune/TuneSummary.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

using namespace llvm;

namespace moec {

static bool wanted(const TuneGroup &group, const TuneDbFlags &flags) {
  return (flags.stage.empty() || group.stage.name == flags.stage) &&
         (flags.layer.empty() || group.stage.layer == flags.layer) &&
         (flags.targets.empty() || is_contained(flags.targets, group.target));
}

static void showJson(raw_ostream &out, const TuneSet &set, const std::vector<TuneGroup> &groups) {
  json::OStream os(out, 2);
  os.array([&] {
    for (const TuneGroup &group : groups)
      for (size_t item : group.items)
        os.object([&] {
          os.attribute("file", json::fixUTF8(set.files[set.items[item].file]));
          os.attribute("line", int64_t(set.items[item].line));
          os.attributeBegin("record");
          os.rawValue(printTuneRecord(set.items[item].record));
          os.attributeEnd();
        });
  });
  out << "\n";
}

static std::string gainText(const TuneTimes &times) {
  std::string text;
  raw_string_ostream(text) << format("%+.1f %% (%+.1f .. %+.1f)", times.gain * 100, times.gainLow * 100,
                                     times.gainHigh * 100)
                           << "  " << times.wins << " of " << times.pairs << " pairs";
  return text;
}

// Choices first, then measurements that are right, the fastest first, then the others.
static auto orderOf(const TuneRecord &record) {
  bool right = record.kind == TuneRecord::Choice || record.result == TuneResult::Ok;
  return std::make_tuple(record.kind != TuneRecord::Choice, !right,
                         record.times ? record.times->candidate.median : 0.0);
}

// Records that were measured beside the same default.
struct ClassKey {
  int64_t first, last, threads;
  std::string routing, standard;
  bool operator<(const ClassKey &other) const {
    return std::tie(first, last, threads, routing, standard) <
           std::tie(other.first, other.last, other.threads, other.routing, other.standard);
  }
};

static void showRecord(raw_ostream &out, const TuneSet &set, size_t item, const TuneDbFlags &flags,
                       const TuneStamp &now) {
  const TuneRecord &record = set.items[item].record;
  std::string word = record.kind == TuneRecord::Choice ? "chosen" : tuneResultName(record.result);
  std::string changes = record.keepsDefault()
                            ? "default"
                            : changesText(record.standard, record.candidate, record.cuda(), flags.templatesDir);
  out << "  " << left_justify(word, 8) << " ";
  if (record.times && record.result == TuneResult::Ok)
    out << format("%10.6g us  ", record.times->candidate.median) << gainText(*record.times) << "  ";
  out << (changes.empty() ? std::string("default") : escaped(changes));
  if (record.predicted)
    out << "; predicted";
  if (!record.detail.empty())
    out << "; " << escaped(record.detail);
  for (const TuneDuel &duel : record.duels)
    out << format("; %+.1f %% (%+.1f .. %+.1f) from ", 100 * duel.gain, 100 * duel.gainLow, 100 * duel.gainHigh)
        << escaped(changesText(record.standard, duel.first, record.cuda(), flags.templatesDir)) << " to "
        << escaped(changesText(record.standard, duel.second, record.cuda(), flags.templatesDir));
  if (std::string stale = staleReason(record.stamp, now); !stale.empty())
    out << "; stale: " << stale;
  out << "  [" << set.placeOf(item) << "]\n";
}

static void showGroup(raw_ostream &out, const TuneSet &set, const TuneGroup &group, const TuneDbFlags &flags,
                      const TuneStamp &now) {
  out << group.stage.layer << " " << group.stage.name << ": " << shapeText(group.stage) << "; " << group.target
      << " on " << machineText(group.machine, group.cuda()) << "\n";
  std::map<ClassKey, std::vector<size_t>> classes;
  for (size_t item : group.items) {
    const TuneRecord &r = set.items[item].record;
    classes[{r.rows.first, r.rows.last, r.threads, r.routing, r.standard}].push_back(item);
  }
  for (auto &[key, items] : classes) {
    std::sort(items.begin(), items.end(), [&](size_t a, size_t b) {
      return std::make_pair(orderOf(set.items[a].record), a) < std::make_pair(orderOf(set.items[b].record), b);
    });
    out << (group.cuda() ? "tokens " : "rows ") << classText({key.first, key.last}) << ", " << key.threads
        << (key.threads == 1 ? " thread, " : " threads, ") << key.routing << "; default " << key.standard << "\n";
    for (size_t item : items)
      showRecord(out, set, item, flags, now);
  }
}

int tuneDbShow(Session &session, const TuneDbFlags &flags) {
  TuneSet set;
  if (int code = loadRecords(session, flags, set))
    return code;
  TuneStamp now = currentStamp(moecVersion());
  std::vector<TuneGroup> all = groupRecords(set, now), groups;
  copy_if(all, std::back_inserter(groups), [&](const TuneGroup &group) { return wanted(group, flags); });
  std::set<std::string> names, allNames;
  for (const TuneGroup &group : groups)
    names.insert(group.stage.name);
  for (const TuneGroup &group : all)
    allNames.insert(group.stage.name);
  if (groups.empty())
    return fail(session, "E-RECORD", "the files have no such record",
                allNames.empty() ? "they have no record at all" : "they have stages " + join(allNames, ", "));
  if (names.size() > 1)
    return fail(session, "E-USAGE", "the files have records of several stages",
                "choose one with --stage: " + join(names, ", "));
  if (flags.json) {
    showJson(session.out, set, groups);
    return ExitDone;
  }
  for (const TuneGroup &group : groups) {
    if (&group != &groups.front())
      session.out << "\n";
    showGroup(session.out, set, group, flags, now);
  }
  return ExitDone;
}

} // namespace moec
