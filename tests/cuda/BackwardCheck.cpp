// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What `moec verify --grad` does with an interpreter.

#include "BackwardCheck.h"

#include "CheckedPackage.h"
#include "StoredGradients.h"

#include "codegen/check/GradientRun.h"
#include "codegen/check/OracleCheck.h"

namespace moec {

static bool checkLayer(const LayerSpec &spec, const moec_package *package, StoredGradients &oracle,
                       const DeviceContext *device, CheckResult &result, std::string &error) {
  RandomLayer weights;
  LayerRun layer(package);
  error = "no memory";
  if (!weights.make(spec, storedWeightsSeed) || !prepareOn(device, weights.tensors, layer, error))
    return false;
  for (const StoredCall &stored : oracle.calls) {
    int64_t tokens = stored.call.tokens;
    (void)oracle.draw(weights.tensors, storedWeightsSeed, tokens);
    const int oneThread = 1;
    auto isPrepared = [](int) { return Result<>(); };
    Result<bool> good = verifyGradients(oracle, layer, oneThread, isPrepared, result, error);
    if (!good)
      error = good.error().placedMessage();
    if (!good || !*good) {
      error = "T=" + std::to_string(tokens) + ": " + error;
      return false;
    }
  }
  return true;
}

int checkBackward(const std::string &kind, const std::string &folder, const CaseOptions &options,
                  const DeviceContext *device) {
  Report report(kind, options);
  for (const std::string &name : report.casesIn(folder, ".gradients")) {
    report.begin(name);
    std::string error;
    std::optional<LayerSpec> spec;
    const moec_package *package = openCase(folder, name, spec, error);
    StoredGradients oracle;
    bool good = package && oracle.read(folder + "/" + name + ".gradients");
    if (package && !good)
      error = name + ".gradients cannot be read";
    CheckResult result;
    good = good && checkLayer(*spec, package, oracle, device, result, error);
    if (good && result.compared.rows == 0) {
      good = false;
      error = "no row was compared";
    }
    if (good) {
      char text[128];
      std::snprintf(text, sizeof text, "%zu calls, %zu rows of gradients, %.0f%% of its limit ", oracle.calls.size(),
                    result.compared.rows, 100 * result.worst.ofLimit);
      report.pass(name, text + result.worst.place);
    } else {
      report.fail(name, error);
    }
  }
  return report.summary();
}

} // namespace moec
