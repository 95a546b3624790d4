// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec tunedb merge, prune and export: files of records -> other files.

#include "TuneDb.h"

#include "Supervisor.h"
#include "TextOutput.h"

#include "codegen/StagingPath.h"
#include "codegen/emit/Manifest.h"
#include "codegen/tune/TuneCandidate.h"
#include "codegen/tune/TunePrune.h"
#include "codegen/tune/TuneSchedule.h"
#include "codegen/tune/TuneSummary.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"

#include <map>
#include <set>
#include <unistd.h>

using namespace llvm;

namespace moec {

// replaceTuneFile that leaves nothing beside the file if the run is interrupted.
static Result<> replaceOwned(const std::string &path,
                             function_ref<Result<std::string>(const std::string &content)> change) {
  std::string staging = stagingPathOf(path);
  ownStaging(staging, path);
  Result<> replaced = replaceTuneFile(path, change, staging);
  releaseStaging();
  return replaced;
}

// ---- merge -------------------------------------------------------------------------------------------------------

int tuneDbMerge(Session &session, const TuneDbFlags &flags) {
  if (flags.output.empty())
    return fail(session, "E-USAGE", "-o is required", "moec tunedb merge a.tune.jsonl b.tune.jsonl -o all.tune.jsonl");
  bool exists = sys::fs::exists(flags.output);
  auto isOutput = [&](const std::string &path) { return exists && sys::fs::equivalent(path, flags.output); };
  bool isInput = any_of(flags.files, isOutput);
  if (exists && !isInput && !flags.force)
    return fail(session, "E-EXISTS", "file " + quoteText(flags.output, 256) + " exists",
                "name it as an input too, or pass --force to replace it");
  // Read before the output is locked: two merges, each into a file that the other reads, would wait for each other.
  std::vector<std::string> texts;
  for (const std::string &path : flags.files) {
    Result<std::string> text = isOutput(path) ? Result<std::string>("") : readTuneBytes(path);
    if (!text)
      return fail(session, text.error());
    texts.push_back(std::move(*text));
  }
  TuneMerge merge;
  std::vector<Diagnostic> complaints;
  Result<> written = replaceOwned(flags.output, [&](const std::string &content) -> Result<std::string> {
    for (size_t i = 0; i < flags.files.size(); ++i) {
      // the output's content is what was read under the lock
      std::vector<Diagnostic> found = merge.add(isOutput(flags.files[i]) ? content : texts[i], flags.files[i]);
      complaints.insert(complaints.end(), found.begin(), found.end());
    }
    return merge.text();
  });
  if (!written)
    return fail(session, written.error());
  size_t skipped = complaints.size();
  complaints.resize(std::min(skipped, maxTuneComplaints));
  warnOfLines(session, complaints, skipped);
  session.out << escaped(flags.output) << ": " << merge.lines() << " records of " << flags.files.size() << " files, "
              << merge.duplicates() << " duplicates left out\n";
  return ExitDone;
}

// ---- prune -------------------------------------------------------------------------------------------------------

struct PrunedFile {
  std::string path;
  PrunedText pruned;
};

static void pruneJson(raw_ostream &out, const std::vector<PrunedFile> &files) {
  json::OStream os(out, 2);
  os.array([&] {
    for (const PrunedFile &file : files)
      os.object([&] {
        os.attribute("file", json::fixUTF8(file.path));
        os.attribute("kept", int64_t(file.pruned.kept));
        os.attributeArray("dropped", [&] {
          for (const DroppedLine &line : file.pruned.dropped)
            os.object([&] {
              os.attribute("line", int64_t(line.line));
              os.attribute("why", json::fixUTF8(line.why));
            });
        });
      });
  });
  out << "\n";
}

int tuneDbPrune(Session &session, const TuneDbFlags &flags) {
  TuneStamp now = currentStamp(moecVersion());
  for (const std::string &path : flags.files) // before the first is changed
    if (Result<std::string> text = readTuneBytes(path); !text)
      return fail(session, text.error());
  std::vector<PrunedFile> files;
  for (const std::string &path : flags.files) {
    PrunedText pruned;
    Result<> written = replaceOwned(path, [&](const std::string &content) -> Result<std::string> {
      pruned = pruneTuneText(content, now, flags.templatesDir);
      return flags.dryRun || pruned.dropped.empty() ? content : pruned.text;
    });
    if (!written)
      return fail(session, written.error());
    files.push_back({path, std::move(pruned)});
  }
  if (flags.json) {
    pruneJson(session.out, files);
    return ExitDone;
  }
  for (const auto &[path, pruned] : files) {
    session.out << escaped(path) << ": " << pruned.kept << " lines kept, " << pruned.dropped.size()
                << (flags.dryRun ? " would be dropped\n" : " dropped\n");
    for (const DroppedLine &line : pruned.dropped)
      session.out << "  line " << line.line << ": " << line.why << "\n";
  }
  return ExitDone;
}

// ---- export ------------------------------------------------------------------------------------------------------

// The machine of --machine, for each of CPU and GPU targets; this machine without the flag.
static int chooseMachine(Session &session, const TuneDbFlags &flags, const TuneSet &set, TuneMachine &machine) {
  if (flags.machine.empty()) {
    machine.cpu = thisCpu();
    machine.gpu = thisGpu();
    return ExitDone;
  }
  std::map<std::string, const TuneItem *> found;
  std::set<std::string> all;
  for (const TuneItem &item : set.items) {
    std::string text = machineText(item.record.machine, item.record.cuda());
    all.insert(text);
    if (StringRef(text).contains_insensitive(flags.machine))
      found.try_emplace(machineKey(item.record.machine, item.record.cuda()), &item);
  }
  if (found.size() != 1)
    return fail(session, "E-USAGE",
                "--machine " + quoteText(flags.machine) + " names " + std::to_string(found.size()) + " machines",
                "the files have " + join(all, "; "));
  machine = found.begin()->second->record.machine;
  return ExitDone;
}

static int chooseLayer(Session &session, const TuneDbFlags &flags, const TuneSet &set, std::string &layer) {
  std::set<std::string> layers;
  for (const TuneItem &item : set.items)
    if (item.record.kind == TuneRecord::Choice)
      layers.insert(item.record.stage.layer);
  layer = flags.layer.empty() && layers.size() == 1 ? *layers.begin() : flags.layer;
  if (layers.empty())
    return fail(session, "E-RECORD", "the files have no choice", "moec tune makes choices when it ends");
  if (layer.empty())
    return fail(session, "E-USAGE", "the files have records of several layers",
                "choose one with --layer: " + join(layers, ", "));
  if (!layers.count(layer))
    return fail(session, "E-RECORD", "the files have no choice for layer " + quoteText(layer),
                "they have " + join(layers, ", "));
  return ExitDone;
}

namespace {

// Collects the stages of one layer, and a comment for every range: which record it is, and of how near a machine.
class Exporter {
public:
  Exporter(Session &session, const TuneDbFlags &flags, const TuneSet &set, TuneMachine machine)
      : session(session), set(set) {
    query.machine = std::move(machine);
    query.now = currentStamp(moecVersion());
    query.templatesDir = flags.templatesDir;
  }

  void add(const TuneStage &stage, const std::string &target) {
    query.stage = stage;
    query.target = target;
    if (std::optional<Isa> isa = isaOfTarget(target))
      take(recordedStage(*isa, set, query), schedule.stages);
    else if (std::optional<CudaArch> arch = archOfTarget(target))
      take(recordedStage(*arch, set, query), schedule.cudaStages);
  }
  std::string text() const { return comments + printSchedule(schedule); }
  bool isEmpty() const { return schedule.stages.empty() && schedule.cudaStages.empty(); }

  Schedule schedule;

private:
  template <typename Stage> void take(Result<TunedStage<Stage>> tuned, std::vector<Stage> &stages) {
    if (!tuned) {
      warn(session, "W-TUNE", tuned.error().message + "; the stage is left out");
      return;
    }
    for (const TunedRange &range : tuned->ranges)
      comments += "# " + query.stage.name + " " + query.target + " " + classText(range.rows) + ": " +
                  originText(set, range) + "\n";
    stages.push_back(std::move(tuned->schedule));
  }

  Session &session;
  const TuneSet &set;
  TuneQuery query;
  std::string comments;
};

} // namespace

// The stages of a layer with the targets of their choices, in the order of their first choice; of several shapes of one
// stage that of the latest choice.
static std::vector<const TuneRecord *> stagesOf(const TuneSet &set, const std::string &layer,
                                                const std::vector<std::string> &targets) {
  std::vector<const TuneRecord *> stages;
  std::map<std::pair<std::string, std::string>, size_t> known;
  for (const TuneItem &item : set.items) {
    const TuneRecord &record = item.record;
    if (record.kind != TuneRecord::Choice || record.stage.layer != layer ||
        (!targets.empty() && !is_contained(targets, record.target)))
      continue;
    auto [found, added] = known.try_emplace({record.stage.name, record.target}, stages.size());
    if (added)
      stages.push_back(&record);
    else if (record.stamp.date >= stages[found->second]->stamp.date)
      stages[found->second] = &record;
  }
  return stages;
}

int tuneDbExport(Session &session, const TuneDbFlags &flags) {
  TuneSet set;
  TuneMachine machine;
  std::string layer;
  if (int code = loadRecords(session, flags, set))
    return code;
  if (int code = chooseMachine(session, flags, set, machine))
    return code;
  if (int code = chooseLayer(session, flags, set, layer))
    return code;
  Exporter exporter(session, flags, set, std::move(machine));
  exporter.schedule.layer = layer;
  for (const TuneRecord *record : stagesOf(set, layer, flags.targets))
    exporter.add(record->stage, record->target);
  if (exporter.isEmpty())
    return fail(session, "E-RECORD",
                "no stage of layer " + quoteText(layer) + " has a usable choice for all of its rows",
                "moec tunedb ls says what the files hold");
  if (flags.output.empty() || flags.output == "-") {
    session.out << exporter.text();
    return ExitDone;
  }
  return writeTextFile(session, flags.output, exporter.text(), flags.force);
}

} // namespace moec
