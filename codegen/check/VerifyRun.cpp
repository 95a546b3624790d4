// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Random weights and inputs in -> calls, comparisons and counts out.

#include "codegen/check/VerifyRun.h"

#include "codegen/check/GradientRun.h"
#include "codegen/check/OutputCheck.h"
#include "codegen/check/RandomSpec.h"

#include <algorithm>
#include <memory>

namespace moec {

double SpecOracle::weightBytes() const {
  double bytes = 0;
  for (const Role &role : tensorsOf(spec)) {
    double count = 1;
    for (int64_t extent : role.shape)
      count *= double(extent);
    bytes += count * double(dataTypeBits(drawnType(spec, role)) / 8);
  }
  return bytes;
}

bool SpecOracle::drawWeights(uint64_t seed, bool tf32, bool unordered) {
  layer = {};
  layer.tf32 = tf32;
  layer.unordered = unordered;
  layer.functions = functions;
  return layer.make(spec, seed);
}

void SpecOracle::drawInputs(int64_t tokens, uint64_t seed) {
  oracle = {};
  randomInputs(spec, tokens, seed, given, oracle);
}

bool SpecOracle::compare(const void *x, const CallOutputs &out, OracleResult &result, std::string &reason) {
  return compareToOracle(spec, layer, x, oracle, out, result, reason);
}

std::vector<std::string> functionsToRead(const LayerSpec &spec) {
  std::vector<std::string> names;
  auto add = [&](Activation act, const std::string &name) {
    if (act == Activation::Custom)
      names.push_back(name);
  };
  if (spec.layer.dense)
    add(spec.layer.dense->act, spec.layer.dense->actName);
  add(spec.experts.act, spec.experts.actName);
  if (spec.shared)
    add(spec.shared->act, spec.shared->actName);
  return names;
}

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

static Diagnostic noMemory(const std::string &what) {
  return Diagnostic::error("E-MEMORY", "not enough memory for " + what, "use a smaller layer or fewer --tokens");
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
        return noMemory("the outputs of " + std::to_string(tokens) + " tokens");
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

// The same of a backward call, whose inputs the gradients' oracle draws.
static Result<bool> verifyGradientCall(GradientOracle &gradients, const RoleTensors &weights, uint64_t seed,
                                       LayerRun &layer, int64_t tokens, int threads, const PrepareThreads &prepare,
                                       IsaResult &result, std::string &reason) {
  if (Result<> drawn = gradients.draw(weights, seed, tokens); !drawn)
    return failedRun(drawn.error(), reason);
  Result<bool> good = verifyGradients(gradients, layer, threads, prepare, result.gradients, reason);
  result.gradients.undecided += gradients.undecided();
  result.gradients.decided += size_t(tokens) - gradients.undecided();
  if (!good)
    return failedRun(good.error(), reason);
  return good;
}

namespace {
// Prepares the layer for the oracle's weights, and runs T tokens of x (false: the reason; an error: nothing was run).
struct Machine {
  bool tf32 = false; // its kernels may round f32 operands
  std::function<Result<>(const RoleTensors &weights)> prepare;
  // `seed`: of the weights.
  std::function<Result<bool>(const void *x, int64_t tokens, uint64_t seed, IsaResult &result, std::string &reason)> run;
};
} // namespace

// Every seed and token count on one machine. An error: nothing could be run.
static Result<> verifyMachine(LayerOracle &oracle, LayerRun &layer, const Machine &machine,
                              const VerifyOptions &options, IsaResult &result) {
  const std::vector<int64_t> &tokens = options.tokens;
  int64_t most = options.mostTokens(), hidden = oracle.hidden();
  PageBuffer x(size_t(std::max<int64_t>(1, most) * hidden) * 4);
  for (int i = 0; i < options.seeds; ++i) {
    uint64_t seed = options.seed + uint64_t(i);
    if (!x.data() || !oracle.drawWeights(seed, machine.tf32, options.unordered))
      return noMemory("weights and inputs");
    fillNormal(x.data(), oracle.activation(), most * hidden, 0, 1, seed + 76);
    if (Result<> prepared = machine.prepare(oracle.weights()); !prepared)
      return prepared;
    if (result.name.empty())
      return {};
    for (int64_t t : tokens) {
      std::string reason;
      ++result.cases;
      oracle.drawInputs(t, (seed - 1) * 1000 + uint64_t(t));
      layer.setInputs(&oracle.inputs());
      Result<bool> good = machine.run(x.data(), t, seed, result, reason);
      layer.setInputs(nullptr);
      if (!good)
        return good.error().within("T=" + std::to_string(t));
      if (*good)
        continue;
      ++result.failed;
      if (result.firstFailure.empty())
        result.firstFailure = "seed " + std::to_string(i) + ", " + reason;
    }
  }
  if (options.gradients && most > 0 && result.gradients.decided == 0 && result.failed == 0) {
    ++result.failed;
    result.firstFailure = "no gradient was compared: rounding decides about all of the " +
                          std::to_string(result.gradients.undecided) + " tokens";
  }
  if (most > 0 && result.compared.rows == 0 && result.failed == 0) {
    ++result.failed;
    result.firstFailure =
        "no row of y was compared: rounding decides about all of the " + std::to_string(result.tied) + " tokens";
  }
  if (result.compared.rows > 0 && result.compared.values == 0 && result.failed == 0) {
    ++result.failed;
    result.firstFailure = "no value of y was compared: the reference has none that is finite";
  }
  return {};
}

static Result<> verifyIsa(LayerOracle &oracle, LayerRun &layer, int isa, const VerifyOptions &options,
                          RoutingStats *routing, IsaResult &result) {
  Machine machine;
  machine.prepare = [&](const RoleTensors &weights) {
    Result<> prepared = layer.prepare(1, isa, &weights);
    if (prepared && layer.info().isa == isa)
      result.name = options.emulated ? "amx-emulated" : moec_isa_name(isa);
    return prepared;
  };
  machine.run = [&](const void *x, int64_t t, uint64_t seed, IsaResult &out, std::string &reason) {
    Result<bool> good = verifyCall(oracle, layer, isa, x, t, options.threads, routing, out, reason);
    if (!good || !*good || !options.gradients)
      return good;
    auto prepareThreads = [&](int n) { return layer.prepare(n, isa, nullptr); };
    return verifyGradientCall(*options.gradients, oracle.weights(), seed, layer, t, options.threads, prepareThreads,
                              out, reason);
  };
  return verifyMachine(oracle, layer, machine, options, result);
}

int64_t VerifyOptions::mostTokens() const {
  return tokens.empty() ? 0 : *std::max_element(tokens.begin(), tokens.end());
}

double verifyMemory(const LayerOracle &oracle, const VerifyOptions &options) {
  return oracle.weightBytes() + 4.0 * double(options.mostTokens()) * double(oracle.hidden());
}

Result<> verifyCpu(LayerOracle &oracle, const moec_package *package, uint32_t isaMask, const VerifyOptions &options,
                   RoutingStats *routing, const SkipNote &skip, std::vector<IsaResult> &results) {
  LayerRun layer(package);
  for (int isa = MOEC_NUM_ISAS - 1; isa >= 0; --isa) {
    if (!(isaMask >> isa & 1))
      continue;
    IsaResult result;
    bool above = isa > moec_cpu_isa();
    if (!above)
      if (Result<> verified = verifyIsa(oracle, layer, isa, options, results.empty() ? routing : nullptr, result);
          !verified)
        return verified;
    if (result.name.empty())
      skip(moec_isa_name(isa), above ? "this machine does not have it" : "MOEC_MAX_ISA forbids it");
    else
      results.push_back(std::move(result));
  }
  return {};
}

// Twice, with other contents of the workspace and, emulated, another order of the threads: the same bits, the oracle's.
// The second call asks for fewer outputs: fewer kernels are launched, so others follow each other.
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

Result<> verifyDevice(LayerOracle &oracle, const moec_package *package, const DeviceContext &context,
                      const VerifyOptions &options, RoutingStats *routing, std::vector<IsaResult> &results) {
  LayerRun layer(package);
  IsaResult result;
  Machine machine;
  machine.tf32 = options.tf32;
  machine.prepare = [&](const RoleTensors &weights) {
    Result<> prepared = layer.prepare(context, weights);
    if (prepared)
      result.name = std::string(layer.info().isa_name) + (options.emulated ? "-emulated" : "");
    return prepared;
  };
  machine.run = [&](const void *x, int64_t t, uint64_t seed, IsaResult &out, std::string &reason) {
    Result<bool> good = verifyDeviceCall(oracle, layer, x, t, routing, out, reason);
    if (!good || !*good || !options.gradients)
      return good;
    auto prepared = [](int) { return Result<>(); }; // a device has no threads to choose
    return verifyGradientCall(*options.gradients, oracle.weights(), seed, layer, t, /*threads=*/1, prepared, out,
                              reason);
  };
  if (Result<> verified = verifyMachine(oracle, layer, machine, options, result); !verified)
    return verified;
  results.push_back(std::move(result));
  return {};
}

} // namespace moec
