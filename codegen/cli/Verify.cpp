// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec verify: a spec -> its package run on random weights and inputs and compared to the float64 reference, on every
// instruction set of the target and 1..N threads, and on the GPU or an emulated one; or a folder of golden vectors ->
// every case of it.

#include "CompileRun.h"
#include "EmulatedDevice.h"
#include "GoldenVerify.h"
#include "codegen/check/LayerRun.h"
#include "codegen/check/OutputCheck.h"
#include "Supervisor.h"
#include "Verbs.h"

#include "codegen/check/OracleCheck.h"
#include "codegen/moe/TemplateFiles.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <set>

using namespace llvm;

namespace moec {

namespace {
// What happened on one instruction set or device.
struct IsaResult : OracleResult {
  std::string name;
  size_t cases = 0, failed = 0;
  std::string firstFailure;
};

struct VerifyFlags {
  CompileFlags compile;
  std::string spec, golden, tokens = "0-17,31-33,64";
  int seeds = 1, threads = 3;
  bool json = false;
  bool emulate = false;
};

// Texts of the activations that function files define, for the oracle to evaluate.
static std::map<std::string, std::string> functionTexts(const LayerSpec &spec, const std::string &templatesDir) {
  std::map<std::string, std::string> texts;
  auto add = [&](Activation act, const std::string &name) {
    std::string error;
    if (act == Activation::Custom)
      if (std::optional<TemplateText> found = readTemplate(templatesDir, "functions/" + name + ".mlir", error))
        texts[name] = found->text;
  };
  add(spec.experts.act, spec.experts.actName);
  if (spec.shared)
    add(spec.shared->act, spec.shared->actName);
  return texts;
}

} // namespace

// Runs T tokens on 1..N threads with poisoned memory: all must give the same bits, and these the oracle's values.
static bool verifyCall(const LayerSpec &spec, LayerRun &layer, int isa, const RandomLayer &weights, const void *x,
                       int64_t tokens, int threads, IsaResult &result, std::string &reason) {
  std::unique_ptr<CallOutputs> first;
  for (int n = 1; n <= threads; ++n) {
    if (!layer.prepare(n, isa, nullptr, reason))
      return false;
    for (int repeat = 0; repeat < 2; ++repeat) {
      auto out = std::make_unique<CallOutputs>(layer.info(), tokens);
      layer.poisonWorkspace(repeat == 0);
      if (!out->ready()) {
        reason = "out of memory";
        return false;
      }
      if (!out->run(layer, x, reason))
        return false;
      if (tokens && first && !first->sameBits(*out)) {
        reason = "T=" + std::to_string(tokens) + ": bits differ between run 1 on 1 thread and run " +
                 std::to_string(repeat + 1) + " on " + std::to_string(n) + " threads";
        return false;
      }
      if (!first)
        first = std::move(out);
    }
  }
  return compareToOracle(spec, weights, x, *first, result, reason);
}

// Prepares the layer for weights (false: the reason) and runs T tokens of x (false: the reason).
struct Machine {
  std::function<bool(const RandomLayer &weights, std::string &error)> prepare;
  std::function<bool(const RandomLayer &weights, const void *x, int64_t tokens, IsaResult &result, std::string &reason)> run;
};

// Every seed and token count on one machine. False: `error` says why nothing could be run.
static bool verifyMachine(const LayerSpec &spec, const Machine &machine, const std::vector<int64_t> &tokens,
                          const VerifyFlags &flags, IsaResult &result, std::string &error) {
  int64_t most = *std::max_element(tokens.begin(), tokens.end());
  PageBuffer x(size_t(std::max<int64_t>(1, most) * spec.hidden) * 4);
  for (int seed = 0; seed < flags.seeds; ++seed) {
    RandomLayer weights;
    if (!x.data() || !weights.make(spec, uint64_t(seed) + 1)) {
      error = "not enough memory for the weights";
      return false;
    }
    weights.functions = functionTexts(spec, flags.compile.templatesDir);
    fillNormal(x.data(), spec.dtype.activation, most * spec.hidden, 0, 1, uint64_t(seed) + 77);
    if (!machine.prepare(weights, error))
      return false;
    if (result.name.empty())
      return true;
    for (int64_t t : tokens) {
      std::string reason;
      ++result.cases;
      if (machine.run(weights, x.data(), t, result, reason))
        continue;
      ++result.failed;
      if (result.firstFailure.empty())
        result.firstFailure = "seed " + std::to_string(seed) + ", " + reason;
    }
  }
  return true;
}

static bool verifyIsa(const LayerSpec &spec, LayerRun &layer, int isa, const std::vector<int64_t> &tokens,
                      const VerifyFlags &flags, IsaResult &result, std::string &error) {
  Machine machine;
  machine.prepare = [&](const RandomLayer &weights, std::string &why) {
    if (!layer.prepare(1, isa, &weights.tensors, why))
      return false;
    if (layer.info().isa == isa)
      result.name = flags.emulate ? "amx-emulated" : moec_isa_name(isa);
    return true;
  };
  machine.run = [&](const RandomLayer &weights, const void *x, int64_t t, IsaResult &out, std::string &reason) {
    return verifyCall(spec, layer, isa, weights, x, t, flags.threads, out, reason);
  };
  return verifyMachine(spec, machine, tokens, flags, result, error);
}

// Twice, with other contents of the workspace and, emulated, another order of the threads: the same bits, the oracle's.
static bool verifyDeviceCall(const LayerSpec &spec, LayerRun &layer, const RandomLayer &weights, const void *x,
                             int64_t tokens, IsaResult &result, std::string &reason) {
  CallOutputs first(layer.info(), tokens), again(layer.info(), tokens);
  layer.poisonWorkspace(true);
  bool ran = first.run(layer, x, reason);
  layer.poisonWorkspace(false);
  if (!ran || !again.run(layer, x, reason)) {
    reason = "T=" + std::to_string(tokens) + ": " + reason;
    return false;
  }
  if (tokens && !first.sameBits(again)) {
    reason = "T=" + std::to_string(tokens) + ": bits differ between two runs";
    return false;
  }
  return compareToOracle(spec, weights, x, first, result, reason);
}

static bool verifyDevice(const LayerSpec &spec, LayerRun &layer, const DeviceContext &context,
                         const std::vector<int64_t> &tokens, const VerifyFlags &flags, IsaResult &result,
                         std::string &error) {
  Machine machine;
  machine.prepare = [&](const RandomLayer &weights, std::string &why) {
    if (!layer.prepare(context, weights.tensors, why))
      return false;
    result.name = std::string(layer.info().isa_name) + (flags.emulate ? "-emulated" : "");
    return true;
  };
  machine.run = [&](const RandomLayer &weights, const void *x, int64_t t, IsaResult &out, std::string &reason) {
    return verifyDeviceCall(spec, layer, weights, x, t, out, reason);
  };
  return verifyMachine(spec, machine, tokens, flags, result, error);
}

static int printResults(Session &session, const std::vector<IsaResult> &results, size_t skippedIsas, const VerifyFlags &flags) {
  size_t cases = 0, failures = 0, skipped = 0, perIsa = results.empty() ? 0 : results.front().cases;
  for (const IsaResult &result : results) {
    cases += result.cases;
    failures += result.failed;
  }
  skipped = skippedIsas * perIsa;
  cases += skipped;
  if (flags.json) {
    json::OStream os(session.out, 2);
    os.object([&] {
      os.attribute("cases", cases);
      os.attribute("passed", cases - failures - skipped);
      os.attribute("failed", failures);
      os.attribute("skipped", skipped);
      os.attributeArray("isas", [&] {
        for (const IsaResult &result : results)
          os.object([&] {
            os.attribute("isa", result.name);
            os.attribute("cases", result.cases);
            os.attribute("failed", result.failed);
            os.attribute("ties", result.tied);
            os.attribute("worst_relative_error", result.worst.value);
            os.attribute("worst_nmse", result.worst.nmse);
            os.attribute("first_failure", escaped(result.firstFailure));
          });
      });
    });
    session.out << "\n";
    return failures ? ExitCheckFailed : ExitDone;
  }
  session.out << format("%-15s %6s %6s %6s %5s %12s %11s  %s\n", "isa", "cases", "pass", "fail", "ties", "worst error",
                        "worst nmse", "worst place");
  for (const IsaResult &result : results) {
    session.out << format("%-15s %6zu %6zu %6zu %5zu %12.1e %11.1e  ", result.name.c_str(), result.cases,
                          result.cases - result.failed, result.failed, result.tied, result.worst.value, result.worst.nmse)
                << result.worst.place << "\n";
    if (result.failed)
      fail(session, ExitCheckFailed, "E-MISMATCH", result.name + ": " + result.firstFailure);
  }
  session.out << cases << " cases, " << cases - failures - skipped << " passed, " << failures << " failed, " << skipped
              << " skipped\n";
  return failures ? ExitCheckFailed : ExitDone;
}

namespace {
// What all parts of one verification add to.
struct Verification {
  Session &session;
  const VerifyFlags &flags;
  const SpecInput &input;
  std::vector<int64_t> tokens;
  std::vector<IsaResult> results;
  size_t skipped = 0;

  void skip(const std::string &name, const std::string &why) {
    ++skipped;
    if (!flags.json)
      session.out << "skip " << name << ": " << escaped(why) << "\n";
  }
};
} // namespace

static int verifyCpu(Verification &v, const CompiledPackage &compiled) {
  std::string error;
  std::unique_ptr<LoadedPackage> package = LoadedPackage::load(compiled, error);
  if (!package)
    return fail(v.session, ExitInternal, "E-INTERNAL", error);
  LayerRun layer(package->get());
  for (int isa = MOEC_NUM_ISAS - 1; isa >= 0; --isa) {
    if (!(compiled.plan.header.isa_mask >> isa & 1))
      continue;
    IsaResult result;
    bool above = isa > moec_cpu_isa();
    if (!above && !verifyIsa(v.input.spec, layer, isa, v.tokens, v.flags, result, error))
      return failToPrepare(v.session, layer, ExitInternal, "E-INTERNAL", error);
    if (result.name.empty())
      v.skip(moec_isa_name(isa), above ? "this machine does not have it" : "MOEC_MAX_ISA forbids it");
    else
      v.results.push_back(std::move(result));
  }
  return ExitDone;
}

// Emulated, or on this machine's GPU; without one the package is skipped.
static int verifyCuda(Verification &v, CompiledPackage &compiled, const CompileOptions &options) {
  std::string error, name = "cuda:" + cudaArchFacts(options.archs.front()).name.str();
  std::unique_ptr<EmulatedDevice> emulated;
  std::unique_ptr<DeviceContext> real;
  if (options.emulateCuda && !(emulated = EmulatedDevice::make(compiled, error)))
    return fail(v.session, ExitInternal, "E-INTERNAL", error);
  if (!emulated && !(real = DeviceContext::open(nullptr, error))) {
    v.skip(options.archs.size() > 1 ? "cuda" : name, error);
    return ExitDone;
  }
  std::unique_ptr<LoadedPackage> package = LoadedPackage::load(compiled, error);
  if (!package)
    return fail(v.session, ExitInternal, "E-INTERNAL", error);
  LayerRun layer(package->get());
  IsaResult result;
  if (!verifyDevice(v.input.spec, layer, emulated ? emulated->context() : *real, v.tokens, v.flags, result, error))
    return failToPrepare(v.session, layer, ExitInternal, "E-INTERNAL", error);
  v.results.push_back(std::move(result));
  return ExitDone;
}

static int verifySpec(Session &session, const VerifyFlags &flags, const CompileOptions &options) {
  SpecInput input;
  Verification v{session, flags, input, {}, {}};
  if (int code = tokenCounts(session, flags.tokens, options.maxTokens, v.tokens))
    return code;
  if (int code = loadJsonSpec(session, flags.spec, flags.compile, "verify", input))
    return code;
  for (const CompileOptions &part : splitByDevice(options)) {
    int exit = ExitDone;
    std::unique_ptr<CompiledPackage> compiled = compile(session, input, part, exit);
    if (!compiled)
      return exit;
    enterStage("verify");
    exit = part.archs.empty() ? verifyCpu(v, *compiled) : verifyCuda(v, *compiled, part);
    if (exit != ExitDone)
      return exit;
  }
  return printResults(session, v.results, v.skipped, flags);
}

static int runVerify(Session &session, const VerifyFlags &flags) {
  CompileOptions options;
  if (int code = compileOptions(session, flags.compile, options))
    return code;
  if (flags.spec.empty() == flags.golden.empty())
    return fail(session, ExitUsage, "E-USAGE", "verify takes either a spec or --golden DIR", "moec verify layer.json");
  if (flags.emulate && !options.isas.has(Isa::Amx) && options.archs.empty())
    return fail(session, ExitUsage, "E-USAGE", "--emulate is for AMX and CUDA kernels, and no target here has them",
                "use --target cpu:amx, cuda:sm_90a or cuda:sm_80");
  if (!flags.golden.empty() && !flags.compile.scheduleFile.empty())
    return fail(session, ExitUsage, "E-USAGE", "--schedule does not apply to --golden: a schedule is one layer's",
                "name the spec of one case");
  options.emulateTiles = flags.emulate && options.isas.has(Isa::Amx);
  options.emulateCuda = flags.emulate;
  return flags.golden.empty() ? verifySpec(session, flags, options) : verifyGolden(session, flags.golden, options);
}

Verb addVerify(CLI::App &app) {
  auto flags = std::make_shared<VerifyFlags>();
  CLI::App *verb = app.add_subcommand("verify", "run a layer against the reference");
  verb->add_option("SPEC", flags->spec, "JSON file or preset");
  verb->add_option("--golden", flags->golden, "folder of golden vectors; every case is compiled and compared")->type_name("DIR");
  verb->add_option("--tokens", flags->tokens, "token counts: 1,2,4-64*2,100-108")->type_name("RANGE")->capture_default_str();
  verb->add_option("--seeds", flags->seeds, "sets of random weights")->check(CLI::Range(1, 1000))->capture_default_str();
  verb->add_option("--threads", flags->threads, "most threads; 1..N must give equal bits")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  verb->add_flag("--emulate", flags->emulate,
                 "run AMX and CUDA kernels on any machine: tile instructions as calls that do the same, CUDA threads on "
                 "the host, with rules of the device checked");
  verb->add_flag("--json", flags->json, "one JSON document on stdout");
  addCompileFlags(*verb, flags->compile);
  return {verb, [flags](Session &session) { return runVerify(session, *flags); }};
}

} // namespace moec
