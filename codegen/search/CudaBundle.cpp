// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every package is compiled from the printed schedule of the layer with one entry replaced.

#include "codegen/search/CudaBundle.h"

#include "codegen/emit/PackageLibrary.h"
#include "codegen/search/BundleText.h"
#include "codegen/search/CudaCandidates.h"
#include "codegen/tune/TuneCandidate.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>

using namespace llvm;

namespace moec {

namespace {

class CudaBundleMaker {
public:
  CudaBundleMaker(StageCompiler &compiler, const CompileInput &input, const CompileOptions &options,
                  const CudaBundleOptions &bundle, StringRef workDir)
      : compiler(compiler), input(input), options(options), bundle(bundle), workDir(workDir), json(stream, 1) {}

  Result<CudaBundle> run() {
    Result<> made;
    bool any = false;
    json.object([&] {
      writeBundleHead(json, bundle.rank.stamp, bundle.minimumGain);
      json.attributeArray("calls", [&] {
        for (StageCompiler *pass : compiler.passes())
          for (size_t step = 0; step < pass->stages().size() && made; ++step)
            for (const CudaStage &stage : pass->schedule().cudaStages)
              if (made && stage.stage == pass->stages()[step].name &&
                  (bundle.stage.empty() || bundle.stage == stage.stage)) {
                any = true;
                made = addStage(*pass, step, stage);
              }
      });
    });
    if (!made)
      return made.takeError();
    if (!any)
      return compiler.nothingToTune(bundle.stage);
    out.files.push_back({"bundle.json", text + "\n"});
    return std::move(out);
  }

private:
  Result<> addStage(StageCompiler &pass, size_t step, const CudaStage &stage) {
    CudaRankOptions rank = bundle.rank;
    rank.gpu = rank.gpu ? rank.gpu : &gpuOf(stage.arch);
    rank.built = std::max(rank.built, bundle.candidates);
    Result<std::vector<RankedRange>> ranges = rankCudaStage(pass, step, stage, rank);
    if (!ranges)
      return ranges.takeError();
    for (RankedRange &range : *ranges)
      if (Result<> added = addRange(pass, step, stage, range); !added)
        return added;
    return {};
  }

  Result<> addRange(StageCompiler &pass, size_t step, const CudaStage &stage, const RankedRange &range) {
    std::vector<CudaEntry> entries = {range.standard};
    for (const RankedCandidate &candidate : range.candidates)
      if (candidate.failed.empty() && entries.size() <= bundle.candidates)
        entries.push_back(candidate.entry);
    if (entries.size() < 2)
      return {};
    std::vector<PackageFile> libraries;
    for (const CudaEntry &entry : entries) {
      Result<PackageFile> library = packageOf(stage, entry);
      if (!library)
        return library.takeError();
      libraries.push_back(std::move(*library));
    }
    ++out.ranges;
    out.candidates += entries.size() - 1;
    write(pass, step, stage, range, entries, libraries);
    return {};
  }

  // Of both passes, as a package has it.
  Schedule scheduleOfAll() {
    Schedule all = compiler.schedule();
    all.stages.clear();
    all.cudaStages.clear();
    for (StageCompiler *pass : compiler.passes())
      llvm::append_range(all.cudaStages, pass->schedule().cudaStages);
    return all;
  }

  // The default's is shared by all ranges.
  Result<PackageFile> packageOf(const CudaStage &stage, const CudaEntry &entry) {
    Schedule schedule = scheduleOfAll();
    std::string name = "default";
    for (CudaStage &own : schedule.cudaStages)
      if (own.stage == stage.stage && own.arch == stage.arch)
        for (CudaEntry &other : own.entries)
          if (other.firstToken == entry.firstToken && candidateText(other) != candidateText(entry)) {
            other.kernel = entry.kernel;
            name = "candidate_" + std::to_string(++packages);
          }
    std::string path = "kernels/" + name + ".so";
    for (const PackageFile &file : out.files)
      if (file.path == path)
        return file;
    CompileOptions own = options;
    own.isas = IsaSet{};
    own.scheduleText = printSchedule(schedule);
    own.scheduleName = "of a candidate";
    own.tuning = nullptr;
    own.progress = nullptr;
    std::vector<Diagnostic> errors;
    std::unique_ptr<CompiledPackage> package = compileLayer(input, own, errors);
    if (!package)
      return errors.empty() ? Diagnostic::error("E-INTERNAL", "a candidate's package was not made") : errors.front();
    Result<std::string> bytes = sharedLibraryBytes(*package, LibraryContents::Kernels, workDir);
    if (!bytes)
      return bytes.takeError();
    out.files.push_back({path, std::move(*bytes)});
    if (bundle.progress)
      bundle.progress(out.files.size());
    return out.files.back();
  }

  void write(StageCompiler &pass, size_t step, const CudaStage &stage, const RankedRange &range,
             const std::vector<CudaEntry> &entries, const std::vector<PackageFile> &libraries) {
    TuneRecord record = bundle.rank.stamp;
    record.stage = tuneStageOf(pass.stages()[step], bundle.rank.stamp.stage.spec, bundle.rank.stamp.stage.layer);
    record.target = targetOf(stage.arch);
    record.rows = {range.standard.firstToken, range.standard.lastToken};
    record.routing = bundle.rank.routing.name;
    record.machine = {};
    json.object([&] {
      json.attribute("stage", stage.stage);
      json.attribute("pass", &pass == &compiler ? "forward" : "backward");
      json.attribute("target", record.target);
      json.attribute("sm", cudaArchFacts(stage.arch).sm);
      json.attribute("exact", cudaArchFacts(stage.arch).exact);
      json.attribute("class", classText(record.rows));
      json.attributeArray("tokens", [&] {
        for (int64_t t : bundle.rank.tokens)
          if (record.rows.has(t))
            json.value(t);
      });
      writeRecordHeads(json, record);
      json.attributeArray("candidates", [&] {
        for (size_t i = 0; i < entries.size(); ++i)
          json.object([&] {
            std::string kernel = candidateText(entries[i]);
            json.attribute("kernel", kernel);
            if (std::string hash = overlayHash(kernel, /*cuda=*/true, options.templatesDir); !hash.empty())
              json.attribute("template", hash);
            json.attribute("changes",
                           changesText(candidateText(entries[0]), kernel, /*cuda=*/true, options.templatesDir));
            json.attribute("same_bits", haveSameCudaBits(entries[i], entries[0]));
            json.attribute("library", libraries[i].path);
            json.attribute("library_bytes", int64_t(libraries[i].bytes.size()));
            json.attribute("library_hash", bundleHash(libraries[i].bytes));
          });
      });
    });
  }

  StageCompiler &compiler;
  const CompileInput &input;
  const CompileOptions &options;
  const CudaBundleOptions &bundle;
  StringRef workDir;
  std::string text;
  raw_string_ostream stream{text};
  json::OStream json;
  CudaBundle out;
  size_t packages = 0;
};

} // namespace

Result<CudaBundle> makeCudaBundle(StageCompiler &compiler, const CompileInput &input, const CompileOptions &options,
                                  const CudaBundleOptions &bundle, StringRef workDir) {
  return CudaBundleMaker(compiler, input, options, bundle, workDir).run();
}

} // namespace moec
