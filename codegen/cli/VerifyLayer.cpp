// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer's package run on random weights and inputs and compared with the float64 reference, or with the interpreter,
// on every instruction set of the target and 1..N threads, and on the GPU or an emulated one.

#include "VerifyLayer.h"

#include "Supervisor.h"
#include "TextOracle.h"
#include "codegen/emulate/EmulatedDevice.h"

#include "codegen/MemoryNeed.h"
#include "codegen/TemplateFiles.h"
#include "codegen/emit/Manifest.h"
#include "codegen/emulate/LoadedPackage.h"
#include "codegen/gradcheck/SpecGradients.h"

#include <map>
#include <memory>

using namespace llvm;

namespace moec {

// Texts of the activations that function files define, for the oracle to evaluate.
static std::map<std::string, std::string> functionTexts(const LayerSpec &spec, const std::string &templatesDir) {
  std::map<std::string, std::string> texts;
  for (const std::string &name : functionsToRead(spec)) {
    auto found = readTemplate(templatesDir, "functions/" + name + ".mlir");
    if (found && *found) // the compiler has said what is wrong with another one
      texts[name] = (*found)->text;
  }
  return texts;
}

static VerifyOptions optionsOf(const Verification &v) {
  VerifyOptions options;
  options.tokens = v.tokens;
  options.seeds = v.flags.seeds;
  options.threads = v.flags.threads;
  options.seed = v.flags.random ? 1 : v.flags.seed;
  options.tf32 = v.flags.compile.math == "tf32";
  options.unordered = v.flags.compile.determinism == "off";
  options.emulated = v.flags.emulate;
  options.gradients = v.gradients;
  return options;
}

static int verifyCpu(Verification &v, LayerOracle &oracle, const moec_package *package, uint32_t isaMask) {
  auto skip = [&](const std::string &name, const std::string &why) { v.skip(name, why); };
  Result<> verified = verifyCpu(oracle, package, isaMask, optionsOf(v), v.firstRouting(), skip, v.results);
  return verified ? int(ExitDone) : fail(v.session, verified.error());
}

// On this machine's GPU; without one it is skipped.
static int verifyGpu(Verification &v, LayerOracle &oracle, const moec_package *package, const std::string &name) {
  Result<std::unique_ptr<DeviceContext>> opened = DeviceContext::open(nullptr);
  if (!opened) {
    v.skip(name, opened.error().message);
    return ExitDone;
  }
  Result<> verified = verifyDevice(oracle, package, **opened, optionsOf(v), v.firstRouting(), v.results);
  return verified ? int(ExitDone) : fail(v.session, verified.error());
}

static int verifyEmulated(Verification &v, LayerOracle &oracle, CompiledPackage &compiled) {
  Result<std::unique_ptr<EmulatedDevice>> emulated = EmulatedDevice::make(compiled);
  if (!emulated)
    return fail(v.session, emulated.error());
  Result<std::unique_ptr<LoadedPackage>> package = LoadedPackage::load(compiled);
  if (!package)
    return fail(v.session, package.error());
  Result<> verified =
      verifyDevice(oracle, (*package)->get(), (*emulated)->context(), optionsOf(v), v.firstRouting(), v.results);
  return verified ? int(ExitDone) : fail(v.session, verified.error());
}

static int verifyCompiled(Verification &v, LayerOracle &oracle, CompiledPackage &compiled,
                          const CompileOptions &options) {
  if (options.emulateCuda && !options.archs.empty())
    return verifyEmulated(v, oracle, compiled);
  Result<std::unique_ptr<LoadedPackage>> package = LoadedPackage::load(compiled);
  if (!package)
    return fail(v.session, package.error());
  if (options.archs.empty())
    return verifyCpu(v, oracle, (*package)->get(), compiled.plan.header.isa_mask);
  std::string name = "cuda:" + cudaArchFacts(options.archs.front()).name.str();
  return verifyGpu(v, oracle, (*package)->get(), options.archs.size() > 1 ? "cuda" : name);
}

// Weights as drawn and packed, x, and the largest call.
static Result<> checkMemoryOf(const Verification &v, const LayerOracle &oracle, const CompiledPackage &compiled) {
  const LaunchPlan &plan = compiled.plan;
  const VerifyOptions options = optionsOf(v);
  int64_t most = options.mostTokens();
  double bytes = verifyMemory(oracle, options) + (v.gradients ? v.gradients->bytes(most) : 0);
  if (plan.header.isa_mask)
    return checkMemory(bytes + double(plan.packedBytes()) + double(workspaceBytes(plan, most, v.flags.threads)),
                       "verify");
  if (v.flags.emulate) // the device's memory is this machine's
    for (const CudaTargetPlan &target : compiled.cuda.targets)
      bytes += double(compiled.cuda.packedBytes) + double(cudaWorkspaceBytes(plan, target, most));
  return checkMemory(bytes, "verify");
}

static int verifyWith(Verification &v, LayerOracle &oracle, const CompileOptions &options) {
  for (const CompileOptions &part : splitByDevice(options)) {
    int exit = ExitDone;
    std::unique_ptr<CompiledPackage> compiled = compile(v.session, v.input, part, exit);
    if (!compiled)
      return exit;
    Result<> fits = checkMemoryOf(v, oracle, *compiled);
    if (!fits && v.gradients && v.gradientsMaySkip) {
      v.skip("gradients", fits.error().message);
      return ExitDone;
    }
    if (!fits)
      return fail(v.session, fits.error());
    enterStage("verify");
    if ((exit = verifyCompiled(v, oracle, *compiled, part)))
      return exit;
  }
  return ExitDone;
}

// The oracle of v.input's gradients, while it lives.
static Result<std::unique_ptr<SpecGradients>> makeGradients(Verification &v, const std::string &templatesDir,
                                                            std::map<std::string, std::string> functions) {
  Result<std::unique_ptr<SpecGradients>> made = SpecGradients::make(v.input.spec, templatesDir, std::move(functions));
  if (made)
    v.gradients = made->get();
  return made;
}

int verifyLayer(Verification &v, const CompileOptions &options) {
  if (v.text) {
    TextOracle oracle(*v.text);
    return verifyWith(v, oracle, options);
  }
  std::map<std::string, std::string> functions = functionTexts(v.input.spec, v.flags.compile.templatesDir);
  SpecOracle oracle(v.input.spec, functions);
  if (!v.flags.grad)
    return verifyWith(v, oracle, options);
  Result<std::unique_ptr<SpecGradients>> gradients = makeGradients(v, v.flags.compile.templatesDir, functions);
  if (!gradients)
    return reportCompileErrors(v.session, v.input, {gradients.takeError()});
  return verifyWith(v, oracle, options);
}

static int verifyStored(Verification &v, LayerOracle &oracle, const PackageOnDisk &package) {
  if (Result<> fits = checkMemoryOf(v, oracle, package.compiled); !fits)
    return fail(v.session, fits.error());
  Result<std::unique_ptr<LoadedPackage>> loaded = package.load();
  if (!loaded)
    return fail(v.session, loaded.error());
  if (uint32_t mask = package.compiled.plan.header.isa_mask)
    if (int code = verifyCpu(v, oracle, (*loaded)->get(), mask))
      return code;
  return package.stored.manifest().cudaTargets.empty() ? int(ExitDone) : verifyGpu(v, oracle, (*loaded)->get(), "cuda");
}

int verifyPackage(Verification &v, const PackageOnDisk &package) {
  enterStage("verify");
  if (v.text) {
    TextOracle oracle(*v.text);
    return verifyStored(v, oracle, package);
  }
  SpecOracle oracle(v.input.spec, package.source->functions);
  return verifyStored(v, oracle, package);
}

} // namespace moec
