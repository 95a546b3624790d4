// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Flags in -> a layer whose calls can be timed out.

#include "BenchLayer.h"

#include "StoredInput.h"
#include "Supervisor.h"

#include "codegen/emit/Manifest.h"
#include "codegen/emit/PackageLibrary.h"

#include "dsl/text/Sha256.h"

namespace moec {

// What there is to know of the layer; its text is parsed.
static int loadFacts(Session &session, const BenchFlags &flags, BenchSubject &out) {
  if (!out.input.isMoeText) {
    out.facts = benchFacts(out.input.spec);
    return ExitDone;
  }
  if (!(out.text = TextLayer::parse(session, out.input)))
    return ExitInvalid;
  out.facts.hidden = out.text->hidden;
  out.facts.choices = out.text->choices;
  out.facts.activation = out.text->activation;
  for (const TextTensor &tensor : out.text->tensors)
    out.facts.tensors.push_back({tensor.role, tensor.type});
  out.facts.drawInputs = [layer = out.text.get()](int64_t tokens, CallInputs &inputs) {
    std::map<std::string, std::vector<double>> unused;
    layer->randomInputs(tokens, 7, inputs, unused);
  };
  if (flags.skew == "uniform" || out.facts.hasRouter())
    return ExitDone;
  return fail(session, "E-UNSUPPORTED",
              "--skew " + flags.skew + " acts on the parameter router.weight, and this layer has none",
              "give the router's matrix that moe.role");
}

int loadSubject(Session &session, const BenchFlags &flags, const CompileFlags &compileFlags, const std::string &spec,
                BenchSubject &out) {
  CompileOptions options;
  if (int code = compileOptions(session, compileFlags, options))
    return code;
  if (!options.archs.empty())
    return fail(session, "E-UNSUPPORTED",
                "moec bench measures CPU targets; CUDA kernels are measured by "
                "tests/cuda/run.sh on a machine with a GPU",
                "leave the cuda targets out");
  if (int code = tokenCounts(session, flags.tokens, options.maxTokens, out.tokens))
    return code;
  if (int code = loadSpec(session, spec, compileFlags, out.input))
    return code;
  if (int code = loadFacts(session, flags, out))
    return code;
  int exit = ExitDone;
  out.compiled = compile(session, out.input, options, exit);
  return exit;
}

static int loadPackage(Session &session, const BenchFlags &flags, const CompileFlags &compileFlags,
                       const std::string &folder, BenchSubject &out) {
  if (int code = openStored(session, folder, compileFlags, out.package))
    return code;
  if (!out.plan().header.isa_mask)
    return fail(session, out.package->stored.damaged("it holds no kernels for CPUs"));
  if (int code = tokenCounts(session, flags.tokens, out.plan().header.max_tokens, out.tokens))
    return code;
  if (int code = loadStored(session, *out.package, out.input))
    return code;
  return loadFacts(session, flags, out);
}

int loadAny(Session &session, const BenchFlags &flags, const CompileFlags &compileFlags, const std::string &argument,
            BenchSubject &out) {
  if (!isPackageFolder(argument))
    return loadSubject(session, flags, compileFlags, argument, out);
  return loadPackage(session, flags, compileFlags, argument, out);
}

BenchPackage BenchSubject::tables() const {
  const CompiledPackage &own = code();
  return {nullptr, &own.plan, own.backward ? &own.backward->plan : nullptr, &facts, own.name, moecVersion(), ""};
}

// Its hash is that of the library: of the file, or of the archive that compile would write.
static Result<BenchPackage> describeSubject(const BenchSubject &subject, const moec_package *package) {
  BenchPackage of = subject.tables();
  of.package = package;
  if (subject.package) {
    of.moecVersion = subject.package->stored.manifest().moecVersion;
    of.packageHash = subject.package->libraryHash;
    return of;
  }
  Result<std::string> library = archiveBytes(*subject.compiled);
  if (!library)
    return library.takeError();
  of.packageHash = hexText(sha256(*library));
  return of;
}

Result<LoadedSubject> LoadedSubject::load(const BenchSubject &subject, const BenchFlags &flags, int64_t distinct) {
  LoadedSubject loaded;
  Result<std::unique_ptr<LoadedPackage>> package =
      subject.package ? subject.package->load() : LoadedPackage::load(*subject.compiled);
  if (!package)
    return package.takeError();
  loaded.package = std::move(*package);
  Result<BenchPackage> of = describeSubject(subject, loaded.package->get());
  if (!of)
    return of.takeError();
  loaded.layer = std::make_unique<BenchedLayer>(std::move(*of), flags, distinct);
  return loaded;
}

void warnAll(Session &session, const std::vector<Diagnostic> &warnings) {
  for (const Diagnostic &warning : warnings)
    warn(session, warning.code, warning.message, warning.hint);
}

} // namespace moec
