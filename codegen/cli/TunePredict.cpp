// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Stages of every CUDA target -> lines for people, and records. What a file says already is not written again.

#include "TunePredict.h"

#include "Supervisor.h"
#include "TuneDb.h"
#include "TuneLayer.h"
#include "TuneOutput.h"
#include "TuneSkew.h"

#include "codegen/cuda/Ptxas.h"
#include "codegen/schedule/CudaSchedule.h"
#include "codegen/search/CudaRank.h"
#include "codegen/tune/TuneCandidate.h"
#include "codegen/tune/TuneStore.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"

#include <algorithm>
#include <memory>
#include <set>
#include <unistd.h>

using namespace llvm;

namespace moec {

namespace {

class Predicting {
public:
  Predicting(Session &session, const TuneFlags &flags, const SpecInput &input, const CompileOptions &options,
             const std::string &path)
      : session(session), flags(flags), input(input), options(options), path(path) {}

  int run();

private:
  int setUp();
  int rankArch(CudaArch arch);
  int rankPass(StageCompiler &pass, CudaArch arch);
  const GpuFacts &gpuFor(CudaArch arch) const { return flags.gpu.empty() ? gpuOf(arch) : *findGpu(flags.gpu); }
  int keep(const RankedRange &range);
  void print(const CudaStage &stage, const RankedRange &range);
  void writeJson();
  // A record without its date.
  static std::string answerOf(const TuneRecord &record) {
    TuneRecord undated = record;
    undated.stamp.date = "";
    return printTuneRecord(undated);
  }

  struct Row {
    std::string stage, target;
    RankedRange range;
  };

  Session &session;
  const TuneFlags &flags;
  const SpecInput &input;
  const CompileOptions &options;
  std::string path;
  CompileInput compileInput;
  std::unique_ptr<StageCompiler> compiler;
  std::unique_ptr<TuneStore> store;
  std::set<std::string> known; // answers of the file
  std::optional<Ptxas> ptxas;
  CudaRankOptions rank;
  std::vector<Row> rows;
  std::vector<std::string> fixed; // stages that have nothing to tune
  size_t written = 0, failed = 0;
};

} // namespace

int Predicting::setUp() {
  for (CudaArch arch : options.archs)
    if (gpuFor(arch).capability < int(cudaArchFacts(arch).sm))
      return fail(session, "E-USAGE", "--gpu " + std::string(gpuFor(arch).key) + " does not run " + targetOf(arch),
                  "choose another target");
  if (int code = tokenCounts(session, flags.tokens, options.maxTokens, rank.tokens))
    return code;
  std::vector<Diagnostic> errors;
  compileInput = input.compileInput();
  compiler = StageCompiler::make(compileInput, options, errors);
  if (!compiler)
    return reportCompileErrors(session, input, errors);
  rank.stamp = recordOfLayer(*compiler);
  rank.templatesDir = options.templatesDir;
  rank.otherBits = flags.compile.allowBits;
  ptxas = findPtxas();
  rank.ptxas = ptxas ? &*ptxas : nullptr;
  if (int code = readSkew(session, flags.skew, compiler->stages(), rank.routing))
    return code;
  auto isAsked = [&](const CudaStage &stage) { return flags.stage.empty() || stage.stage == flags.stage; };
  if (none_of(compiler->passes(), [&](StageCompiler *pass) { return any_of(pass->schedule().cudaStages, isAsked); }))
    return fail(session, compiler->nothingToTune(flags.stage));
  for (StageCompiler *pass : compiler->passes())
    if (flags.stage.empty())
      append_range(fixed, pass->fixedStages());
  if (access(path.c_str(), F_OK) == 0) {
    Result<TuneFile> file = loadTuneFile(path);
    if (!file)
      return fail(session, file.error());
    warnOfLines(session, file->complaints, file->skippedLines);
    for (const StoredRecord &stored : file->records)
      known.insert(answerOf(stored.record));
  }
  Result<TuneStore> opened = TuneStore::open(path);
  if (!opened)
    return fail(session, opened.error());
  store = std::make_unique<TuneStore>(std::move(*opened));
  keepsOutput(path);
  if (!ptxas)
    warn(session, "W-PTXAS",
         "ptxas was not found: registers and spills of candidates are not known, so those of their "
         "sums are assumed",
         ptxasAdvice());
  return ExitDone;
}

int Predicting::keep(const RankedRange &range) {
  for (const TuneRecord &record : range.records) {
    if (!known.insert(answerOf(record)).second)
      continue;
    if (Result<> kept = store->append(record); !kept)
      return fail(session, kept.error());
    ++written;
  }
  return ExitDone;
}

void Predicting::print(const CudaStage &stage, const RankedRange &range) {
  std::string standard = candidateText(range.standard);
  size_t bad = size_t(count_if(range.candidates, [](const RankedCandidate &c) { return !c.failed.empty(); }));
  std::string place =
      stage.stage + " " + cudaArchFacts(stage.arch).name.str() + " tokens " + tokenRangeText(range.standard);
  std::string what =
      range.changed ? changesText(standard, candidateText(range.candidates.front().entry), true, options.templatesDir)
                    : "default kept";
  session.out << left_justify(place, 44) << " " << left_justify(what, 44);
  if (range.candidates.size() > bad)
    session.out << (range.changed ? " " : " best ")
                << format("%+.1f %% predicted", 100 * range.candidates.front().times.gain);
  session.out << ", bound by " << range.bound;
  if (bad)
    session.out << "; " << bad << " spill or do not fit";
  session.out << "\n";
  session.out.flush();
}

int Predicting::rankArch(CudaArch arch) {
  rank.gpu = &gpuFor(arch);
  if (!flags.json)
    session.out << "model        " << rank.gpu->name
                << format(" (sm_%d, %d multiprocessors, %.2f TB/s, %.0f TFLOP/s bf16); nothing is measured\n",
                          rank.gpu->capability, rank.gpu->multiprocessors, rank.gpu->dramBytes * 1e-12,
                          rank.gpu->tensorFlops * 1e-12);
  for (StageCompiler *pass : compiler->passes())
    if (int code = rankPass(*pass, arch))
      return code;
  return ExitDone;
}

int Predicting::rankPass(StageCompiler &pass, CudaArch arch) {
  for (size_t step = 0; step < pass.stages().size(); ++step)
    for (const CudaStage &stage : pass.schedule().cudaStages) {
      if (stage.arch != arch || stage.stage != pass.stages()[step].name ||
          (!flags.stage.empty() && stage.stage != flags.stage))
        continue;
      Result<std::vector<RankedRange>> ranges = rankCudaStage(pass, step, stage, rank);
      if (!ranges)
        return fail(session, ranges.error().within(stage.stage));
      for (RankedRange &range : *ranges) {
        failed += size_t(count_if(range.candidates, [](const RankedCandidate &c) { return !c.failed.empty(); }));
        if (int code = keep(range))
          return code;
        if (!flags.json)
          print(stage, range);
        rows.push_back({stage.stage, targetOf(arch), std::move(range)});
      }
    }
  return ExitDone;
}

void Predicting::writeJson() {
  json::OStream json(session.out, 2);
  json.object([&] {
    json.attribute("predicted", true);
    json.attribute("records", int64_t(written));
    json.attribute("failed", int64_t(failed));
    json.attributeArray("stages_not_tuned", [&] {
      for (const std::string &stage : fixed)
        json.value(stage);
    });
    json.attributeArray("ranges", [&] {
      for (const Row &row : rows)
        json.object([&] {
          json.attribute("stage", row.stage);
          json.attribute("target", row.target);
          json.attribute("tokens", tokenRangeText(row.range.standard));
          json.attribute("default", candidateText(row.range.standard));
          json.attribute("bound", row.range.bound);
          json.attribute("changed", row.range.changed);
          json.attributeArray("candidates", [&] {
            for (const RankedCandidate &c : row.range.candidates)
              json.object([&] {
                json.attribute("kernel", candidateText(c.entry));
                json.attribute("registers", c.cost.registers);
                json.attribute("spill_bytes", c.cost.spillBytes);
                json.attribute("shared_bytes", c.cost.sharedBytes);
                json.attribute("threads", c.cost.threads);
                if (c.failed.empty()) {
                  json.attribute("us", c.times.candidate.median);
                  json.attribute("gain", c.times.gain);
                } else {
                  json.attribute("failed", json::fixUTF8(c.failed));
                }
              });
          });
        });
    });
  });
  session.out << "\n";
}

int Predicting::run() {
  enterStage("tune");
  if (int code = setUp())
    return code;
  if (!flags.json)
    printFixedStages(session.out, fixed);
  for (CudaArch arch : options.archs)
    if (int code = rankArch(arch))
      return code;
  if (flags.json) {
    writeJson();
    return ExitDone;
  }
  size_t changed = size_t(count_if(rows, [](const Row &row) { return row.range.changed; }));
  session.out << escaped(path) << ": " << written << " predictions; " << changed << " of " << rows.size()
              << (rows.size() == 1 ? " token range" : " token ranges")
              << " changed; candidates that spill, do not fit or "
              << "fail: " << failed << "\n";
  return ExitDone;
}

int predictTuning(Session &session, const TuneFlags &flags, const SpecInput &input, CompileOptions options,
                  const std::string &recordsFile) {
  // Candidates are built as kernels of a few numbers of tokens, which a plan for fewer would leave out.
  options.maxTokens = std::max<int64_t>(options.maxTokens, 4096);
  return Predicting(session, flags, input, options, recordsFile).run();
}

} // namespace moec
