// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One walk from the end finds what is superseded; merging compares whole lines.

#include "codegen/tune/TunePrune.h"

#include "codegen/tune/TuneAudit.h"
#include "codegen/tune/TuneCandidate.h"

#include "dsl/text/JsonTree.h"

#include <algorithm>
#include <map>

namespace moec {

// A record of any version.
static bool isObjectWithSchema(llvm::StringRef line) {
  JsonLimits limits;
  limits.bytes = maxTuneLineBytes;
  DiagnosticList list;
  list.setSource("", line);
  std::optional<JsonTree> tree = readJson(line, limits, list);
  return tree && tree->root().kind == JsonKind::Object && tree->member(tree->root(), "schema");
}

static llvm::StringRef withoutReturn(llvm::StringRef line) { return line.rtrim('\r'); }

namespace {

class Pruner {
public:
  Pruner(llvm::StringRef text, const TuneStamp &now, llvm::StringRef templatesDir)
      : text(text), now(now), templatesDir(templatesDir) {
    set.add(readTuneText(text, ""), TuneSource::User);
    wrong.emplace(set, &now, templatesDir);
  }

  PrunedText run() {
    for (size_t i = set.items.size(); i-- > 0;)
      judge(set.items[i]);
    for (const TuneItem &item : set.items)
      isRecord.insert(item.line);
    PrunedText pruned;
    forEachTuneLine(text, [&](size_t number, llvm::StringRef line) {
      auto found = reasons.find(number);
      std::string why = found != reasons.end()                               ? found->second
                        : isRecord.count(number) || isObjectWithSchema(line) ? ""
                                                                             : "not a record";
      if (!why.empty()) {
        pruned.dropped.push_back({number, why});
        return;
      }
      pruned.text += withoutReturn(line).str() + "\n";
      ++pruned.kept;
    });
    return pruned;
  }

private:
  // Called from the last record to the first.
  void judge(const TuneItem &item) {
    const TuneRecord &record = item.record;
    if (std::string stale = staleReason(record.stamp, now); !stale.empty()) {
      reasons[item.line] = "stale: " + stale;
      return;
    }
    auto &later = answers[questionOf(record, /*withVersion=*/false)];
    for (const TuneItem *answer : later)
      if (supersedes(answer->record, record)) {
        reasons[item.line] = "superseded by line " + std::to_string(answer->line);
        return;
      }
    later.push_back(&item);
  }
  bool supersedes(const TuneRecord &later, const TuneRecord &record) const {
    if (record.kind == TuneRecord::Choice)
      return kernelExists(later) && !wrong->find(later, later.candidate);
    return record.result != TuneResult::Wrong || later.result == TuneResult::Wrong ||
           (later.result == TuneResult::Ok && later.stamp.moec != record.stamp.moec);
  }
  bool kernelExists(const TuneRecord &record) const {
    return record.cuda() ? bool(cudaCandidate(record.candidate, record.rows, templatesDir))
                         : bool(cpuCandidate(record.candidate, record.rows, templatesDir));
  }

  llvm::StringRef text;
  const TuneStamp &now;
  std::string templatesDir;
  TuneSet set;
  std::optional<WrongKernels> wrong;
  std::map<std::string, std::vector<const TuneItem *>> answers; // kept records by question, last first
  std::map<size_t, std::string> reasons;                        // why the record of a line is dropped
  std::set<size_t> isRecord;                                    // lines
};

} // namespace

PrunedText pruneTuneText(llvm::StringRef text, const TuneStamp &now, llvm::StringRef templatesDir) {
  return Pruner(text, now, templatesDir).run();
}

std::vector<Diagnostic> TuneMerge::add(llvm::StringRef text, const std::string &name) {
  std::vector<Diagnostic> complaints;
  forEachTuneLine(text, [&](size_t number, llvm::StringRef line) {
    std::string content = withoutReturn(line).str();
    if (known.count(content)) {
      ++numDuplicates;
      return;
    }
    if (!isObjectWithSchema(content)) {
      Diagnostic complaint = Diagnostic::warning("W-TUNE", "the line is not a record and is left out");
      complaint.file = name;
      complaint.line = number;
      complaint.column = 1;
      complaints.push_back(std::move(complaint));
      return;
    }
    merged += content + "\n";
    known.insert(std::move(content));
  });
  return complaints;
}

} // namespace moec
