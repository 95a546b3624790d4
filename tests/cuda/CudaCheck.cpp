// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec-cuda-check [OPTION...] KIND FOLDER [CASE...] -> one line per case on this machine's GPU, then a summary.
//
//     golden  NAME.json + NAME.safetensors + NAME/lib*.so, stored outputs
//     random  NAME.json (a spec) + NAME/lib*.so, the float64 reference at several T
//     backward  as random + NAME.gradients, stored gradients (StoredGradients.h)
//     large   as random, of any size and T: sampled tokens (LargeCheck.h)
//     graph   as random: captured once, replayed 1,000 times with other inputs; two streams at once
//     profile as random: microseconds of calls and of their kernels
//     unit    NAME.unit: one instruction, what the emulator made of it
//
// device prints the device and its driver. Needing no GPU, for bundle.sh: `spec FOLDER NAME` prints the spec of a
// golden case, types filled in; `takes-x-alone FILE` exits 0 where calls of the spec need no input besides x.
//
// Exit: 0 no case failed, 1 one did, 2 usage, 6 no GPU, 8 the results cannot be written, 20 a kernel faulted, 21 one
// hung; after these two the cases behind the one under way wait for a fresh process (--after).

#include "BackwardCheck.h"
#include "CheckedPackage.h"
#include "GraphCheck.h"
#include "LargeCheck.h"
#include "ProfileCheck.h"
#include "RandomCheck.h"
#include "Report.h"
#include "UnitCheck.h"
#include "WatchedDriver.h"

#include "codegen/check/GoldenCheck.h"

#include "dsl/spec/SpecPrinter.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>

using namespace moec;

namespace {

const char usage[] =
    "usage: moec-cuda-check [OPTION...] golden|random|backward|large|graph|profile|unit FOLDER [CASE...]\n"
    "       moec-cuda-check device | spec FOLDER NAME | takes-x-alone FILE\n"
    "  --unwatched        launches do not wait for their kernels\n"
    "  --hang-after S     seconds a kernel may take (default 10)\n"
    "  --tokens 1,8,64    of large and profile (default: those of NAME.tokens)\n"
    "  --as NAME          what lines call the kind\n"
    "  --after CASE       the cases behind this one\n"
    "  --share I/N        every N-th case from the I-th on, counted from 0\n"
    "  --begun FILE       holds the case under way\n"
    "  --on-cpu           golden, random, backward, large: the packages' CPU kernels, to try the checks themselves\n"
    "  --kernels FILE     gets \"KIND/CASE KERNEL\" for every kernel of a case that passed\n";

struct Arguments {
  WatchOptions watch;
  CaseOptions cases;
  std::vector<int64_t> tokens;
  std::string as;
  bool onCpu = false;
  std::vector<std::string> words; // KIND FOLDER CASE...

  bool parse(int argc, char **argv) {
    for (int i = 1; i < argc; ++i) {
      std::string word = argv[i];
      if (word == "--unwatched")
        watch.eachLaunch = false;
      else if (word == "--on-cpu")
        onCpu = true;
      else if (word.rfind("--", 0) != 0)
        words.push_back(word);
      else if (++i == argc || !option(word, argv[i]))
        return false;
    }
    return !words.empty();
  }

private:
  bool option(const std::string &name, const std::string &value) {
    if (name == "--hang-after")
      return (watch.seconds = std::atol(value.c_str())) > 0;
    if (name == "--tokens")
      return parseTokens(value);
    if (name == "--share")
      return std::sscanf(value.c_str(), "%zu/%zu", &cases.share, &cases.shares) == 2 && cases.share < cases.shares;
    std::string *text = name == "--as"        ? &as
                        : name == "--after"   ? &cases.after
                        : name == "--begun"   ? &cases.begunFile
                        : name == "--kernels" ? &cases.kernelsFile
                                              : nullptr;
    if (text)
      *text = value;
    return text != nullptr;
  }
  bool parseTokens(const std::string &text) {
    std::istringstream list(text);
    for (std::string part; std::getline(list, part, ',');)
      tokens.push_back(std::atoll(part.c_str()));
    return !tokens.empty() && *std::min_element(tokens.begin(), tokens.end()) > 0;
  }
};

std::string errorText(const CheckResult &result) {
  char text[128];
  std::snprintf(text, sizeof text, "%zu rows, worst %.1e, %.0f%% of its limit ", result.compared.rows,
                result.worst.value, 100 * result.worst.ofLimit);
  return text + result.worst.place;
}

// A case that packages can run. False: `error`.
bool readCase(const std::string &folder, const std::string &name, GoldenCase &golden, std::string &error) {
  Result<GoldenCase> read = readGoldenCase(folder, name);
  if (!read) {
    error = read.error().placedMessage();
    return false;
  }
  golden = std::move(*read);
  return fitPackage(golden, error);
}

int checkGolden(const std::string &folder, const CaseOptions &options, const DeviceContext *device) {
  Report report("golden", options);
  for (const std::string &name : report.casesIn(folder, ".safetensors")) {
    report.begin(name);
    std::string error;
    GoldenCase golden;
    bool good = readCase(folder, name, golden, error);
    const moec_package *package = good ? openPackage(folder + "/" + name, golden.spec.name, error) : nullptr;
    CheckResult result;
    LayerRun layer(package);
    good = package && prepareOn(device, tensorsOf(golden), layer, error);
    for (size_t i = 0; good && i < golden.batches.size(); ++i)
      good = runBatch(golden, golden.batches[i], layer, result, error);
    if (good)
      report.pass(name, errorText(result));
    else
      report.fail(name, error);
  }
  return report.summary();
}

int describeDevice(const DeviceContext &context) {
  int device = 0, version = 0, major = 0, minor = 0, sms = 0, shared = 0;
  char name[96] = "";
  const moec_cuda_driver *driver = context.driver;
  driver->device_get(&device, 0);
  driver->driver_get_version(&version);
  driver->device_get_name(name, sizeof name, device);
  driver->device_get_attribute(&major, MOEC_CUDA_CAPABILITY_MAJOR, device);
  driver->device_get_attribute(&minor, MOEC_CUDA_CAPABILITY_MINOR, device);
  driver->device_get_attribute(&sms, MOEC_CUDA_MULTIPROCESSORS, device);
  driver->device_get_attribute(&shared, MOEC_CUDA_MAX_SHARED_OPTIN, device);
  name[sizeof name - 1] = '\0';
  std::printf("device: %s, sm_%d%d, %d multiprocessors, %d bytes of shared memory a block, driver for CUDA %d.%d\n",
              name, major, minor, sms, shared, version / 1000, version % 1000 / 10);
  return std::fflush(stdout) ? cannotWrite : 0;
}

int printGoldenSpec(const std::string &folder, const std::string &name) {
  GoldenCase golden;
  std::string error;
  if (!readCase(folder, name, golden, error)) {
    std::fprintf(stderr, "moec-cuda-check: %s\n", error.c_str());
    return 1;
  }
  std::printf("%s", printSpec(golden.spec).c_str());
  return 0;
}

int takesXAlone(const std::string &path) {
  std::string error;
  std::optional<LayerSpec> spec = readSpecFile(path, error);
  return spec && spec->inputNames().empty() ? 0 : 1;
}

// `device` null: the CPU.
int run(const Arguments &arguments, const DeviceContext *device) {
  const std::vector<std::string> &words = arguments.words;
  const std::string &kind = words[0];
  if (kind == "device")
    return describeDevice(*device);
  const std::string &folder = words[1];
  CaseOptions cases = arguments.cases;
  cases.names.assign(words.begin() + 2, words.end());
  const std::string &as = arguments.as.empty() ? kind : arguments.as;
  if (kind == "golden")
    return checkGolden(folder, cases, device);
  if (kind == "random")
    return checkRandom(folder, cases, device);
  if (kind == "backward")
    return checkBackward(as, folder, cases, device);
  if (kind == "graph")
    return checkGraphs(folder, cases, *device);
  if (kind == "large")
    return checkLarge(as, folder, arguments.tokens, cases, device);
  return kind == "unit" ? checkUnits(folder, cases, *device) : profileCalls(folder, arguments.tokens, cases, *device);
}

} // namespace

int main(int argc, char **argv) {
  Arguments arguments;
  bool good = arguments.parse(argc, argv);
  const std::string kind = good ? arguments.words[0] : "";
  size_t words = arguments.words.size();
  if (kind == "spec" && words == 3)
    return printGoldenSpec(arguments.words[1], arguments.words[2]);
  if (kind == "takes-x-alone" && words == 2)
    return takesXAlone(arguments.words[1]);
  auto isOneOf = [&](std::initializer_list<const char *> kinds) {
    return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
  };
  bool onCpu = arguments.onCpu && isOneOf({"golden", "random", "backward", "large"});
  bool ofFolder = isOneOf({"golden", "random", "backward", "large", "graph", "profile", "unit"});
  if (!good || !(kind == "device" ? words == 1 : ofFolder && words >= 2) || (arguments.onCpu && !onCpu)) {
    std::fputs(usage, stderr);
    return 2;
  }
  if (onCpu)
    return run(arguments, nullptr);
  std::string error;
  const moec_cuda_driver *driver = watchedDriver(arguments.watch, error);
  Result<std::unique_ptr<DeviceContext>> device = nullptr;
  if (driver)
    device = DeviceContext::open(driver);
  if (!driver || !device) {
    std::fprintf(stderr, "moec-cuda-check: %s\n", driver ? device.error().message.c_str() : error.c_str());
    return 6;
  }
  return run(arguments, device->get());
}
