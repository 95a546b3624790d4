// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec schema: nothing -> the JSON Schema of specs.

#include "Verbs.h"

#include "dsl/Presets.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <memory>

namespace moec {

static int runSchema(Session &session, int version) {
  if (version != 1)
    return fail(session, "E-UNSUPPORTED", "spec version " + std::to_string(version) + " is not known; supported: 1");
  std::string_view text = layerSchema();
  session.out << llvm::StringRef(text.data(), text.size());
  return ExitDone;
}

Verb addSchema(CLI::App &app) {
  auto version = std::make_shared<int>(1);
  CLI::App *verb = app.add_subcommand("schema", "JSON Schema of specs");
  verb->add_option("--version", *version, "spec version, the value of the key \"moec\"")->capture_default_str();
  return {verb, [version](Session &session) { return runSchema(session, *version); }};
}

} // namespace moec
