// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec doctor: this machine -> what moec finds on it; exit 5 where something that a verb needs is missing.

#include "CompileFlags.h"
#include "Verbs.h"
#include "codegen/check/LayerRun.h"

#include "codegen/cuda/Ptxas.h"
#include "codegen/emit/Manifest.h"
#include "codegen/emit/PackageLibrary.h"

#include "runtime/cuda/cuda_driver.h"
#include "runtime/moec.h"

#include "llvm/Config/llvm-config.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Program.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>
#include <unistd.h>

using namespace llvm;

namespace moec {

namespace {
struct Finding {
  std::string what, found, missing; // missing: what does not work, empty when all is well
  bool optional = false;            // moec does its work without it
};
} // namespace

static std::string versionText(int version) {
  return version ? std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10) : "of unknown version";
}

static Finding examinePtxas() {
  std::optional<Ptxas> ptxas = findPtxas();
  if (!ptxas)
    return {"ptxas", "", "CUDA packages hold PTX alone; " + ptxasAdvice(), true};
  return {"ptxas", ptxas->path + ", CUDA " + versionText(int(ptxas->version)), "", true};
}

static Finding examineGpu() {
  const moec_cuda_driver *driver = nullptr;
  Finding finding = {"GPU", "", "", true};
  auto without = [&](const std::string &why) {
    finding.missing = why + "; CUDA packages are compiled all the same, and moec verify --emulate runs them here";
    return finding;
  };
  if (moec_status status = moec_cuda_driver_get(&driver); status != MOEC_OK)
    return without(lastRuntimeError(status));
  int count = 0, version = 0, device = 0, major = 0, minor = 0;
  char name[96] = "";
  if (driver->init(0) != MOEC_CUDA_SUCCESS || driver->device_get_count(&count) != MOEC_CUDA_SUCCESS || count < 1)
    return without("the NVIDIA driver knows no device");
  driver->driver_get_version(&version);
  driver->device_get(&device, 0);
  driver->device_get_name(name, sizeof name, device);
  driver->device_get_attribute(&major, MOEC_CUDA_CAPABILITY_MAJOR, device);
  driver->device_get_attribute(&minor, MOEC_CUDA_CAPABILITY_MINOR, device);
  name[sizeof name - 1] = '\0';
  finding.found = escaped(name) + ", sm_" + std::to_string(10 * major + minor) + ", driver for CUDA " +
                  versionText(version) + (count > 1 ? ", the first of " + std::to_string(count) : "");
  return finding;
}

static std::vector<Finding> examine() {
  std::vector<Finding> list;
  list.push_back({"moec",
                  moecVersion() + ", package ABI " + std::to_string(MOEC_ABI_MAJOR) + "." +
                      std::to_string(MOEC_ABI_MINOR) + ", LLVM " LLVM_VERSION_STRING,
                  ""});
  list.push_back({"instruction set", moec_isa_name(moec_cpu_isa()), ""});
  const char *limit = std::getenv("MOEC_MAX_ISA");
  if (limit)
    list.push_back({"MOEC_MAX_ISA", escaped(limit), ""});
  list.push_back({"processors", std::to_string(std::thread::hardware_concurrency()), ""});
  list.push_back({"memory", sizeText(int64_t(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE)), ""});
  std::string linker = findLinker();
  list.push_back({"linker", linker, linker.empty() ? "--emit shared needs ld.lld-22, ld.lld or ld in PATH" : ""});
  ErrorOr<std::string> cc = sys::findProgramByName("cc");
  list.push_back({"C compiler", cc ? *cc : "", cc ? "" : "programs that use a package need one; moec itself does not"});
  list.push_back(examinePtxas());
  list.push_back(examineGpu());
  return list;
}

static int runDoctor(Session &session, bool json) {
  std::vector<Finding> list = examine();
  bool missing = false;
  for (const Finding &finding : list)
    missing |= !finding.missing.empty() && !finding.optional;
  if (json) {
    json::OStream os(session.out, 2);
    os.array([&] {
      for (const Finding &finding : list)
        os.object([&] {
          os.attribute("what", finding.what);
          os.attribute("found", finding.found);
          os.attribute("missing", finding.missing);
        });
    });
    session.out << "\n";
  } else {
    for (const Finding &finding : list)
      session.out << format("%-16s ", finding.what.c_str())
                  << (finding.missing.empty() ? finding.found
                                              : (finding.optional ? "none: " : "missing: ") + finding.missing)
                  << "\n";
  }
  return missing ? ExitTool : ExitDone;
}

Verb addDoctor(CLI::App &app) {
  auto json = std::make_shared<bool>(false);
  CLI::App *verb = app.add_subcommand("doctor", "what moec finds on this machine");
  verb->add_flag("--json", *json, "one JSON document on stdout");
  return {verb, [json](Session &session) { return runDoctor(session, *json); }};
}

} // namespace moec
