// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A spec's package run on random weights and inputs and compared to the float64 reference, on every instruction set of
// the target and 1..N threads, and on the GPU or an emulated one.

#include "VerifyLayer.h"

#include "Supervisor.h"
#include "codegen/emulate/EmulatedDevice.h"

#include "codegen/TemplateFiles.h"
#include "codegen/check/LayerRun.h"
#include "codegen/check/OutputCheck.h"
#include "codegen/check/RandomSpec.h"
#include "codegen/emulate/LoadedPackage.h"

#include <algorithm>
#include <functional>
#include <memory>

using namespace llvm;

namespace moec {

namespace {
// Texts of the activations that function files define, for the oracle to evaluate.
static std::map<std::string, std::string> functionTexts(const LayerSpec &spec, const std::string &templatesDir) {
  std::map<std::string, std::string> texts;
  auto add = [&](Activation act, const std::string &name) {
    std::string error;
    if (act == Activation::Custom)
      if (std::optional<TemplateText> found = readTemplate(templatesDir, "functions/" + name + ".mlir", error))
        texts[name] = found->text;
  };
  if (spec.layer.dense)
    add(spec.layer.dense->act, spec.layer.dense->actName);
  add(spec.experts.act, spec.experts.actName);
  if (spec.shared)
    add(spec.shared->act, spec.shared->actName);
  return texts;
}

} // namespace

// T tokens and what else the call is given.
struct RandomCall {
  int64_t tokens = 0;
  CallInputs inputs;
  ReferenceInputs oracle;
};

// What the call's outputs say about its routing. They agreed with the reference, so they do not contradict themselves.
static void noteRouting(RoutingStats *stats, const CallOutputs &out) {
  if (!stats || out.choices < 1)
    return;
  RoutingRecord record;
  record.tokens = out.tokens;
  record.choices = out.choices;
  record.ids = out.ids;
  record.weights = out.weights;
  record.logits = out.logits;
  if (out.tokens)
    record.kept.assign(out.counts.begin(), out.counts.end());
  std::string ignored;
  stats->add(record, ignored);
}

// Runs T tokens on 1..N threads with poisoned memory: all must give the same bits, and these the oracle's values.
static bool verifyCall(const LayerSpec &spec, LayerRun &layer, int isa, const RandomLayer &weights, const void *x,
                       const RandomCall &call, int threads, RoutingStats *routing, IsaResult &result,
                       std::string &reason) {
  int64_t tokens = call.tokens;
  std::unique_ptr<CallOutputs> first;
  for (int n = 1; n <= threads; ++n) {
    if (!layer.prepare(n, isa, nullptr, reason))
      return false;
    for (int repeat = 0; repeat < 2; ++repeat) {
      // once all reports together, then each by itself
      auto out = std::make_unique<CallOutputs>(layer.info(), tokens, repeat == 0 ? ~0u : 1u << ((tokens + n) % 7));
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
  if (!compareToOracle(spec, weights, x, call.oracle, *first, result, reason))
    return false;
  noteRouting(routing, *first);
  return true;
}

// Prepares the layer for weights (false: the reason) and runs T tokens of x (false: the reason).
struct Machine {
  bool tf32 = false; // its kernels may round f32 operands
  std::function<bool(const RandomLayer &weights, std::string &error)> prepare;
  std::function<bool(const RandomLayer &weights, const void *x, const RandomCall &call, IsaResult &result,
                     std::string &reason)>
      run;
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
    weights.tf32 = machine.tf32;
    weights.unordered = flags.compile.determinism == "off";
    weights.functions = functionTexts(spec, flags.compile.templatesDir);
    fillNormal(x.data(), spec.dtype.activation, most * spec.hidden, 0, 1, uint64_t(seed) + 77);
    if (!machine.prepare(weights, error))
      return false;
    if (result.name.empty())
      return true;
    for (int64_t t : tokens) {
      std::string reason;
      ++result.cases;
      RandomCall call;
      call.tokens = t;
      randomInputs(spec, t, uint64_t(seed) * 1000 + uint64_t(t), call.inputs, call.oracle);
      if (machine.run(weights, x.data(), call, result, reason))
        continue;
      ++result.failed;
      if (result.firstFailure.empty())
        result.firstFailure = "seed " + std::to_string(seed) + ", " + reason;
    }
  }
  if (most > 0 && result.compared.rows == 0 && result.failed == 0) {
    ++result.failed;
    result.firstFailure =
        "no row of y was compared: rounding decides about all of the " + std::to_string(result.tied) + " tokens";
  }
  return true;
}

static bool verifyIsa(const LayerSpec &spec, LayerRun &layer, int isa, const std::vector<int64_t> &tokens,
                      const VerifyFlags &flags, RoutingStats *routing, IsaResult &result, std::string &error) {
  Machine machine;
  machine.prepare = [&](const RandomLayer &weights, std::string &why) {
    if (!layer.prepare(1, isa, &weights.tensors, why))
      return false;
    if (layer.info().isa == isa)
      result.name = flags.emulate ? "amx-emulated" : moec_isa_name(isa);
    return true;
  };
  machine.run = [&](const RandomLayer &weights, const void *x, const RandomCall &call, IsaResult &out,
                    std::string &reason) {
    layer.setInputs(&call.inputs);
    bool good = verifyCall(spec, layer, isa, weights, x, call, flags.threads, routing, out, reason);
    layer.setInputs(nullptr);
    return good;
  };
  return verifyMachine(spec, machine, tokens, flags, result, error);
}

// Twice, with other contents of the workspace and, emulated, another order of the threads: the same bits, the oracle's.
// The second time with fewer outputs, since what is not asked for is not launched and other kernels follow each other.
// A package that promises no bits is compared both times.
static bool verifyDeviceCall(const LayerSpec &spec, LayerRun &layer, const RandomLayer &weights, const void *x,
                             const RandomCall &call, RoutingStats *routing, IsaResult &result, std::string &reason) {
  int64_t tokens = call.tokens;
  bool repeats = layer.info().determinism != 0;
  CallOutputs first(layer.info(), tokens);
  CallOutputs again = repeats && tokens % 2 == 0
                          ? CallOutputs::onlyY(layer.info(), tokens)
                          : CallOutputs(layer.info(), tokens, repeats ? 1u << (tokens % 7) : ~0u);
  layer.poisonWorkspace(true);
  bool ran = first.run(layer, x, reason);
  layer.poisonWorkspace(false);
  if (!ran || !again.run(layer, x, reason)) {
    reason = "T=" + std::to_string(tokens) + ": " + reason;
    return false;
  }
  if (tokens && repeats && !first.sameBits(again)) {
    reason = "T=" + std::to_string(tokens) + ": bits differ between two runs";
    return false;
  }
  bool good = compareToOracle(spec, weights, x, call.oracle, first, result, reason) &&
              (repeats || compareToOracle(spec, weights, x, call.oracle, again, result, reason));
  if (good)
    noteRouting(routing, first);
  return good;
}

static bool verifyDevice(const LayerSpec &spec, LayerRun &layer, const DeviceContext &context,
                         const std::vector<int64_t> &tokens, const VerifyFlags &flags, RoutingStats *routing,
                         IsaResult &result, std::string &error) {
  Machine machine;
  machine.tf32 = flags.compile.math == "tf32";
  machine.prepare = [&](const RandomLayer &weights, std::string &why) {
    if (!layer.prepare(context, weights.tensors, why))
      return false;
    result.name = std::string(layer.info().isa_name) + (flags.emulate ? "-emulated" : "");
    return true;
  };
  machine.run = [&](const RandomLayer &weights, const void *x, const RandomCall &call, IsaResult &out,
                    std::string &reason) {
    layer.setInputs(&call.inputs);
    bool good = verifyDeviceCall(spec, layer, weights, x, call, routing, out, reason);
    layer.setInputs(nullptr);
    return good;
  };
  return verifyMachine(spec, machine, tokens, flags, result, error);
}

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
    if (!above && !verifyIsa(v.input.spec, layer, isa, v.tokens, v.flags, v.firstRouting(), result, error))
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
  if (!verifyDevice(v.input.spec, layer, emulated ? emulated->context() : *real, v.tokens, v.flags, v.firstRouting(),
                    result, error))
    return failToPrepare(v.session, layer, ExitInternal, "E-INTERNAL", error);
  v.results.push_back(std::move(result));
  return ExitDone;
}

int verifyLayer(Verification &v, const CompileOptions &options) {
  for (const CompileOptions &part : splitByDevice(options)) {
    int exit = ExitDone;
    std::unique_ptr<CompiledPackage> compiled = compile(v.session, v.input, part, exit);
    if (!compiled)
      return exit;
    enterStage("verify");
    exit = part.archs.empty() ? verifyCpu(v, *compiled) : verifyCuda(v, *compiled, part);
    if (exit != ExitDone)
      return exit;
  }
  return ExitDone;
}

} // namespace moec
