// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Golden cases in -> pass, fail or skip, each with its reason, out.

#include "GoldenVerify.h"

#include "CompileFlags.h"
#include "GoldenGradients.h"
#include "Supervisor.h"
#include "codegen/check/GoldenCheck.h"
#include "codegen/check/TrainedSpec.h"
#include "codegen/emulate/EmulatedDevice.h"
#include "codegen/emulate/LoadedPackage.h"

#include "codegen/check/GoldenCase.h"

#include "llvm/Support/Format.h"

using namespace llvm;

namespace moec {

namespace {
enum class Outcome { Passed, Failed, Skipped };

struct CaseResult : CheckResult {
  explicit CaseResult(Outcome outcome = Outcome::Passed, std::string text = "")
      : outcome(outcome), text(std::move(text)) {}
  Outcome outcome;
  std::string text; // the reason, or the instruction sets that passed
};
} // namespace

static CaseResult failed(std::string why) { return CaseResult(Outcome::Failed, std::move(why)); }
static CaseResult skipped(std::string why) { return CaseResult(Outcome::Skipped, std::move(why)); }

// Every batch on the layer as it is prepared; adds `machine` to the text of what passed.
static bool runBatches(const GoldenCase &golden, LayerRun &layer, const std::string &machine, CaseResult &result,
                       bool tf32 = false) {
  std::string reason;
  if (size_t(layer.info().num_losses) != golden.spec.losses.size()) {
    result = failed(machine + ": the package has " + std::to_string(layer.info().num_losses) + " losses, its spec " +
                    std::to_string(golden.spec.losses.size()));
    return false;
  }
  for (const GoldenBatch &batch : golden.batches)
    if (!runBatch(golden, batch, layer, result, reason, tf32)) {
      result = failed(machine + ", batch " + std::to_string(batch.index) + ": " + reason);
      return false;
    }
  result.text += (result.text.empty() ? "" : " ") + machine;
  return true;
}

// Gradients that the case stores, on the layer as it is prepared.
static bool runGradients(GoldenGradients &gradients, LayerRun &layer, int threads, const PrepareThreads &prepare,
                         const std::string &machine, CaseResult &result) {
  std::string reason;
  Result<bool> good = gradients.run(layer, threads, prepare, result, reason);
  if (good && *good)
    return true;
  result = failed(machine + ", gradients: " + (good ? reason : good.error().placedMessage()));
  return false;
}

// Every instruction set the package has and this machine can run.
static void runOnEveryIsa(const GoldenCase &golden, LayerRun &layer, bool emulated, GoldenGradients *gradients,
                          CaseResult &result) {
  RoleTensors tensors = tensorsOf(golden);
  for (int isa = MOEC_NUM_ISAS - 1; isa >= 0; --isa) {
    if (Result<> prepared = layer.prepare(2, isa, &tensors); !prepared) {
      if (prepared.error().code == "E-MACHINE")
        continue;
      result = failed(prepared.error().message);
      return;
    }
    if (layer.info().isa != isa)
      continue;
    std::string machine = emulated ? "amx-emulated" : moec_isa_name(isa);
    auto prepare = [&](int threads) { return layer.prepare(threads, isa, nullptr); };
    if (!runBatches(golden, layer, machine, result) ||
        (gradients && !runGradients(*gradients, layer, /*threads=*/2, prepare, machine, result)))
      return;
  }
}

// The device that runs the package; neither: none here does.
struct Device {
  std::unique_ptr<EmulatedDevice> emulated;
  std::unique_ptr<DeviceContext> real;
};

static void runOnDevice(const GoldenCase &golden, LayerRun &layer, const Device &device, MathMode math,
                        GoldenGradients *gradients, CaseResult &result) {
  const DeviceContext &context = device.emulated ? device.emulated->context() : *device.real;
  if (Result<> prepared = layer.prepare(context, tensorsOf(golden)); !prepared) {
    if (prepared.error().code != "E-MACHINE")
      result = failed(prepared.error().message);
    return;
  }
  std::string machine = std::string(layer.info().isa_name) + (device.emulated ? "-emulated" : "");
  if (runBatches(golden, layer, machine, result, math == MathMode::Tf32) && gradients)
    runGradients(*gradients, layer, /*threads=*/1, [](int) { return Result<>(); }, machine, result);
}

// One package: the CPU's, or a device's.
static void verifyPart(const GoldenCase &golden, const CompileOptions &options, GoldenGradients *gradients,
                       CaseResult &result) {
  CompileInput input;
  input.spec = &golden.spec;
  std::vector<Diagnostic> errors;
  std::unique_ptr<CompiledPackage> compiled = compileLayer(input, options, errors);
  if (!compiled) {
    bool unsupported = !errors.empty() && errors.front().code == "E-UNSUPPORTED";
    std::string message = errors.empty() ? "no reason given" : errors.front().placedMessage();
    result = unsupported ? skipped(message) : failed("does not compile: " + message);
    return;
  }
  Device device;
  if (!options.archs.empty() && options.emulateCuda) {
    Result<std::unique_ptr<EmulatedDevice>> made = EmulatedDevice::make(*compiled);
    if (!made) {
      result = failed(made.error().message);
      return;
    }
    device.emulated = std::move(*made);
  } else if (!options.archs.empty()) {
    Result<std::unique_ptr<DeviceContext>> opened = DeviceContext::open(nullptr);
    if (!opened) {
      result.text = "skipped: " + opened.error().message;
      return;
    }
    device.real = std::move(*opened);
  }
  Result<std::unique_ptr<LoadedPackage>> package = LoadedPackage::load(*compiled);
  if (!package) {
    result = failed("does not load: " + package.error().message);
    return;
  }
  LayerRun layer((*package)->get());
  if (options.archs.empty())
    runOnEveryIsa(golden, layer, options.emulateTiles, gradients, result);
  else
    runOnDevice(golden, layer, device, options.math, gradients, result);
}

// Makes the case a layer that trains. Null: `result` says why not.
static std::unique_ptr<GoldenGradients> makeGradients(GoldenCase &golden, const CompileOptions &options,
                                                      CaseResult &result) {
  if (golden.gradients.empty()) {
    result = skipped("the case stores no gradients");
    return nullptr;
  }
  Result<LayerSpec> trained = withBackwardPass(golden.spec);
  if (!trained) {
    result = skipped(trained.error().placedMessage());
    return nullptr;
  }
  golden.spec = *trained;
  Result<std::unique_ptr<GoldenGradients>> gradients = GoldenGradients::make(golden, options.templatesDir);
  if (!gradients) {
    result = failed(gradients.error().placedMessage());
    return nullptr;
  }
  return std::move(*gradients);
}

static CaseResult verifyCase(const std::string &folder, const std::string &name, const CompileOptions &options,
                             bool grad) {
  Result<GoldenCase> read = readGoldenCase(folder, name);
  if (!read)
    return failed(read.error().placedMessage());
  GoldenCase &golden = *read;
  std::string reason;
  if (!fitPackage(golden, reason))
    return skipped(reason);
  CaseResult result;
  std::unique_ptr<GoldenGradients> gradients;
  if (grad && !(gradients = makeGradients(golden, options, result)))
    return result;
  for (const CompileOptions &part : splitByDevice(options)) {
    verifyPart(golden, part, gradients.get(), result);
    if (result.outcome != Outcome::Passed)
      return result;
  }
  return result.text.empty() ? skipped("this machine runs nothing of the target") : result;
}

int verifyGolden(Session &session, const std::string &folder, const CompileOptions &options, bool gradients) {
  Result<std::vector<std::string>> names = listGoldenCases(folder);
  if (!names)
    return fail(session, names.error());
  if (names->empty())
    return fail(session, "E-GOLDEN", "folder " + quoteText(folder, 256) + " holds no golden case",
                "a case is NAME.json with NAME.safetensors, both regular files");
  CompileOptions quiet = options;
  quiet.progress = [](StringRef stage, StringRef, double) { enterStage(stage); };
  size_t counts[3] = {0, 0, 0};
  for (const std::string &name : *names) {
    CaseResult result = verifyCase(folder, name, quiet, gradients);
    ++counts[size_t(result.outcome)];
    static const char *words[] = {"pass", "FAIL", "skip"};
    session.out << words[size_t(result.outcome)] << " " << format("%-26s ", name.c_str());
    if (result.outcome == Outcome::Passed)
      session.out << format("%4zu rows  worst %.1e, %3.0f%% of limit  ", result.compared.rows, result.worst.value,
                            100 * result.worst.ofLimit)
                  << result.text << "\n";
    else
      session.out << escaped(result.text) << "\n";
    session.out.flush();
  }
  session.out << names->size() << " cases, " << counts[0] << " passed, " << counts[1] << " failed, " << counts[2]
              << " skipped\n";
  return counts[1] ? ExitCheckFailed : ExitDone;
}

} // namespace moec
