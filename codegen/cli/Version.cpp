// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec version: nothing -> versions of the tool, the package ABI and LLVM.

#include "Verbs.h"

#include "codegen/emit/Manifest.h"

#include "runtime/moec_abi.h"

#include "llvm/Config/llvm-config.h"
#include "llvm/Support/JSON.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <memory>

using namespace llvm;

namespace moec {

static int runVersion(Session &session, bool json) {
  std::string abi = std::to_string(MOEC_ABI_MAJOR) + "." + std::to_string(MOEC_ABI_MINOR);
  if (!json) {
    session.out << "moec " << moecVersion() << " (package ABI " << abi << ", LLVM " LLVM_VERSION_STRING ")\n";
    return ExitDone;
  }
  json::OStream os(session.out, 2);
  os.object([&] {
    os.attribute("moec", moecVersion());
    os.attribute("abi", abi);
    os.attribute("llvm", LLVM_VERSION_STRING);
    os.attribute("spec", 1);
  });
  session.out << "\n";
  return ExitDone;
}

Verb addVersion(CLI::App &app) {
  auto json = std::make_shared<bool>(false);
  CLI::App *verb = app.add_subcommand("version", "versions of the tool, the package ABI and LLVM");
  verb->add_flag("--json", *json, "one JSON document on stdout");
  return {verb, [json](Session &session) { return runVersion(session, *json); }};
}

} // namespace moec
