// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What `moec verify --random` does with an emulator.

#include "RandomCheck.h"

#include "CheckedPackage.h"

#include "codegen/check/OracleCheck.h"
#include "codegen/check/RandomSpec.h"

namespace moec {

static bool checkCall(const LayerSpec &spec, const RandomLayer &weights, LayerRun &layer, const void *x, int64_t tokens,
                      OracleResult &result, std::string &error) {
  CallOutputs first(layer.info(), tokens), again(layer.info(), tokens);
  CallInputs inputs;
  ReferenceInputs oracle;
  randomInputs(spec, tokens, uint64_t(tokens), inputs, oracle);
  layer.setInputs(&inputs);
  layer.poisonWorkspace(true);
  bool ran = succeeded(first.run(layer, x), error);
  layer.poisonWorkspace(false);
  ran = ran && succeeded(again.run(layer, x), error);
  layer.setInputs(nullptr);
  if (ran && tokens && !first.sameBits(again)) {
    error = "T=" + std::to_string(tokens) + ": bits differ between two runs";
    return false;
  }
  return ran && compareToOracle(spec, weights, x, oracle, first, result, error);
}

static bool checkLayer(const LayerSpec &spec, const moec_package *package, const DeviceContext *device,
                       OracleResult &result, std::string &error) {
  RandomLayer weights;
  LayerRun layer(package);
  const int64_t most = 130;
  PageBuffer x(size_t(most * spec.hidden) * 4);
  error = "no memory";
  if (!x.data() || !weights.make(spec, 1) || !prepareOn(device, weights.tensors, layer, error))
    return false;
  fillNormal(x.data(), spec.dtype.activation, most * spec.hidden, 0, 1, 77);
  for (int64_t tokens : {0, 1, 2, 7, 17, 33, 64, 130})
    if (!checkCall(spec, weights, layer, x.data(), tokens, result, error))
      return false;
  return true;
}

int checkRandom(const std::string &folder, const CaseOptions &options, const DeviceContext *device) {
  Report report("random", options);
  for (const std::string &name : report.casesIn(folder, ".json")) {
    report.begin(name);
    std::string error;
    std::optional<LayerSpec> spec;
    const moec_package *package = openCase(folder, name, spec, error);
    OracleResult result;
    bool good = package && checkLayer(*spec, package, device, result, error);
    if (good && result.compared.rows == 0) {
      good = false;
      error = "no row was compared: rounding decides about all tokens";
    }
    if (good) {
      char text[128];
      std::snprintf(text, sizeof text, "%zu rows, %zu ties, worst %.1e, %.0f%% of its limit ", result.compared.rows,
                    result.tied, result.worst.value, 100 * result.worst.ofLimit);
      report.pass(name, text + result.worst.place);
    } else {
      report.fail(name, error);
    }
  }
  return report.summary();
}

} // namespace moec
