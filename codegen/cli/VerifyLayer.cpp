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
#include "codegen/check/LayerRun.h"
#include "codegen/check/OutputCheck.h"
#include "codegen/check/RandomSpec.h"
#include "codegen/emit/Manifest.h"
#include "codegen/emulate/LoadedPackage.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <new>

using namespace llvm;

namespace moec {

namespace {
// Texts of the activations that function files define, for the oracle to evaluate.
static std::map<std::string, std::string> functionTexts(const LayerSpec &spec, const std::string &templatesDir) {
  std::map<std::string, std::string> texts;
  auto add = [&](Activation act, const std::string &name) {
    if (act != Activation::Custom)
      return;
    auto found = readTemplate(templatesDir, "functions/" + name + ".mlir");
    if (found && *found) // the compiler has said what is wrong with another one
      texts[name] = (*found)->text;
  };
  if (spec.layer.dense)
    add(spec.layer.dense->act, spec.layer.dense->actName);
  add(spec.experts.act, spec.experts.actName);
  if (spec.shared)
    add(spec.shared->act, spec.shared->actName);
  return texts;
}

double elementsOf(const Role &role) {
  double count = 1;
  for (int64_t extent : role.shape)
    count *= double(extent);
  return count;
}

// A spec's layer is compared to the reference.
class SpecOracle : public LayerOracle {
public:
  SpecOracle(const LayerSpec &spec, const std::string &templatesDir) : spec(spec), templatesDir(templatesDir) {}
  int64_t hidden() const override { return spec.hidden; }
  DataType activation() const override { return spec.dtype.activation; }
  double weightBytes() const override {
    double bytes = 0;
    for (const Role &role : tensorsOf(spec))
      bytes += elementsOf(role) * (role.name == "router.table" ? 4 : dataTypeBits(spec.dtype.weight) / 8);
    return bytes;
  }
  bool drawWeights(uint64_t seed, bool tf32, bool unordered) override {
    layer = {};
    layer.tf32 = tf32;
    layer.unordered = unordered;
    layer.functions = functionTexts(spec, templatesDir);
    return layer.make(spec, seed);
  }
  const RoleTensors &weights() const override { return layer.tensors; }
  void drawInputs(int64_t tokens, uint64_t seed) override {
    oracle = {};
    randomInputs(spec, tokens, seed, given, oracle);
  }
  const CallInputs &inputs() const override { return given; }
  bool compare(const void *x, const CallOutputs &out, OracleResult &result, std::string &reason) override {
    return compareToOracle(spec, layer, x, oracle, out, result, reason);
  }

private:
  const LayerSpec &spec;
  const std::string &templatesDir;
  RandomLayer layer;
  CallInputs given;
  ReferenceInputs oracle;
};

} // namespace

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
  (void)stats->add(record);
}

// Whether nothing could be run, for a reason that says nothing about the kernels.
static bool isShortage(const Diagnostic &error) {
  return error.code == "E-MEMORY" || error.code == "E-MACHINE" || error.code == "E-RESOURCE";
}

// An error of the runtime: a shortage stays one, everything else is a failure of the package, with its reason.
static Result<bool> failedRun(const Diagnostic &error, std::string &reason, const std::string &where = {}) {
  if (isShortage(error))
    return error;
  reason = where + error.placedMessage();
  return false;
}

// Runs T tokens on 1..N threads with poisoned memory: all must give the same bits, and these the oracle's values.
// False: `reason` says what is wrong; an error: it could not be run.
static Result<bool> verifyCall(LayerOracle &oracle, LayerRun &layer, int isa, const void *x, int64_t tokens,
                               int threads, RoutingStats *routing, IsaResult &result, std::string &reason) {
  std::unique_ptr<CallOutputs> first;
  for (int n = 1; n <= threads; ++n) {
    if (Result<> prepared = layer.prepare(n, isa, nullptr); !prepared)
      return failedRun(prepared.error(), reason);
    for (int repeat = 0; repeat < 2; ++repeat) {
      // once all reports together, then each by itself
      auto out = std::make_unique<CallOutputs>(layer.info(), tokens,
                                               repeat == 0 ? ~0u : 1u << ((tokens + n) % MOEC_NUM_REPORTS));
      layer.poisonWorkspace(repeat == 0);
      if (!out->ready())
        return Diagnostic::error("E-MEMORY", "no memory for the outputs of " + std::to_string(tokens) + " tokens");
      if (Result<> ran = out->run(layer, x); !ran)
        return failedRun(ran.error(), reason);
      if (tokens && first && !first->sameBits(*out)) {
        reason = "T=" + std::to_string(tokens) + ": bits differ between run 1 on 1 thread and run " +
                 std::to_string(repeat + 1) + " on " + std::to_string(n) + " threads";
        return false;
      }
      if (!first)
        first = std::move(out);
    }
  }
  if (!oracle.compare(x, *first, result, reason))
    return false;
  noteRouting(routing, *first);
  return true;
}

// Prepares the layer for the oracle's weights, and runs T tokens of x (false: the reason; an error: nothing was run).
struct Machine {
  bool tf32 = false; // its kernels may round f32 operands
  std::function<Result<>(const RoleTensors &weights)> prepare;
  std::function<Result<bool>(const void *x, int64_t tokens, IsaResult &result, std::string &reason)> run;
};

// Every seed and token count on one machine. An error: nothing could be run.
static Result<> verifyMachine(LayerOracle &oracle, LayerRun &layer, const Machine &machine,
                              const std::vector<int64_t> &tokens, const VerifyFlags &flags, IsaResult &result) {
  int64_t most = *std::max_element(tokens.begin(), tokens.end()), hidden = oracle.hidden();
  PageBuffer x(size_t(std::max<int64_t>(1, most) * hidden) * 4);
  for (int seed = 0; seed < flags.seeds; ++seed) {
    if (!x.data() || !oracle.drawWeights(uint64_t(seed) + 1, machine.tf32, flags.compile.determinism == "off"))
      throw std::bad_alloc(); // the supervisor reports it
    fillNormal(x.data(), oracle.activation(), most * hidden, 0, 1, uint64_t(seed) + 77);
    if (Result<> prepared = machine.prepare(oracle.weights()); !prepared)
      return prepared;
    if (result.name.empty())
      return {};
    for (int64_t t : tokens) {
      std::string reason;
      ++result.cases;
      oracle.drawInputs(t, uint64_t(seed) * 1000 + uint64_t(t));
      layer.setInputs(&oracle.inputs());
      Result<bool> good = machine.run(x.data(), t, result, reason);
      layer.setInputs(nullptr);
      if (!good)
        return good.error().within("T=" + std::to_string(t));
      if (*good)
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
  return {};
}

static Result<> verifyIsa(LayerOracle &oracle, LayerRun &layer, int isa, const std::vector<int64_t> &tokens,
                          const VerifyFlags &flags, RoutingStats *routing, IsaResult &result) {
  Machine machine;
  machine.prepare = [&](const RoleTensors &weights) {
    Result<> prepared = layer.prepare(1, isa, &weights);
    if (prepared && layer.info().isa == isa)
      result.name = flags.emulate ? "amx-emulated" : moec_isa_name(isa);
    return prepared;
  };
  machine.run = [&](const void *x, int64_t t, IsaResult &out, std::string &reason) {
    return verifyCall(oracle, layer, isa, x, t, flags.threads, routing, out, reason);
  };
  return verifyMachine(oracle, layer, machine, tokens, flags, result);
}

// Twice, with other contents of the workspace and, emulated, another order of the threads: the same bits, the oracle's.
// The second time with fewer outputs, since what is not asked for is not launched and other kernels follow each other.
// A package that promises no bits is compared both times.
static Result<bool> verifyDeviceCall(LayerOracle &oracle, LayerRun &layer, const void *x, int64_t tokens,
                                     RoutingStats *routing, IsaResult &result, std::string &reason) {
  bool repeats = layer.info().determinism != 0;
  CallOutputs first(layer.info(), tokens);
  CallOutputs again = repeats && tokens % 2 == 0
                          ? CallOutputs::onlyY(layer.info(), tokens)
                          : CallOutputs(layer.info(), tokens, repeats ? 1u << (tokens % MOEC_NUM_REPORTS) : ~0u);
  layer.poisonWorkspace(true);
  Result<> ran = first.run(layer, x);
  layer.poisonWorkspace(false);
  if (ran)
    ran = again.run(layer, x);
  if (!ran)
    return failedRun(ran.error(), reason, "T=" + std::to_string(tokens) + ": ");
  if (tokens && repeats && !first.sameBits(again)) {
    reason = "T=" + std::to_string(tokens) + ": bits differ between two runs";
    return false;
  }
  bool good = oracle.compare(x, first, result, reason) && (repeats || oracle.compare(x, again, result, reason));
  if (good)
    noteRouting(routing, first);
  return good;
}

static Result<> verifyDevice(LayerOracle &oracle, LayerRun &layer, const DeviceContext &context,
                             const std::vector<int64_t> &tokens, const VerifyFlags &flags, RoutingStats *routing,
                             IsaResult &result) {
  Machine machine;
  machine.tf32 = flags.compile.math == "tf32";
  machine.prepare = [&](const RoleTensors &weights) {
    Result<> prepared = layer.prepare(context, weights);
    if (prepared)
      result.name = std::string(layer.info().isa_name) + (flags.emulate ? "-emulated" : "");
    return prepared;
  };
  machine.run = [&](const void *x, int64_t t, IsaResult &out, std::string &reason) {
    return verifyDeviceCall(oracle, layer, x, t, routing, out, reason);
  };
  return verifyMachine(oracle, layer, machine, tokens, flags, result);
}

static int verifyCpu(Verification &v, LayerOracle &oracle, const CompiledPackage &compiled) {
  Result<std::unique_ptr<LoadedPackage>> package = LoadedPackage::load(compiled);
  if (!package)
    return fail(v.session, package.error());
  LayerRun layer((*package)->get());
  for (int isa = MOEC_NUM_ISAS - 1; isa >= 0; --isa) {
    if (!(compiled.plan.header.isa_mask >> isa & 1))
      continue;
    IsaResult result;
    bool above = isa > moec_cpu_isa();
    if (!above)
      if (Result<> verified = verifyIsa(oracle, layer, isa, v.tokens, v.flags, v.firstRouting(), result); !verified)
        return fail(v.session, verified.error());
    if (result.name.empty())
      v.skip(moec_isa_name(isa), above ? "this machine does not have it" : "MOEC_MAX_ISA forbids it");
    else
      v.results.push_back(std::move(result));
  }
  return ExitDone;
}

// Emulated, or on this machine's GPU; without one the package is skipped.
static int verifyCuda(Verification &v, LayerOracle &oracle, CompiledPackage &compiled, const CompileOptions &options) {
  std::string name = "cuda:" + cudaArchFacts(options.archs.front()).name.str();
  std::unique_ptr<EmulatedDevice> emulated;
  std::unique_ptr<DeviceContext> real;
  if (options.emulateCuda) {
    Result<std::unique_ptr<EmulatedDevice>> made = EmulatedDevice::make(compiled);
    if (!made)
      return fail(v.session, made.error());
    emulated = std::move(*made);
  } else {
    Result<std::unique_ptr<DeviceContext>> opened = DeviceContext::open(nullptr);
    if (!opened) {
      v.skip(options.archs.size() > 1 ? "cuda" : name, opened.error().message);
      return ExitDone;
    }
    real = std::move(*opened);
  }
  Result<std::unique_ptr<LoadedPackage>> package = LoadedPackage::load(compiled);
  if (!package)
    return fail(v.session, package.error());
  LayerRun layer((*package)->get());
  IsaResult result;
  if (Result<> verified = verifyDevice(oracle, layer, emulated ? emulated->context() : *real, v.tokens, v.flags,
                                       v.firstRouting(), result);
      !verified)
    return fail(v.session, verified.error());
  v.results.push_back(std::move(result));
  return ExitDone;
}

// Weights as drawn and packed, x, and the largest call.
static Result<> checkMemoryOf(const Verification &v, const LayerOracle &oracle, const CompiledPackage &compiled) {
  const LaunchPlan &plan = compiled.plan;
  int64_t most = *std::max_element(v.tokens.begin(), v.tokens.end());
  double bytes = oracle.weightBytes() + 4.0 * double(most) * double(oracle.hidden());
  if (plan.header.isa_mask)
    return checkMemory(bytes + double(plan.header.packed_bytes) + double(workspaceBytes(plan, most, v.flags.threads)),
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
    if (Result<> fits = checkMemoryOf(v, oracle, *compiled); !fits)
      return fail(v.session, fits.error());
    enterStage("verify");
    exit = part.archs.empty() ? verifyCpu(v, oracle, *compiled) : verifyCuda(v, oracle, *compiled, part);
    if (exit != ExitDone)
      return exit;
  }
  return ExitDone;
}

int verifyLayer(Verification &v, const CompileOptions &options) {
  if (v.text) {
    TextOracle oracle(*v.text);
    return verifyWith(v, oracle, options);
  }
  SpecOracle oracle(v.input.spec, v.flags.compile.templatesDir);
  return verifyWith(v, oracle, options);
}

} // namespace moec
