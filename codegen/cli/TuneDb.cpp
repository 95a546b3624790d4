// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec tunedb: the command line of its verbs, and ls and verify.

#include "TuneDb.h"

#include "Verbs.h"

#include "codegen/Target.h"
#include "codegen/emit/Manifest.h"
#include "codegen/tune/TuneAudit.h"
#include "codegen/tune/TuneSummary.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/JSON.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <algorithm>
#include <memory>

using namespace llvm;

namespace moec {

void warnOfLines(Session &session, const std::vector<Diagnostic> &complaints, size_t skippedLines) {
  for (const Diagnostic &complaint : complaints)
    warn(session, complaint.code, complaint.placedMessage());
  if (skippedLines > complaints.size())
    warn(session, "W-TUNE", std::to_string(skippedLines - complaints.size()) + " more lines are not records");
}

int loadRecords(Session &session, const TuneDbFlags &flags, TuneSet &set) {
  Result<TuneSet> loaded = loadTuneSet(flags.files, "", flags.shipped);
  if (!loaded)
    return fail(session, loaded.error());
  set = std::move(*loaded);
  warnOfLines(session, set.complaints, set.skippedLines);
  return ExitDone;
}

// ---- ls ----------------------------------------------------------------------------------------------------------

// Cells below each other; texts to the left, what begins with a digit to the right.
static void printTable(raw_ostream &out, const std::vector<std::vector<std::string>> &rows, size_t numTexts) {
  std::vector<size_t> widths;
  for (const auto &row : rows)
    for (size_t i = 0; i < row.size(); ++i) {
      widths.resize(std::max(widths.size(), row.size()));
      widths[i] = std::max(widths[i], row[i].size());
    }
  for (const auto &row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      std::string space(widths[i] - row[i].size(), ' ');
      line += (i ? "  " : "") + (i < numTexts ? row[i] + space : space + row[i]);
    }
    out << StringRef(line).rtrim() << "\n";
  }
}

static void writeMachine(json::OStream &os, const TuneGroup &group) {
  os.attribute("machine", json::fixUTF8(machineText(group.machine, group.cuda())));
}

static void listJson(raw_ostream &out, const std::vector<TuneGroup> &groups) {
  json::OStream os(out, 2);
  os.array([&] {
    for (const TuneGroup &group : groups)
      os.object([&] {
        os.attribute("layer", group.stage.layer);
        os.attribute("stage", group.stage.name);
        os.attribute("shape", shapeText(group.stage));
        os.attribute("target", group.target);
        writeMachine(os, group);
        os.attribute("ok", int64_t(group.ok));
        os.attribute("wrong", int64_t(group.wrong));
        os.attribute("failed", int64_t(group.failed));
        os.attribute("timeout", int64_t(group.timeout));
        os.attribute("choices", int64_t(group.choices));
        os.attribute("tuned", int64_t(group.tuned));
        os.attribute("stale", int64_t(group.stale));
      });
  });
  out << "\n";
}

int tuneDbList(Session &session, const TuneDbFlags &flags) {
  TuneSet set;
  if (int code = loadRecords(session, flags, set))
    return code;
  std::vector<TuneGroup> groups = groupRecords(set, currentStamp(moecVersion()));
  if (flags.json) {
    listJson(session.out, groups);
    return ExitDone;
  }
  std::vector<std::vector<std::string>> rows = {{"layer", "stage", "target", "machine", "shape", "ok", "wrong",
                                                 "failed", "timeout", "choices", "tuned", "stale"}};
  for (const TuneGroup &group : groups) {
    rows.push_back({group.stage.layer, group.stage.name, group.target, machineText(group.machine, group.cuda()),
                    shapeText(group.stage)});
    for (size_t count : {group.ok, group.wrong, group.failed, group.timeout, group.choices, group.tuned, group.stale})
      rows.back().push_back(std::to_string(count));
  }
  printTable(session.out, rows, 5);
  return ExitDone;
}

// ---- verify ------------------------------------------------------------------------------------------------------

static void verifyJson(raw_ostream &out, size_t numRecords, const std::vector<Diagnostic> &problems,
                       size_t numProblems) {
  json::OStream os(out, 2);
  os.object([&] {
    os.attribute("records", int64_t(numRecords));
    os.attribute("num_problems", int64_t(numProblems));
    os.attributeArray("problems", [&] {
      for (const Diagnostic &problem : problems)
        os.object([&] {
          os.attribute("file", json::fixUTF8(problem.file));
          os.attribute("line", int64_t(problem.line));
          os.attribute("column", int64_t(problem.column));
          os.attribute("message", json::fixUTF8(problem.message));
        });
    });
  });
  out << "\n";
}

int tuneDbVerify(Session &session, const TuneDbFlags &flags) {
  Result<TuneSet> set = loadTuneSet(flags.files, "", flags.shipped);
  if (!set)
    return fail(session, set.error());
  std::vector<Diagnostic> problems = set->complaints;
  for (Diagnostic &problem : problems)
    problem.severity = Severity::Error, problem.code = "E-TUNE";
  size_t notListed = set->skippedLines - problems.size();
  std::vector<Diagnostic> inconsistent = auditRecords(*set, flags.templatesDir);
  problems.insert(problems.end(), inconsistent.begin(), inconsistent.end());
  auto fileOf = [&](const Diagnostic &problem) { return llvm::find(set->files, problem.file); };
  std::sort(problems.begin(), problems.end(), [&](const Diagnostic &a, const Diagnostic &b) {
    return std::make_pair(fileOf(a), a.line) < std::make_pair(fileOf(b), b.line);
  });
  size_t numProblems = problems.size() + notListed;
  if (flags.json) {
    verifyJson(session.out, set->items.size(), problems, numProblems);
    return numProblems ? ExitCheckFailed : ExitDone;
  }
  size_t numListed = std::min(problems.size(), DiagnosticList::maxDiagnostics);
  for (size_t i = 0; i < numListed; ++i)
    fail(session, problems[i]);
  if (numListed < numProblems)
    fail(session, "E-TUNE", std::to_string(numProblems - numListed) + " more problems are not listed");
  if (!session.quiet)
    session.out << set->items.size() << " records, "
                << (numProblems ? std::to_string(numProblems) + " problems" : std::string("all consistent")) << "\n";
  return numProblems ? ExitCheckFailed : ExitDone;
}

// ---- the command line --------------------------------------------------------------------------------------------

namespace {

using TuneDbBody = int (*)(Session &, const TuneDbFlags &);

struct SubVerb {
  CLI::App *command;
  TuneDbBody body;
};

class CommandLine {
public:
  CommandLine(CLI::App &verb, TuneDbFlags &flags, std::vector<SubVerb> &verbs)
      : verb(verb), flags(flags), verbs(verbs) {}

  CLI::App &add(const char *name, const char *what, TuneDbBody body, bool needsFiles = true) {
    CLI::App *sub = verb.add_subcommand(name, what);
    CLI::Option *files = sub->add_option("FILE", flags.files, "files of records, *.tune.jsonl")->expected(-1);
    if (needsFiles)
      files->required();
    verbs.push_back({sub, body});
    return *sub;
  }
  void json(CLI::App &sub) { sub.add_flag("--json", flags.json, "one JSON document on stdout"); }
  void shipped(CLI::App &sub) { sub.add_flag("--shipped", flags.shipped, "also the records that moec brings along"); }
  void templates(CLI::App &sub) {
    sub.add_option("--templates", flags.templatesDir, "folder of kernel templates laid over the built-in ones")
        ->type_name("DIR");
  }
  void target(CLI::App &sub) {
    sub.add_option("--target", flags.targets, "instruction sets and architectures: cpu:avx512,cuda:sm_90a")
        ->delimiter(',')
        ->type_name("LIST");
  }
  void output(CLI::App &sub, const char *what) {
    sub.add_option("-o,--output", flags.output, what)->type_name("FILE");
    sub.add_flag("--force", flags.force, "replace the file");
  }

private:
  CLI::App &verb;
  TuneDbFlags &flags;
  std::vector<SubVerb> &verbs;
};

} // namespace

static int checkFlags(Session &session, const TuneDbFlags &flags) {
  std::vector<std::string> names = targetNames();
  for (const std::string &target : flags.targets)
    if (!is_contained(names, target) || target == "cpu" || target == "cuda") {
      erase_if(names, [](const std::string &name) { return name == "cpu" || name == "cuda"; });
      return fail(session, "E-USAGE", "--target " + quoteText(target) + " is not one instruction set or architecture",
                  "one of " + join(names, ", "));
    }
  return ExitDone;
}

Verb addTuneDb(CLI::App &app) {
  auto flags = std::make_shared<TuneDbFlags>();
  auto verbs = std::make_shared<std::vector<SubVerb>>();
  CLI::App *verb = app.add_subcommand("tunedb", "list, merge, check and use files of tuning records");
  verb->require_subcommand(1);
  CommandLine line(*verb, *flags, *verbs);
  CLI::App &list = line.add("ls", "a line per stage, target and machine", tuneDbList, /*needsFiles=*/false);
  line.json(list);
  line.shipped(list);
  CLI::App &show = line.add("show", "every record of a stage", tuneDbShow, /*needsFiles=*/false);
  show.add_option("--stage", flags->stage, "name of the stage; needed if the files have several")->type_name("NAME");
  show.add_option("--layer", flags->layer, "records of this layer alone")->type_name("NAME");
  line.target(show);
  line.templates(show);
  line.json(show);
  line.shipped(show);
  CLI::App &merge = line.add("merge", "several files into one, equal lines once", tuneDbMerge);
  line.output(merge, "file to write; it may be one of the inputs");
  CLI::App &exported = line.add("export", "what was chosen, as a schedule", tuneDbExport, /*needsFiles=*/false);
  exported.add_option("--layer", flags->layer, "name of the layer; needed if the files have several")
      ->type_name("NAME");
  exported.add_option("--machine", flags->machine, "part of the machine's name in ls; default: this machine")
      ->type_name("TEXT");
  line.target(exported);
  line.output(exported, "file to write; default: stdout");
  line.templates(exported);
  line.shipped(exported);
  CLI::App &prune = line.add("prune", "drop what is stale or superseded, in place", tuneDbPrune);
  prune.add_flag("--dry-run", flags->dryRun, "only say what would be dropped");
  line.templates(prune);
  line.json(prune);
  CLI::App &verify = line.add("verify", "check every line; exit 1 if one is wrong", tuneDbVerify, /*needsFiles=*/false);
  line.templates(verify);
  line.json(verify);
  line.shipped(verify);
  return {verb, [flags, verbs](Session &session) {
            for (const SubVerb &sub : *verbs)
              if (sub.command->parsed()) {
                if (flags->files.empty() && !flags->shipped)
                  return fail(session, "E-USAGE", "FILE is required",
                              "moec tunedb " + sub.command->get_name() + " layer.tune.jsonl");
                if (int code = checkFlags(session, *flags))
                  return code;
                return sub.body(session, *flags);
              }
            return fail(session, "E-USAGE", "no verb of moec tunedb was named", "moec tunedb --help lists them");
          }};
}

} // namespace moec
