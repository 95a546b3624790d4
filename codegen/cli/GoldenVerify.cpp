// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Golden cases in -> pass, fail or skip, each with its reason, out.

#include "GoldenVerify.h"

#include "CompileRun.h"
#include "EmulatedDevice.h"
#include "LayerRun.h"
#include "OutputCheck.h"
#include "Supervisor.h"

#include "dsl/GoldenCase.h"

#include "llvm/Support/Format.h"

using namespace llvm;

namespace moec {

namespace {
enum class Outcome { Passed, Failed, Skipped };

struct CaseResult {
  Outcome outcome = Outcome::Passed;
  std::string text; // the reason, or the instruction sets that passed
  WorstError worst;
};
} // namespace

static CaseResult failed(std::string why) { return {Outcome::Failed, std::move(why), {}}; }
static CaseResult skipped(std::string why) { return {Outcome::Skipped, std::move(why), {}}; }

// semantics of the tolerance: a fraction of max|y|; bf16 storage rounds the hidden values.
static double toleranceOf(const GoldenCase &golden) {
  if (golden.tolerance)
    return *golden.tolerance;
  return golden.dtype == DataType::F32 ? 2e-5 : 2e-2;
}

static std::vector<double> asDoubles(const std::vector<float> &values) { return {values.begin(), values.end()}; }

static bool compareBatch(const GoldenCase &golden, const GoldenBatch &batch, const CallOutputs &out, WorstError &worst,
                         std::string &reason) {
  CompareOptions options, exact;
  options.maxRel = toleranceOf(golden);
  exact.maxRel = 0;
  const GoldenTensor *logits = batch.find("logits"), *ids = batch.find("ids"), *weights = batch.find("weights");
  const GoldenTensor *counts = batch.find("counts");
  if (logits && !worst.take(compareRows(asDoubles(out.logits), logits->values(), out.numLogits, options), "logits", reason))
    return false;
  if (ids) {
    std::vector<int64_t> wanted;
    for (double id : ids->values())
      wanted.push_back(int64_t(id));
    std::vector<double> wantedWeights = weights ? weights->values() : std::vector<double>(wanted.size(), 1.0);
    std::vector<double> got = weights ? asDoubles(out.weights) : std::vector<double>(out.ids.size(), 1.0);
    if (!worst.take(compareChoices({out.ids.begin(), out.ids.end()}, got, wanted, wantedWeights, out.choices, options),
                    "ids and weights", reason))
      return false;
  }
  if (counts && counts->numElements() == out.experts &&
      !worst.take(compareRows({out.counts.begin(), out.counts.end()}, counts->values(), out.experts, exact), "counts", reason))
    return false;
  return worst.take(compareRows(out.yValues(), batch.find("y")->values(), out.hidden, options), "y", reason);
}

// One batch on the layer as it is prepared: once, and again for the same bits.
static bool runBatch(const GoldenCase &golden, const GoldenBatch &batch, LayerRun &layer, WorstError &worst,
                     std::string &reason) {
  const moec_layer_info &info = layer.info();
  std::vector<double> values = batch.find("x")->values();
  PageBuffer x(values.size() * 4);
  CallOutputs out(info, batch.numTokens()), again(info, batch.numTokens());
  if (!x.data() || !out.ready() || !again.ready()) {
    reason = "out of memory";
    return false;
  }
  for (size_t i = 0; i < values.size(); ++i)
    storeElement(x.data(), DataType(info.x_dtype), int64_t(i), values[i]);
  layer.poisonWorkspace(true);
  if (!out.run(layer, x.data(), reason))
    return false;
  layer.poisonWorkspace(false);
  if (!again.run(layer, x.data(), reason))
    return false;
  if (!out.sameBits(again)) {
    reason = "two runs on the same input differ in their bits";
    return false;
  }
  return compareBatch(golden, batch, out, worst, reason);
}

static RoleTensors tensorsOf(const GoldenCase &golden) {
  RoleTensors tensors;
  for (const auto &[role, tensor] : golden.weights)
    tensors[role] = {tensor.type, tensor.bytes.data(), tensor.shape};
  return tensors;
}

// Every batch on the layer as it is prepared; adds `machine` to the text of what passed.
static bool runBatches(const GoldenCase &golden, LayerRun &layer, const std::string &machine, CaseResult &result) {
  std::string error;
  for (const GoldenBatch &batch : golden.batches)
    if (!runBatch(golden, batch, layer, result.worst, error)) {
      result = failed(machine + ", batch " + std::to_string(batch.index) + ": " + error);
      return false;
    }
  result.text += (result.text.empty() ? "" : " ") + machine;
  return true;
}

// Every instruction set the package has and this machine can run.
static void runOnEveryIsa(const GoldenCase &golden, LayerRun &layer, bool emulated, CaseResult &result) {
  RoleTensors tensors = tensorsOf(golden);
  for (int isa = MOEC_NUM_ISAS - 1; isa >= 0; --isa) {
    std::string error;
    if (!layer.prepare(2, isa, &tensors, error)) {
      if (layer.isaMissing())
        continue;
      result = failed(error);
      return;
    }
    if (layer.info().isa == isa && !runBatches(golden, layer, emulated ? "amx-emulated" : moec_isa_name(isa), result))
      return;
  }
}

// The device that runs the package; neither: none here does.
struct Device {
  std::unique_ptr<EmulatedDevice> emulated;
  std::unique_ptr<DeviceContext> real;
};

static void runOnDevice(const GoldenCase &golden, LayerRun &layer, const Device &device, CaseResult &result) {
  std::string error;
  const DeviceContext &context = device.emulated ? device.emulated->context() : *device.real;
  if (!layer.prepare(context, tensorsOf(golden), error)) {
    if (!layer.isaMissing())
      result = failed(error);
    return;
  }
  runBatches(golden, layer, std::string(layer.info().isa_name) + (device.emulated ? "-emulated" : ""), result);
}

// One package: the CPU's, or a device's.
static void verifyPart(const GoldenCase &golden, const CompileOptions &options, CaseResult &result) {
  std::string error;
  CompileInput input;
  input.spec = &golden.spec;
  std::vector<CompileError> errors;
  std::unique_ptr<CompiledPackage> compiled = compileLayer(input, options, errors);
  if (!compiled) {
    bool unsupported = !errors.empty() && errors.front().exitCode == ExitUnsupported;
    std::string message = errors.empty() ? "no reason given" : errors.front().message;
    result = unsupported ? skipped(message) : failed("does not compile: " + message);
    return;
  }
  Device device;
  if (options.emulateCuda && !options.archs.empty() && !(device.emulated = EmulatedDevice::make(*compiled, error))) {
    result = failed(error);
    return;
  }
  if (!options.archs.empty() && !device.emulated && !(device.real = DeviceContext::open(nullptr, error)))
    return;
  std::unique_ptr<LayerRun> layer = LayerRun::load(*compiled, error);
  if (!layer)
    result = failed("does not load: " + error);
  else if (options.archs.empty())
    runOnEveryIsa(golden, *layer, options.emulateTiles, result);
  else
    runOnDevice(golden, *layer, device, result);
}

static CaseResult verifyCase(const std::string &folder, const std::string &name, const CompileOptions &options) {
  GoldenCase golden;
  std::string error;
  if (!readGoldenCase(folder, name, golden, error))
    return failed(error);
  MemoryWeights view = golden.view();
  for (const GoldenBatch &batch : golden.batches) {
    ReferenceInputs inputs = referenceInputs(golden, batch, view);
    if (inputs.extra.empty() && !inputs.training)
      continue;
    std::string names;
    for (const auto &[input, tensor] : inputs.extra)
      names += (names.empty() ? "" : ", ") + input;
    return skipped("needs inputs that packages do not take: " + (names.empty() ? "training mode" : names));
  }
  CaseResult result;
  for (const CompileOptions &part : splitByDevice(options)) {
    verifyPart(golden, part, result);
    if (result.outcome != Outcome::Passed)
      return result;
  }
  return result.text.empty() ? skipped("this machine runs nothing of the target") : result;
}

int verifyGolden(Session &session, const std::string &folder, const CompileOptions &options) {
  std::vector<std::string> names;
  std::string error;
  if (!listGoldenCases(folder, names, error))
    return fail(session, ExitFile, "E-FILE", error);
  CompileOptions quiet = options;
  quiet.progress = [](StringRef stage, StringRef, double) { enterStage(stage); };
  size_t counts[3] = {0, 0, 0};
  for (const std::string &name : names) {
    CaseResult result = verifyCase(folder, name, quiet);
    ++counts[size_t(result.outcome)];
    static const char *words[] = {"pass", "FAIL", "skip"};
    session.out << words[size_t(result.outcome)] << " " << format("%-26s ", name.c_str());
    if (result.outcome == Outcome::Passed)
      session.out << format("worst %.1e  ", result.worst.value) << result.text << "\n";
    else
      session.out << escaped(result.text) << "\n";
    session.out.flush();
  }
  session.out << names.size() << " cases, " << counts[0] << " passed, " << counts[1] << " failed, " << counts[2]
              << " skipped\n";
  return counts[1] ? ExitCheckFailed : ExitDone;
}

} // namespace moec
