// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Counting.

#include "codegen/tune/TuneSummary.h"

#include <map>

namespace moec {

static void count(TuneGroup &group, const TuneRecord &record, const TuneStamp &now) {
  group.stale += !staleReason(record.stamp, now).empty();
  if (record.kind == TuneRecord::Choice) {
    ++group.choices;
    group.tuned += !record.keepsDefault();
    return;
  }
  group.ok += record.result == TuneResult::Ok;
  group.wrong += record.result == TuneResult::Wrong;
  group.failed += record.result == TuneResult::Failed;
  group.timeout += record.result == TuneResult::Timeout;
}

std::vector<TuneGroup> groupRecords(const TuneSet &set, const TuneStamp &now) {
  std::vector<TuneGroup> groups;
  std::map<std::string, size_t> known;
  for (size_t i = 0; i < set.items.size(); ++i) {
    const TuneRecord &record = set.items[i].record;
    std::string key = record.stage.layer + "\n" + record.stage.name + "\n" + shapeText(record.stage) + "\n" +
                      record.target + "\n" + machineKey(record.machine, record.cuda());
    auto [found, added] = known.try_emplace(key, groups.size());
    if (added) {
      groups.emplace_back();
      groups.back().stage = record.stage;
      groups.back().target = record.target;
      groups.back().machine = record.machine;
    }
    TuneGroup &group = groups[found->second];
    group.items.push_back(i);
    count(group, record, now);
  }
  return groups;
}

} // namespace moec
