// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec-cuda-check KIND FOLDER -> one line per check on this machine's GPU, then a summary; exit 0 when none failed.
//
//     golden FOLDER    NAME.json + NAME.safetensors + libNAME.so, stored outputs
//     random FOLDER    NAME.json + libNAME.so, the float64 reference at several token counts
//     graph FOLDER     as random: captured once, replayed 1,000 times with other inputs; two streams at once
//     unit FOLDER      NAME.unit: one instruction, what the emulator made of it
//     spec FOLDER NAME the spec of a golden case, types filled in, for bundle.sh; needs no GPU
//     device           the device and its driver, one line

#include "CheckedPackage.h"
#include "GraphCheck.h"
#include "UnitCheck.h"

#include "codegen/check/GoldenCheck.h"
#include "codegen/check/RandomSpec.h"
#include "codegen/check/OracleCheck.h"

#include "dsl/SpecPrinter.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>

using namespace moec;

static std::string errorText(const WorstError &worst) {
  char text[64];
  std::snprintf(text, sizeof text, "worst %.1e ", worst.value);
  return text + worst.place;
}

static int checkGolden(const std::string &folder, const DeviceContext &device) {
  Report report;
  for (const std::string &name : stemsIn(folder, ".json")) {
    GoldenCase golden;
    std::string error;
    if (!std::filesystem::exists(folder + "/" + name + ".safetensors"))
      continue;
    if (!readGoldenCase(folder, name, golden, error) || !fitPackage(golden, error)) {
      report.add("golden", name, false, error);
      continue;
    }
    std::string library = golden.spec.name;
    const moec_package *package = openPackage(folder + "/" + name, library, error);
    bool good = package != nullptr;
    WorstError worst;
    if (good) {
      LayerRun layer(package);
      good = layer.prepare(device, tensorsOf(golden), error);
      for (size_t i = 0; good && i < golden.batches.size(); ++i)
        good = runBatch(golden, golden.batches[i], layer, worst, error);
    }
    report.add("golden", name, good, good ? errorText(worst) : error);
  }
  return report.summary("golden");
}

static bool checkRandomLayer(const LayerSpec &spec, const moec_package *package, const DeviceContext &device,
                             OracleResult &result, std::string &error) {
  RandomLayer weights;
  LayerRun layer(package);
  const int64_t most = 130;
  PageBuffer x(size_t(most * spec.hidden) * 4);
  if (!x.data() || !weights.make(spec, 1) || !layer.prepare(device, weights.tensors, error))
    return false;
  fillNormal(x.data(), spec.dtype.activation, most * spec.hidden, 0, 1, 77);
  for (int64_t tokens : {0, 1, 2, 7, 17, 33, 64, 130}) {
    CallOutputs first(layer.info(), tokens), again(layer.info(), tokens);
    CallInputs inputs;
    ReferenceInputs oracle;
    randomInputs(spec, tokens, uint64_t(tokens), inputs, oracle);
    layer.setInputs(&inputs);
    layer.poisonWorkspace(true);
    bool ran = first.run(layer, x.data(), error);
    layer.poisonWorkspace(false);
    ran = ran && again.run(layer, x.data(), error);
    layer.setInputs(nullptr);
    if (!ran)
      return false;
    if (tokens && !first.sameBits(again)) {
      error = "T=" + std::to_string(tokens) + ": bits differ between two runs";
      return false;
    }
    if (!compareToOracle(spec, weights, x.data(), oracle, first, result, error))
      return false;
  }
  return true;
}

static int checkRandom(const std::string &folder, const DeviceContext &device) {
  Report report;
  for (const std::string &name : stemsIn(folder, ".json")) {
    std::string error;
    std::optional<LayerSpec> spec = readSpecFile(folder + "/" + name + ".json", error);
    const moec_package *package = spec ? openPackage(folder, name, error) : nullptr;
    OracleResult result;
    bool good = package && checkRandomLayer(*spec, package, device, result, error);
    report.add("random", name, good, good ? errorText(result.worst) : error);
  }
  return report.summary("random");
}

static int describeDevice(const DeviceContext &context) {
  int device = 0, version = 0, major = 0, minor = 0, sms = 0;
  char name[96] = "";
  const moec_cuda_driver *driver = context.driver;
  driver->device_get(&device, 0);
  driver->driver_get_version(&version);
  driver->device_get_name(name, sizeof name, device);
  driver->device_get_attribute(&major, MOEC_CUDA_CAPABILITY_MAJOR, device);
  driver->device_get_attribute(&minor, MOEC_CUDA_CAPABILITY_MINOR, device);
  driver->device_get_attribute(&sms, MOEC_CUDA_MULTIPROCESSORS, device);
  name[sizeof name - 1] = '\0';
  std::printf("device: %s, sm_%d%d, %d SMs, driver for CUDA %d.%d\n", name, major, minor, sms, version / 1000,
              version % 1000 / 10);
  return 0;
}

static int printGoldenSpec(const std::string &folder, const std::string &name) {
  GoldenCase golden;
  std::string error;
  if (!readGoldenCase(folder, name, golden, error) || !fitPackage(golden, error)) {
    std::fprintf(stderr, "moec-cuda-check: %s\n", error.c_str());
    return 1;
  }
  std::printf("%s", printSpec(golden.spec).c_str());
  return 0;
}

int main(int argc, char **argv) {
  std::string kind = argc > 1 ? argv[1] : "", folder = argc > 2 ? argv[2] : "", error;
  if (kind == "spec" && argc == 4)
    return printGoldenSpec(folder, argv[3]);
  bool known = kind == "golden" || kind == "random" || kind == "graph" || kind == "unit";
  if (!(kind == "device" && argc == 2) && !(known && argc == 3)) {
    std::fprintf(stderr, "usage: moec-cuda-check golden|random|graph|unit FOLDER, spec FOLDER NAME, or device\n");
    return 2;
  }
  std::unique_ptr<DeviceContext> device = DeviceContext::open(nullptr, error);
  if (!device) {
    std::fprintf(stderr, "moec-cuda-check: %s\n", error.c_str());
    return 6;
  }
  if (kind == "golden")
    return checkGolden(folder, *device);
  if (kind == "random")
    return checkRandom(folder, *device);
  if (kind == "graph")
    return checkGraphs(folder, *device);
  return kind == "unit" ? checkUnits(folder, *device) : describeDevice(*device);
}
