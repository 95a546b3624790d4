// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Compile flags and a spec in -> a compiled package out.

#include "CompileFlags.h"

#include "ScheduleInput.h"
#include "Supervisor.h"
#include "TuneDb.h"
#include "codegen/check/TokenRange.h"
#include "codegen/tune/TuneSources.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <optional>
#include <sys/stat.h>

using namespace llvm;

namespace moec {

void addCompileFlags(CLI::App &verb, CompileFlags &flags) {
  verb.add_option("--target", flags.targets,
                  "cpu (all instruction sets in one library), cpu:amx, cpu:avx512_bf16, cpu:avx512, cpu:avx2, "
                  "cpu:baseline, cuda (both), cuda:sm_90a, cuda:sm_80; repeatable, or a "
                  "comma list")
      ->delimiter(',')
      ->type_name("TARGET");
  verb.add_option("--max-tokens", flags.maxTokens, "largest T of a call; 1-T is another way to write it")
      ->transform([](std::string text) { return llvm::StringRef(text).starts_with("1-") ? text.substr(2) : text; })
      ->check(CLI::Range(int64_t(1), int64_t(1) << 24))
      ->capture_default_str();
  verb.add_option("--workspace-limit", flags.workspaceLimit,
                  "largest workspace of a call on one thread, as 64MiB; larger calls run in chunks of tokens (CPU)")
      ->type_name("BYTES");
  verb.add_option("--schedule", flags.scheduleFile, "schedule to use, in the form moec explain prints")
      ->type_name("FILE");
  verb.add_option("--tuning", flags.tuning,
                  "records of `moec tune` to use besides SPEC.tune.jsonl and those that ship with moec; none: "
                  "heuristics alone")
      ->delimiter(',')
      ->type_name("FILE");
  verb.add_flag("--allow-bits", flags.allowBits, "also kernels of tuning that change a result's bits");
  addSpecFlags(verb, flags);
  verb.add_option("--math", flags.math,
                  "tf32: CUDA kernels may round f32 operands to tf32 and use tensor cores; routing "
                  "stays exact")
      ->check(CLI::IsMember({"exact", "tf32"}))
      ->capture_default_str();
  verb.add_option("--det", flags.determinism,
                  "what repeats: run, bits from run to run; off, CUDA kernels may add a token's "
                  "rows in any order; batch, CPU: a row's bits do not depend on the others")
      ->check(CLI::IsMember({"off", "run", "batch"}))
      ->capture_default_str();
  verb.add_option("--jobs", flags.jobs, "instruction sets and CUDA architectures compiled at a time")
      ->check(CLI::Range(1u, 64u))
      ->capture_default_str();
}

// "64MiB", "1.5GiB", "4096". Nullopt: it is not a number of bytes.
static std::optional<int64_t> bytesOf(StringRef text) {
  double number, unit = text.consume_back("GiB")   ? 1 << 30
                        : text.consume_back("MiB") ? 1 << 20
                        : text.consume_back("KiB") ? 1 << 10
                                                   : 1;
  if (text.getAsDouble(number) || !(number > 0) || number * unit > 1e15)
    return std::nullopt;
  return int64_t(number * unit);
}

static int parseTargets(Session &session, const std::vector<std::string> &targets, CompileOptions &options) {
  options.isas = IsaSet{};
  for (const std::string &target : targets)
    if (!parseTarget(target, options.isas) && !parseTarget(target, options.archs))
      return fail(session, "E-USAGE", "unknown target " + quoteText(target),
                  "targets are " + join(targetNames(), ", "));
  return ExitDone;
}

int compileOptions(Session &session, const CompileFlags &flags, CompileOptions &options) {
  if (int code = parseTargets(session, flags.targets, options))
    return code;
  if (flags.determinism == "batch" && !options.archs.empty())
    return fail(session, "E-UNSUPPORTED",
                "--det batch is not built for CUDA: kernels for few and for many tokens add the products of a row in "
                "different orders",
                "--det run repeats bits from run to run for equal calls; cpu targets have --det batch");
  options.math = flags.math == "tf32" ? MathMode::Tf32 : MathMode::Exact;
  options.determinism = flags.determinism == "off"     ? Determinism::Off
                        : flags.determinism == "batch" ? Determinism::Batch
                                                       : Determinism::Run;
  options.maxTokens = flags.maxTokens;
  if (!flags.workspaceLimit.empty()) {
    std::optional<int64_t> bytes = bytesOf(flags.workspaceLimit);
    if (!bytes)
      return fail(session, "E-USAGE",
                  "--workspace-limit is " + quoteText(flags.workspaceLimit) +
                      ", expected a number of bytes as 65536, 64MiB or 1.5GiB");
    options.workspaceLimit = *bytes;
  }
  options.jobs = flags.jobs;
  options.templatesDir = flags.templatesDir;
  options.allowBits = flags.allowBits;
  struct stat info;
  if (!flags.templatesDir.empty() && (stat(flags.templatesDir.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)))
    return fail(session, "E-FILE", "--templates " + quoteText(flags.templatesDir, 256) + " is not a folder");
  usesTemplates(flags.templatesDir);
  options.tuningFiles = flags.tuning;
  options.scheduleName = flags.scheduleFile;
  if (!flags.scheduleFile.empty())
    if (int code = loadSchedule(session, options))
      return code;
  options.progress = [&session](StringRef stage, StringRef detail, double seconds) {
    enterStage(stage);
    if (session.quiet)
      return;
    session.err << "  " << left_justify(stage, 12) << format("%6.2f s   ", seconds) << detail << "\n";
    session.err.flush();
  };
  return ExitDone;
}

// Lines of a file that are not records cost a warning, a file that the user named and that cannot be read the run.
static int loadTuning(Session &session, const SpecInput &input, CompileOptions &options) {
  std::vector<std::string> files = options.tuningFiles;
  if (files == std::vector<std::string>{"none"})
    return ExitDone;
  Result<TuneSet> set = loadTuneSet(files, input.fileName);
  if (!set)
    return fail(session, set.error());
  warnOfLines(session, set->complaints, set->skippedLines);
  options.tuning = std::make_shared<TuneSet>(std::move(*set));
  return ExitDone;
}

std::unique_ptr<CompiledPackage> compile(Session &session, const SpecInput &input, const CompileOptions &given,
                                         int &exit) {
  enterStage("compile");
  CompileOptions options = given;
  if ((exit = loadTuning(session, input, options)))
    return nullptr;
  if ((exit = checkSchedule(session, input.compileInput(), options)))
    return nullptr;
  std::vector<Diagnostic> errors;
  std::unique_ptr<CompiledPackage> package = compileLayer(input.compileInput(), options, errors);
  if (!package)
    exit = reportCompileErrors(session, input, errors);
  return package;
}

int refuseCompileFlags(Session &session, const std::string &package, const CompileFlags &flags) {
  const CompileFlags standard;
  const std::pair<bool, const char *> asked[] = {
      {!flags.scheduleFile.empty(), "a schedule"},
      {!flags.tuning.empty(), "records"},
      {!flags.templatesDir.empty(), "a folder of templates"},
      {!flags.reports.empty(), "a list of reports"},
      {flags.targets != standard.targets, "--target"},
      {flags.maxTokens != standard.maxTokens, "--max-tokens"},
      {!flags.workspaceLimit.empty(), "--workspace-limit"},
      {flags.math != standard.math, "--math"},
      {flags.determinism != standard.determinism, "--det"},
      {flags.allowBits, "--allow-bits"},
  };
  for (auto [given, flag] : asked)
    if (given)
      return fail(session, "E-USAGE",
                  quoteText(package, 256) + " is a package folder, and " + flag + " cannot change it",
                  "name a spec, or compile a package with other flags");
  return ExitDone;
}

std::vector<CompileOptions> splitByDevice(const CompileOptions &options) {
  std::vector<CompileOptions> parts;
  if (options.isas.mask) {
    parts.push_back(options);
    parts.back().archs.clear();
  }
  if (!options.archs.empty() && !options.emulateCuda) {
    parts.push_back(options);
    parts.back().isas = IsaSet{};
  }
  for (CudaArch arch : options.archs) {
    if (!options.emulateCuda)
      break;
    parts.push_back(options);
    parts.back().isas = IsaSet{};
    parts.back().emulateTiles = false;
    parts.back().archs = {arch};
  }
  return parts;
}

int tokenCounts(Session &session, const std::string &text, int64_t maxTokens, std::vector<int64_t> &out) {
  Result<std::vector<int64_t>> parsed = parseTokenRange(text, maxTokens);
  if (!parsed)
    return fail(session, parsed.error().code, parsed.error().message, "--tokens 1,2,4-64*2 or a larger --max-tokens");
  out = std::move(*parsed);
  return ExitDone;
}

std::string sizeText(int64_t bytes) {
  std::string text;
  raw_string_ostream os(text);
  if (bytes < 1024)
    os << bytes << " B";
  else if (bytes < (int64_t(1) << 20))
    os << format("%.1f KiB", double(bytes) / 1024);
  else if (bytes < (int64_t(1) << 30))
    os << format("%.1f MiB", double(bytes) / (1 << 20));
  else
    os << format("%.2f GiB", double(bytes) / (1 << 30));
  return text;
}

} // namespace moec
