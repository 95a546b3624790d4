// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec init: a preset's name -> a spec file to start from.

#include "TextOutput.h"
#include "Verbs.h"

#include "dsl/Presets.h"
#include "dsl/text/Spelling.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <memory>

namespace moec {

namespace {
struct InitFlags {
  std::string preset = "small-4x1", output = "layer.json";
  bool list = false, force = false;
};
} // namespace

static int runInit(Session &session, const InitFlags &flags) {
  if (flags.list) {
    for (const std::string &name : presetNames())
      session.out << name << "\n";
    return ExitDone;
  }
  std::optional<std::string> text = presetText(flags.preset);
  if (!text) {
    std::vector<std::string> near = nearPresets(flags.preset);
    return fail(session, "E-USAGE", "unknown preset " + quoteText(flags.preset),
                near.empty() ? "moec init --list names the presets" : "did you mean " + quotedList(near) + "?");
  }
  if (flags.output == "-") {
    session.out << *text;
    return ExitDone;
  }
  if (int code = writeTextFile(session, flags.output, *text, flags.force))
    return code;
  session.out << escaped(flags.output) << "\n";
  return ExitDone;
}

Verb addInit(CLI::App &app) {
  auto flags = std::make_shared<InitFlags>();
  CLI::App *verb = app.add_subcommand("init", "write a starter spec");
  verb->add_option("--preset", flags->preset, "published or generic layer to start from")
      ->type_name("NAME")
      ->capture_default_str();
  verb->add_option("-o,--output", flags->output, "file to write; - is stdout")
      ->type_name("FILE")
      ->capture_default_str();
  verb->add_flag("--list", flags->list, "name the presets");
  verb->add_flag("--force", flags->force, "replace the file");
  return {verb, [flags](Session &session) { return runInit(session, *flags); }};
}

} // namespace moec
