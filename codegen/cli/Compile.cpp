// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec compile: a spec -> a package folder that appears whole or not at all, or one stage's form on stdout.

#include "CompileFlags.h"
#include "PackageInput.h"
#include "ScheduleInput.h"
#include "Supervisor.h"
#include "Verbs.h"

#include "codegen/cuda/Ptxas.h"
#include "codegen/emit/Manifest.h"
#include "codegen/emit/PackageFiles.h"
#include "codegen/emit/PackageLibrary.h"
#include "codegen/package/StoredPackage.h"

#include "llvm/ADT/StringExtras.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <memory>

using namespace llvm;

namespace moec {

namespace {
struct CompileVerbFlags {
  CompileFlags compile;
  std::string spec, output, emit = "static", name, stopAfter, sanitizer;
  bool force = false;
};
} // namespace

static int printAfterStage(Session &session, const SpecInput &input, const CompileOptions &options,
                           const std::string &name) {
  std::optional<Stage> stage = parseStage(name);
  if (!stage)
    return fail(session, "E-USAGE", "unknown stage " + quoteText(name),
                "stages are spec, build, grad, fuse, plan, schedule, instantiate, lower, emit");
  if (int code = checkSchedule(session, input.compileInput(), options))
    return code;
  std::vector<Diagnostic> errors;
  enterStage(name);
  if (printStage(input.compileInput(), options, *stage, session.out, errors))
    return ExitDone;
  return reportCompileErrors(session, input, errors);
}

// An archive in memory, what the linker made in the staging folder, or both.
static Result<PackageLibraries> makeLibraries(const CompiledPackage &package, LibraryKind kind, PackageFolder &folder) {
  PackageLibraries libraries;
  if (kind != LibraryKind::Shared) {
    Result<std::string> archive = archiveBytes(package);
    if (!archive)
      return archive.takeError();
    libraries.archive = std::move(*archive);
  }
  if (kind == LibraryKind::Static)
    return libraries;
  Result<std::string> workDir = folder.workDir();
  if (!workDir)
    return workDir.takeError();
  Result<std::string> shared = sharedLibraryBytes(package, packageContents(package), *workDir);
  if (!shared) {
    Diagnostic error = shared.takeError();
    if (error.code == "E-TOOL")
      error.hint = "moec doctor lists the programs moec runs; --emit static needs none";
    return error;
  }
  libraries.shared = std::move(*shared);
  return libraries;
}

// Buffers grow with --max-tokens; past this size that is rather a mistake than a wish.
static constexpr int64_t largeWorkspace = int64_t(16) << 30;

static void warnOfWorkspace(Session &session, const CompiledPackage &package) {
  int64_t tokens = package.plan.header.max_tokens, bytes = largestWorkspaceBytes(package, tokens);
  if (bytes > largeWorkspace)
    warn(session, "W-WORKSPACE",
         "a call of " + std::to_string(tokens) + " tokens needs a workspace of " + std::to_string(bytes) + " bytes (" +
             sizeText(bytes) + ")" + (package.cuda.targets.empty() ? " on one thread" : ""),
         "a smaller --max-tokens; callers may split their tokens over several calls");
}

// Kernels that are right but not as they should be, and what could not be looked at.
static void warnOfKernels(Session &session, const CompiledPackage &package) {
  if (package.ptxasMissing)
    warn(session, "W-PTXAS",
         "ptxas was not found: the package holds only PTX, which the driver assembles when a layer is created; "
         "registers, "
         "spills and local memory are not checked for " +
             std::to_string(package.cuda.targets.size()) + " CUDA targets",
         ptxasAdvice());
  for (const std::string &finding : package.cudaFindings)
    warn(session, "W-KERNEL", finding,
         "moec explain prints what every kernel costs; --schedule FILE chooses other tiles");
}

// "38.1 MiB on one thread, 41.0 MiB on sm_90a"
static std::string workspaceText(const CompiledPackage &package) {
  int64_t tokens = package.plan.header.max_tokens;
  std::string text;
  auto add = [&](int64_t bytes, const std::string &where) {
    text += (text.empty() ? "" : ", ") + sizeText(bytes) + " on " + where;
  };
  if (package.plan.header.isa_mask)
    add(workspaceBytes(package.plan, tokens, 1), "one thread");
  for (const CudaTargetPlan &target : package.cuda.targets)
    add(cudaWorkspaceBytes(package.plan, target, tokens),
        "sm_" + std::to_string(target.sm) + (target.exact ? "a" : ""));
  return text;
}

// "; backward 12.0 MiB on one thread, saved 24.0 KiB a token"
static std::string trainingText(const CompiledPackage &package) {
  int64_t tokens = package.plan.header.max_tokens;
  return "; backward " + workspaceText(*package.backward) + ", saved " +
         sizeText(savedBytes(package.plan, tokens) / std::max<int64_t>(1, tokens)) + " a token";
}

static int writePackage(Session &session, const CompiledPackage &package, LibraryKind kind, PackageFolder &folder) {
  enterStage("package");
  Result<PackageLibraries> libraries = makeLibraries(package, kind, folder);
  if (!libraries)
    return fail(session, libraries.error());
  size_t librarySize = (kind == LibraryKind::Shared ? libraries->shared : libraries->archive).size();
  Result<std::vector<PackageFile>> files = packageFiles(package, std::move(*libraries));
  if (!files)
    return fail(session, files.error());
  if (Result<> written = folder.write(*files); !written)
    return fail(session, written.error());
  if (Result<> committed = folder.commit(); !committed)
    return fail(session, committed.error());
  releaseStaging();
  if (!session.quiet) {
    const moec_plan_header &header = package.plan.header;
    session.err << "  package     " << libraryFileName(package.name, kind) << " " << sizeText(int64_t(librarySize))
                << ", " << join(machineNames(package), " ") << "\n"
                << "  workspace   " << workspaceText(package) << " at " << header.max_tokens << " tokens"
                << (header.chunk_tokens ? " in chunks of " + std::to_string(header.chunk_tokens) : "")
                << "; packed weights "
                << sizeText(
                       int64_t(package.plan.header.isa_mask ? package.plan.packedBytes() : package.cuda.packedBytes))
                << (package.backward ? trainingText(package) : "") << "; deterministic: "
                << (header.determinism == 0   ? "no, rows are added in any order on CUDA"
                    : header.determinism == 2 ? "per row"
                                              : "run to run")
                << "\n";
  }
  return ExitDone;
}

// Sanitizers do not see the memory that tiles touch, so AMX is left out.
static int chooseSanitizer(Session &session, const std::string &name, CompileOptions &options) {
  if (name.empty())
    return ExitDone;
  options.sanitizer = name == "address" ? Sanitizer::Address : Sanitizer::Thread;
  options.isas.mask &= ~IsaSet::of(Isa::Amx).mask;
  if (!options.archs.empty())
    return fail(session, "E-USAGE", "--sanitize is for CPU kernels", "leave the cuda targets out");
  if (!options.isas.mask)
    return fail(session, "E-USAGE", "--sanitize does not apply to cpu:amx",
                "name cpu:avx512_bf16, cpu:avx512, cpu:avx2, cpu:baseline, or cpu for the four");
  return ExitDone;
}

// The flags of a package that is made again are those that made it.
static int takePackageFlags(Session &session, const CLI::App &verb, CompileVerbFlags &flags,
                            std::shared_ptr<const ScheduleOrigin> &origin) {
  for (const CLI::Option *option : verb.get_options())
    if (std::string name = option->get_name();
        option->count() && name != "SPEC" && name != "--output" && name != "--force" && name != "--jobs")
      return fail(session, "E-USAGE", quoteText(flags.spec, 256) + " is a package, which decides " + name,
                  "a package is made again as it was; compile the spec in its share folder for other flags");
  PackageInput package;
  if (int code = loadPackageInput(session, flags.spec, package))
    return code;
  package.flags.jobs = flags.compile.jobs;
  flags.compile = package.flags;
  flags.spec = package.source;
  flags.emit = package.library;
  flags.sanitizer = package.sanitizer;
  origin = package.origin;
  return ExitDone;
}

static int runCompile(Session &session, const CLI::App &verb, CompileVerbFlags flags) {
  SpecInput input;
  CompileOptions options;
  if (StoredPackage::isOne(flags.spec))
    if (int code = takePackageFlags(session, verb, flags, options.scheduleOrigin))
      return code;
  if (int code = compileOptions(session, flags.compile, options))
    return code;
  if (int code = chooseSanitizer(session, flags.sanitizer, options))
    return code;
  if (int code = loadSpec(session, flags.spec, flags.compile, input))
    return code;
  if (int code = renameSpec(session, input, flags.name))
    return code;
  if (!flags.stopAfter.empty())
    return printAfterStage(session, input, options, flags.stopAfter);
  auto existing = flags.force ? PackageFolder::Existing::Replace : PackageFolder::Existing::Refuse;
  std::string output = flags.output.empty() && !input.isMoeText ? input.spec.name : flags.output;
  // Before the work: a folder in the way is said at once.
  if (!output.empty())
    if (Result<> free = PackageFolder::check(output, existing); !free)
      return fail(session, free.error());
  if (flags.emit != "static")
    if (Result<std::string> linker = requireLinker(); !linker)
      return fail(session, linker.error());
  if (!session.quiet && !input.isMoeText)
    session.err << input.spec.name << ": " << specSummary(input.spec) << ", tokens 1.." << options.maxTokens << "\n";
  int exit = ExitDone;
  std::unique_ptr<CompiledPackage> package = compile(session, input, options, exit);
  if (!package)
    return exit;
  if (output.empty())
    output = package->name;
  warnOfWorkspace(session, *package);
  warnOfKernels(session, *package);
  Result<std::unique_ptr<PackageFolder>> staged = PackageFolder::stage(output, existing);
  if (!staged)
    return fail(session, staged.error());
  PackageFolder &folder = **staged;
  ownStaging(folder.stagingPath(), output);
  LibraryKind kind = flags.emit == "both"     ? LibraryKind::Both
                     : flags.emit == "shared" ? LibraryKind::Shared
                                              : LibraryKind::Static;
  if (int code = writePackage(session, *package, kind, folder))
    return code;
  session.out << escaped(output) << "\n";
  return ExitDone;
}

Verb addCompile(CLI::App &app) {
  auto flags = std::make_shared<CompileVerbFlags>();
  CLI::App *verb = app.add_subcommand("compile", "build a package");
  verb->add_option("SPEC", flags->spec, "JSON file, .mlir file of the moe dialect, preset, or share/NAME of a package")
      ->required();
  verb->add_option("-o,--output", flags->output, "package folder; default ./NAME")->type_name("DIR");
  verb->add_option("--emit", flags->emit, "static library, shared library, or both")
      ->check(CLI::IsMember({"static", "shared", "both"}))
      ->capture_default_str();
  verb->add_option("--name", flags->name, "name of the package instead of the spec's")->type_name("NAME");
  verb->add_option("--stop-after", flags->stopAfter,
                   "print the form after spec, build, grad, fuse, plan, schedule, instantiate, lower or emit")
      ->type_name("STAGE");
  verb->add_option("--sanitize", flags->sanitizer,
                   "for tests of moec itself: kernels without AMX that report every access to the address or thread "
                   "sanitizer of the program they are linked into")
      ->check(CLI::IsMember({"address", "thread"}));
  verb->add_flag("--force", flags->force, "replace a package folder");
  addCompileFlags(*verb, flags->compile);
  return {verb, [flags, verb](Session &session) { return runCompile(session, *verb, *flags); }};
}

} // namespace moec
