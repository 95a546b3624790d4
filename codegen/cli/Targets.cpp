// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec targets: nothing -> the targets this version builds and which of them this machine runs.

#include "Verbs.h"

#include "codegen/Target.h"

#include "runtime/cuda/cuda_driver.h"
#include "runtime/moec.h"

extern "C" {
#include "runtime/cpu_features.h"
}

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <memory>

using namespace llvm;

namespace moec {

// Compute capability of the first GPU, 0 without one.
static int gpuCapability() {
  const moec_cuda_driver *driver = nullptr;
  int count = 0, device = 0, major = 0, minor = 0;
  if (moec_cuda_driver_get(&driver) != MOEC_OK || driver->init(0) != MOEC_CUDA_SUCCESS ||
      driver->device_get_count(&count) != MOEC_CUDA_SUCCESS || count < 1 ||
      driver->device_get(&device, 0) != MOEC_CUDA_SUCCESS)
    return 0;
  driver->device_get_attribute(&major, MOEC_CUDA_CAPABILITY_MAJOR, device);
  driver->device_get_attribute(&minor, MOEC_CUDA_CAPABILITY_MINOR, device);
  return 10 * major + minor;
}

// "cpu" picks at run time, so it always runs; "cpu:X" runs where X is not above the machine's best. An exact CUDA
// architecture runs on its own capability, any other on later ones too, and "cuda" is both.
static bool runsHere(StringRef target) {
  if (target == "cpu")
    return true;
  if (std::vector<CudaArch> archs; parseTarget(target, archs)) {
    int64_t capability = gpuCapability();
    return any_of(archs, [&](CudaArch arch) {
      const CudaArchFacts &facts = cudaArchFacts(arch);
      return facts.exact ? facts.sm == capability : facts.sm <= capability;
    });
  }
  for (int isa = 0; isa < MOEC_NUM_ISAS; ++isa)
    if (target == "cpu:" + isaFacts(Isa(isa)).name.str())
      return isa <= moec_cpu_isa();
  return false;
}

// What the hardware of a target must have: "AVX-512 F DQ CD BW VL", "compute capability 8.0 and later".
static std::string needs(StringRef target) {
  if (std::vector<CudaArch> archs; parseTarget(target, archs)) {
    std::vector<std::string> capabilities;
    for (CudaArch arch : archs) {
      const CudaArchFacts &facts = cudaArchFacts(arch);
      capabilities.push_back(formatv("{0}.{1}{2}", facts.sm / 10, facts.sm % 10, facts.exact ? "" : " and later"));
    }
    return "compute capability " + join(capabilities, ", ");
  }
  for (int isa = 0; isa < MOEC_NUM_ISAS; ++isa)
    if (target == "cpu:" + isaFacts(Isa(isa)).name.str())
      return moec_isa_features(isa);
  return "the best below that the machine has";
}

static int runTargets(Session &session, bool json) {
  if (json) {
    json::OStream os(session.out, 2);
    os.array([&] {
      for (const std::string &target : targetNames())
        os.object([&] {
          os.attribute("target", target);
          os.attribute("runs_here", runsHere(target));
          os.attribute("needs", needs(target));
        });
    });
    session.out << "\n";
    return ExitDone;
  }
  for (const std::string &target : targetNames()) {
    std::string here = runsHere(target) ? "runs here" : "not on this machine";
    if (target == "cpu")
      here += std::string(", as ") + moec_isa_name(moec_cpu_isa());
    session.out << left_justify(target, 17) << left_justify(here, 26) << needs(target) << "\n";
  }
  return ExitDone;
}

Verb addTargets(CLI::App &app) {
  auto json = std::make_shared<bool>(false);
  CLI::App *verb = app.add_subcommand("targets", "what can be compiled for");
  verb->add_flag("--json", *json, "one JSON document on stdout");
  return {verb, [json](Session &session) { return runTargets(session, *json); }};
}

} // namespace moec
