// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec verify: a spec -> its package run on random weights and inputs and compared to the float64 reference, on every
// instruction set of the target and 1..N threads, and on the GPU or an emulated one; or a folder of golden vectors ->
// every case of it.

#include "CompileRun.h"
#include "EmulatedDevice.h"
#include "GoldenVerify.h"
#include "LayerRun.h"
#include "OutputCheck.h"
#include "Supervisor.h"
#include "Verbs.h"

#include "codegen/moe/TemplateFiles.h"

#include "dsl/Reference.h"

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
struct VerifyFlags {
  CompileFlags compile;
  std::string spec, golden, tokens = "0-17,31-33,64";
  int seeds = 1, threads = 3;
  bool json = false;
  bool emulate = false;
};

// One random set of weights; kept whole because the oracle reads the unpacked form.
struct RandomLayer {
  std::vector<PageBuffer> memory;
  RoleTensors tensors;
  MemoryWeights view;
  std::map<std::string, std::string> functions; // texts of activations that are not built in
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

// What happened on one instruction set.
struct IsaResult {
  std::string name;
  size_t cases = 0, failed = 0, tied = 0;
  WorstError worst;
  std::string firstFailure;
};
} // namespace

static bool makeWeights(const LayerSpec &spec, uint64_t seed, RandomLayer &out) {
  for (const Role &role : rolesOf(spec)) {
    int64_t count = 1;
    for (int64_t extent : role.shape)
      count *= extent;
    PageBuffer buffer(size_t(count) * size_t(dataTypeBits(spec.dtype.weight)) / 8);
    if (!buffer.data())
      return false;
    Distribution distribution = distributionOf(role);
    fillNormal(buffer.data(), spec.dtype.weight, count, distribution.mean, distribution.deviation,
               seed * 1000 + out.memory.size());
    out.tensors[role.name] = {spec.dtype.weight, buffer.data(), role.shape};
    out.view.add(role, spec.dtype.weight, buffer.data());
    out.memory.push_back(std::move(buffer));
  }
  return true;
}

// The oracle costs about 6*H*I*K multiplications per token: it looks at all tokens of small layers, at 2 or more of others.
static std::vector<int64_t> sampledTokens(const LayerSpec &spec, int64_t tokens) {
  bool linear = spec.experts.form == ExpertForm::Linear; // without an inner width
  double width = double(linear ? spec.hidden : spec.experts.width(0));
  double perToken = 3.0 * double(spec.hidden) * double(std::max<int64_t>(1, spec.choices())) * width;
  int64_t most = std::min<int64_t>(tokens, std::max<int64_t>(2, int64_t(4e7 / std::max(1.0, perToken))));
  std::set<int64_t> chosen;
  for (int64_t i = 0; i < most; ++i)
    chosen.insert(most == 1 ? 0 : i * (tokens - 1) / (most - 1));
  return {chosen.begin(), chosen.end()};
}

// Two experts whose logits differ by rounding only may change places; everything else that differs is wrong.
static bool isTie(const ReferenceOutputs &want, int64_t row, const std::set<int64_t> &got, double tolerance) {
  int64_t columns = want.choices, experts = int64_t(want.logits.size()) * columns / std::max<int64_t>(1, int64_t(want.ids.size()));
  std::vector<double> in, out;
  double scale = 1e-30;
  for (int64_t e = 0; e < experts; ++e)
    scale = std::max(scale, std::fabs(want.logits[size_t(row * experts + e)]));
  std::set<int64_t> wanted(want.ids.begin() + row * columns, want.ids.begin() + (row + 1) * columns);
  for (int64_t id : wanted)
    if (!got.count(id) && id >= 0 && id < experts)
      in.push_back(want.logits[size_t(row * experts + id)]);
  for (int64_t id : got)
    if (!wanted.count(id)) {
      if (id < 0 || id >= experts)
        return false;
      out.push_back(want.logits[size_t(row * experts + id)]);
    }
  std::sort(in.begin(), in.end());
  std::sort(out.begin(), out.end());
  bool close = in.size() == out.size();
  for (size_t i = 0; close && i < in.size(); ++i)
    close = std::fabs(in[i] - out[i]) <= tolerance * scale;
  return close;
}

// How far a token may be off. A row that cancels to almost nothing is measured by the size of its neighbours.
struct Tolerance {
  CompareOptions values, logits, y;
};

static double rootMeanSquare(const std::vector<double> &values) {
  double sum = 0;
  for (double v : values)
    sum += v * v;
  return std::isfinite(sum) && !values.empty() ? std::sqrt(sum / double(values.size())) : 0;
}

static Tolerance toleranceOf(const LayerSpec &spec, const ReferenceOutputs &want) {
  bool narrow = spec.dtype.activation != DataType::F32 || spec.dtype.output != DataType::F32;
  Tolerance tolerance;
  tolerance.values.maxRel = tolerance.y.maxRel = narrow ? 2e-2 : 2e-5;
  tolerance.logits.maxRel = 2e-5;
  tolerance.values.scale = rootMeanSquare(want.weights);
  tolerance.logits.scale = rootMeanSquare(want.logits);
  tolerance.y.scale = rootMeanSquare(want.y);
  return tolerance;
}

// Row `token` of `out` against row `row` of the oracle's answer.
static bool compareToken(const CallOutputs &out, int64_t token, const ReferenceOutputs &want, int64_t row,
                         const Tolerance &tolerance, IsaResult &result, std::string &reason) {
  auto part = [](const auto &from, int64_t index, int64_t columns) {
    return std::vector<double>(from.begin() + index * columns, from.begin() + (index + 1) * columns);
  };
  if (!want.logits.empty() &&
      !result.worst.take(compareRows(part(out.logits, token, out.numLogits), part(want.logits, row, out.numLogits),
                                     out.numLogits, tolerance.logits), "logits", reason))
    return false;
  if (!want.ids.empty()) {
    int64_t k = out.choices;
    std::vector<int64_t> got(out.ids.begin() + token * k, out.ids.begin() + (token + 1) * k);
    std::vector<int64_t> ids(want.ids.begin() + row * k, want.ids.begin() + (row + 1) * k);
    std::set<int64_t> gotSet(got.begin(), got.end());
    if (gotSet != std::set<int64_t>(ids.begin(), ids.end()) && isTie(want, row, gotSet, 1e-5)) {
      ++result.tied;
      return true;
    }
    if (!result.worst.take(compareChoices(got, part(out.weights, token, k), ids, part(want.weights, row, k), k, tolerance.values),
                           "ids and weights", reason))
      return false;
  }
  return result.worst.take(compareRows(out.yRow(token), part(want.y, row, out.hidden), out.hidden, tolerance.y), "y", reason);
}

static bool compareToOracle(const LayerSpec &spec, const RandomLayer &weights, const void *x, const CallOutputs &out,
                            IsaResult &result, std::string &reason) {
  if (out.tokens == 0)
    return true;
  std::vector<int64_t> tokens = sampledTokens(spec, out.tokens);
  ReferenceInputs inputs;
  inputs.functions = weights.functions;
  inputs.numTokens = int64_t(tokens.size());
  inputs.x.shape = {inputs.numTokens, out.hidden};
  for (int64_t token : tokens)
    for (int64_t i = 0; i < out.hidden; ++i)
      inputs.x.data.push_back(loadElement(x, spec.dtype.activation, token * out.hidden + i));
  inputs.weights = &weights.view;
  ReferenceOutputs want;
  if (!runReference(spec, inputs, want, reason))
    return false;
  Tolerance tolerance = toleranceOf(spec, want);
  for (size_t i = 0; i < tokens.size(); ++i)
    if (!compareToken(out, tokens[i], want, int64_t(i), tolerance, result, reason)) {
      reason = "T=" + std::to_string(out.tokens) + " token " + std::to_string(tokens[i]) + " " + reason;
      return false;
    }
  return true;
}

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
    if (!x.data() || !makeWeights(spec, uint64_t(seed) + 1, weights)) {
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
  std::unique_ptr<LayerRun> layer = LayerRun::load(compiled, error);
  if (!layer)
    return fail(v.session, ExitInternal, "E-INTERNAL", error);
  for (int isa = MOEC_NUM_ISAS - 1; isa >= 0; --isa) {
    if (!(compiled.plan.header.isa_mask >> isa & 1))
      continue;
    IsaResult result;
    bool above = isa > moec_cpu_isa();
    if (!above && !verifyIsa(v.input.spec, *layer, isa, v.tokens, v.flags, result, error))
      return failToPrepare(v.session, *layer, ExitInternal, "E-INTERNAL", error);
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
  std::unique_ptr<LayerRun> layer = LayerRun::load(compiled, error);
  if (!layer)
    return fail(v.session, ExitInternal, "E-INTERNAL", error);
  IsaResult result;
  if (!verifyDevice(v.input.spec, *layer, emulated ? emulated->context() : *real, v.tokens, v.flags, result, error))
    return failToPrepare(v.session, *layer, ExitInternal, "E-INTERNAL", error);
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
