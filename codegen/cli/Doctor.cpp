// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec doctor: this machine -> what moec finds on it; exit 5 where something that a verb needs is missing.

#include "CompileRun.h"
#include "Verbs.h"

#include "codegen/emit/Manifest.h"
#include "codegen/emit/PackageLibrary.h"

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
#include <thread>
#include <unistd.h>

using namespace llvm;

namespace moec {

namespace {
struct Finding {
  std::string what, found, missing; // missing: what does not work, empty when all is well
};
} // namespace

static std::vector<Finding> examine() {
  std::vector<Finding> list;
  list.push_back({"moec", moecVersion() + ", package ABI " + std::to_string(MOEC_ABI_MAJOR) + "." +
                              std::to_string(MOEC_ABI_MINOR) + ", LLVM " LLVM_VERSION_STRING, ""});
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
  return list;
}

static int runDoctor(Session &session, bool json) {
  std::vector<Finding> list = examine();
  bool missing = false;
  for (const Finding &finding : list)
    missing |= !finding.missing.empty();
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
                  << (finding.missing.empty() ? finding.found : "missing: " + finding.missing) << "\n";
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
