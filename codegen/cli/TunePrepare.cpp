// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Candidates, the runner's source and, where a C compiler is at hand, the runner itself -> one folder.
//
// Where this machine runs the kernels, the new runner says what the defaults compute here, and bundle.json keeps it: a
// default that computes something else elsewhere is found there.

#include "TunePrepare.h"

#include "Supervisor.h"
#include "TuneLayer.h"
#include "TuneSkew.h"

#include "codegen/TemplateFiles.h"
#include "codegen/cuda/Ptxas.h"
#include "codegen/emit/PackageFolder.h"
#include "codegen/search/CudaBundle.h"
#include "codegen/search/TuneBundle.h"
#include "codegen/tune/TuneSources.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"

#include <memory>
#include <unistd.h>

using namespace llvm;

namespace moec {

namespace {

class Preparation {
public:
  Preparation(Session &session, const TuneFlags &flags, const SpecInput &input, const CompileOptions &options)
      : session(session), flags(flags), compileInput(input.compileInput()), input(input), options(options) {}

  int run();

private:
  int setUp();
  int makeForGpu(StringRef workDir);
  int writeFolder();
  Result<> writeBundle();
  bool buildRunner();
  bool cuda() const { return !options.archs.empty(); }
  // The runner for CPU kernels needs a few files of the runtime, that for a GPU all.
  bool carries(StringRef file) const;
  void askReference();
  void report(bool built);
  void hint(bool built);
  std::string path(StringRef name) const { return folder->stagingPath() + "/" + name.str(); }

  Session &session;
  const TuneFlags &flags;
  CompileInput compileInput;
  const SpecInput &input;
  const CompileOptions &options;
  std::unique_ptr<StageCompiler> compiler;
  BundleOptions bundleOptions;
  TuneBundle bundle;
  CudaBundle gpuBundle;
  std::optional<Ptxas> ptxas;
  std::unique_ptr<PackageFolder> folder;
  std::vector<std::string> sources; // of the runner: "runner/main.c"
};

} // namespace

int Preparation::setUp() {
  std::vector<int64_t> tokens;
  if (int code = tokenCounts(session, flags.tokens, options.maxTokens, tokens))
    return code;
  std::vector<Diagnostic> errors;
  compiler = StageCompiler::make(compileInput, options, errors);
  if (!compiler)
    return reportCompileErrors(session, input, errors);
  bundleOptions.stamp = recordOfLayer(*compiler);
  bundleOptions.tokens = std::move(tokens);
  bundleOptions.stage = flags.stage;
  bundleOptions.jobs = options.jobs;
  bundleOptions.space = candidateSpace(options.templatesDir, flags.compile.allowBits);
  if (isatty(2) && !session.quiet)
    bundleOptions.progress = [this](size_t done, size_t ranges) {
      session.err << "\r  " << done << " of " << ranges << " row ranges built" << (done == ranges ? "\n" : "");
      session.err.flush();
    };
  return readSkew(session, flags.skew, compiler->stages(), bundleOptions.routing);
}

// What is in the way is a folder of ours or not: in either case it may hold records.
static Diagnostic inTheWay(Diagnostic error) {
  if (error.code == "E-EXISTS" || error.code == "E-SYMLINK")
    error.hint = "name a new folder after --prepare";
  return error;
}

Result<> Preparation::writeBundle() {
  std::string name = "bundle.json";
  sys::fs::remove(path(name)); // the one without references
  return folder->write({{name, bundleText(bundle, bundleOptions)}});
}

bool Preparation::carries(StringRef file) const {
  static constexpr StringLiteral few[] = {"runtime/cpu_features.c",
                                          "runtime/cpu_features.h",
                                          "runtime/moec.h",
                                          "runtime/moec_abi.h",
                                          "runtime/moec_dtype.h",
                                          "runtime/status.c",
                                          "runtime/status.h",
                                          "runtime/weights/float_convert.h",
                                          "runtime/weights/huge_pages.c",
                                          "runtime/weights/huge_pages.h",
                                          "runtime/weights/json_reader.c",
                                          "runtime/weights/json_reader.h"};
  return (file.starts_with("runner/") && (cuda() || !file.starts_with("runner/cuda/"))) ||
         (file.starts_with("runtime/") && (cuda() || is_contained(few, file)));
}

int Preparation::makeForGpu(StringRef workDir) {
  const LaunchPlan &plan = compiler->plan();
  for (const moec_buffer &buffer : plan.buffers)
    if (buffer.kind == MOEC_BUFFER_INPUT && buffer.role != MOEC_ROLE_X)
      return fail(session, "E-UNSUPPORTED",
                  "--prepare makes bundles for CUDA targets of layers that read x alone; this one reads " +
                      plan.string(buffer.name).str() + " as well",
                  "CPU targets have no such limit");
  if (bundleOptions.routing.name != "uniform")
    return fail(session, "E-UNSUPPORTED",
                "--prepare for CUDA targets knows uniform routing only: its runner calls the layer with random x",
                "leave out --skew, or prepare for a CPU target");
  CudaBundleOptions own;
  own.rank.stamp = bundleOptions.stamp;
  own.rank.routing = bundleOptions.routing;
  own.rank.tokens = bundleOptions.tokens;
  own.rank.templatesDir = options.templatesDir;
  own.rank.otherBits = flags.compile.allowBits;
  ptxas = findPtxas();
  own.rank.ptxas = ptxas ? &*ptxas : nullptr;
  own.rank.gpu = flags.gpu.empty() ? nullptr : findGpu(flags.gpu);
  own.stage = flags.stage;
  if (isatty(2) && !session.quiet)
    own.progress = [this](size_t packages) {
      session.err << "\r  " << packages << " packages built ";
      session.err.flush();
    };
  Result<CudaBundle> made = makeCudaBundle(*compiler, compileInput, options, own, workDir);
  if (!made)
    return fail(session, made.error());
  gpuBundle = std::move(*made);
  bundle.layer = bundleOptions.stamp.stage.layer;
  return ExitDone;
}

int Preparation::writeFolder() {
  std::vector<PackageFile> files = std::move(gpuBundle.files);
  for (unsigned i = 0; i < numEmbeddedTemplates; ++i) {
    StringRef file = embeddedTemplates[i].path;
    if (!carries(file))
      continue;
    files.push_back({file == "runner/README.txt" ? "README.txt" : file.str(), embeddedTemplates[i].text});
    if (file.ends_with(".c"))
      sources.push_back(file.str());
  }
  for (BundleStage &stage : bundle.stages)
    for (BundleRange &range : stage.ranges)
      files.push_back(range.library);
  if (Result<> written = folder->write(files); !written)
    return fail(session, written.error());
  if (Result<> written = cuda() ? Result<>() : writeBundle(); !written)
    return fail(session, written.error());
  return ExitDone;
}

// Runs a program, its stdout into `out`. False: it failed.
static bool runProgram(const std::string &program, const std::vector<std::string> &words, const std::string &out) {
  std::vector<StringRef> args(words.begin(), words.end());
  std::optional<StringRef> redirects[] = {StringRef(), StringRef(out), StringRef()};
  return sys::ExecuteAndWait(program, args, std::nullopt, redirects) == 0;
}

// As README.txt says.
bool Preparation::buildRunner() {
  for (StringRef name : {"cc", "gcc", "clang", "clang-22"}) {
    ErrorOr<std::string> compilerPath = sys::findProgramByName(name);
    if (!compilerPath)
      continue;
    std::vector<std::string> words = {*compilerPath,   "-std=gnu11", "-O2",      "-ffp-contract=off",
                                      "-I" + path(""), "-o",         path("run")};
    if (cuda())
      words.insert(words.end(), {"-DRUNNER_CUDA", "-I" + path("runtime")});
    for (const std::string &source : sources)
      words.push_back(path(source));
    words.insert(words.end(), {"-ldl", "-lm", "-lpthread"});
    if (runProgram(*compilerPath, words, path("link/cc.log")))
      return true;
  }
  return false;
}

void Preparation::askReference() {
  std::string file = path("link/reference");
  // Its exit code does not matter: stages whose instructions this machine lacks print nothing.
  runProgram(path("run"), {path("run"), folder->stagingPath(), "--reference"}, file);
  auto buffer = MemoryBuffer::getFile(file);
  if (!buffer)
    return;
  SmallVector<StringRef> lines;
  (*buffer)->getBuffer().split(lines, '\n', -1, false);
  for (StringRef line : lines) {
    auto [library, hash] = line.split(' ');
    for (BundleStage &stage : bundle.stages)
      for (BundleRange &range : stage.ranges)
        if (range.library.path == library)
          range.reference = hash.str();
  }
}

void Preparation::report(bool built) {
  if (cuda()) {
    session.out << escaped(flags.prepare) << ": " << gpuBundle.ranges
                << (gpuBundle.ranges == 1 ? " token range, " : " token ranges, ") << gpuBundle.candidates
                << " candidates, a package each\n";
    return hint(built);
  }
  size_t known = 0;
  for (const BundleStage &stage : bundle.stages)
    for (const BundleRange &range : stage.ranges)
      known += !range.reference.empty();
  session.out << escaped(flags.prepare) << ": " << bundle.stages.size()
              << (bundle.stages.size() == 1 ? " stage, " : " stages, ") << bundle.numRanges()
              << (bundle.numRanges() == 1 ? " row range, " : " row ranges, ") << bundle.numCandidates()
              << " candidates";
  if (size_t failed = bundle.numFailed())
    session.out << ", " << failed << " more that cannot be built";
  session.out << "; the defaults of " << known << " compared here\n";
  hint(built);
}

void Preparation::hint(bool built) {
  if (session.quiet)
    return;
  if (!built)
    session.err << "  no C compiler found: build the runner on the other machine, README.txt says how\n";
  session.err << "  there: ./run --budget 10m\n  here:  moec tunedb merge " << bundle.layer << ".tune.jsonl "
              << escaped(projectTuneFile(flags.spec)) << " -o " << escaped(projectTuneFile(flags.spec)) << "\n";
}

int Preparation::run() {
  enterStage("tune");
  if (Result<> free = PackageFolder::check(flags.prepare, PackageFolder::Existing::Refuse); !free)
    return fail(session, inTheWay(free.error()));
  if (int code = setUp())
    return code;
  Result<std::unique_ptr<PackageFolder>> staged = PackageFolder::stage(flags.prepare, PackageFolder::Existing::Refuse);
  if (!staged)
    return fail(session, inTheWay(staged.error()));
  folder = std::move(*staged);
  ownStaging(folder->stagingPath(), flags.prepare);
  Result<std::string> workDir = folder->workDir();
  if (!workDir)
    return fail(session, workDir.error());
  if (cuda()) {
    if (int code = makeForGpu(*workDir))
      return code;
  } else {
    Result<TuneBundle> made = makeBundle(*compiler, bundleOptions, *workDir);
    if (!made)
      return fail(session, made.error());
    bundle = std::move(*made);
  }
  if (int code = writeFolder())
    return code;
  bool built = buildRunner();
  if (built && !cuda()) {
    askReference();
    if (Result<> written = writeBundle(); !written)
      return fail(session, written.error());
  }
  if (Result<> committed = folder->commit(); !committed)
    return fail(session, inTheWay(committed.error()));
  releaseStaging();
  report(built);
  return ExitDone;
}

int prepareTuning(Session &session, const TuneFlags &flags, const SpecInput &input, CompileOptions options) {
  if (!options.archs.empty()) // as predictTuning
    options.maxTokens = std::max<int64_t>(options.maxTokens, 4096);
  return Preparation(session, flags, input, options).run();
}

} // namespace moec
