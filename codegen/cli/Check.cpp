// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec check: specs, layers and function files of the dialect -> their errors, all of them, and what the target would
// refuse; or one code -> what it means. No kernel is made.

#include "CompileFlags.h"
#include "SpecInput.h"
#include "Verbs.h"

#include "codegen/pipeline/LayerText.h"

#include "llvm/Support/JSON.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <filesystem>
#include <memory>

using namespace llvm;

namespace moec {

namespace {
struct CheckFlags : SpecFlags {
  std::vector<std::string> specs;
  std::vector<std::string> targets = {"cpu"};
  std::string code;
  bool json = false;
};
} // namespace

static int explain(Session &session, const std::string &code) {
  std::optional<std::string> text = explainCode(code);
  if (!text)
    text = explainCliCode(code);
  if (!text)
    return fail(session, "E-USAGE", "unknown code " + quoteText(code), "codes look like E-K; dsl/README.md lists them");
  session.out << code << ": " << *text << "\n";
  return ExitDone;
}

// {"files": [{"file": ..., "valid": ..., "diagnostics": [...]}]}
static void writeJson(json::OStream &os, const std::string &file, bool valid, const DiagnosticList &list) {
  os.object([&] {
    os.attribute("file", escaped(file));
    os.attribute("valid", valid);
    os.attributeArray("diagnostics", [&] {
      for (const Diagnostic &diagnostic : list.all())
        os.rawValue(renderJson(diagnostic));
    });
  });
}

// A function file is valid or not; of a spec and a layer the stages up to the schedule say what the target refuses.
// Errors go to `list`; `what` says of a valid file what it holds.
static int checkInput(const SpecInput &input, const CompileOptions &options, DiagnosticList &list, std::string &what) {
  std::vector<Diagnostic> errors;
  std::string stem = std::filesystem::path(input.fileName).stem().string();
  if (input.isMoeText && isFunctionText(input.text)) {
    what = "function " + stem;
    Result<> checked = checkFunctionText(input.text, input.fileName, stem);
    return checked ? int(ExitDone) : addCompileErrors(input, {checked.takeError()}, list);
  }
  what = input.isMoeText ? "layer " + stem : specSummary(input.spec);
  raw_null_ostream nowhere;
  if (printStage(input.compileInput(), options, Stage::Schedule, nowhere, errors))
    return ExitDone;
  return addCompileErrors(input, errors, list);
}

static int runCheck(Session &session, const CheckFlags &flags) {
  if (!flags.code.empty())
    return explain(session, flags.code);
  CompileFlags compile;
  CompileOptions options;
  compile.targets = flags.targets;
  compile.templatesDir = flags.templatesDir;
  if (int code = compileOptions(session, compile, options))
    return code;
  options.progress = nullptr;
  if (flags.specs.empty())
    return fail(session, "E-USAGE", "no spec was named", "moec check layer.json");
  int exit = ExitDone;
  size_t errors = 0;
  std::string first;
  json::OStream os(session.out, flags.json ? 2 : 0);
  if (flags.json) {
    os.objectBegin();
    os.attributeBegin("files");
    os.arrayBegin();
  }
  for (const std::string &file : flags.specs) {
    SpecInput input;
    DiagnosticList list;
    std::string what;
    int code = loadSpec(session, file, flags, input, &list);
    if (code == ExitDone)
      code = checkInput(input, options, list, what);
    exit = std::max(exit, code);
    errors += list.numErrors();
    for (const Diagnostic &diagnostic : list.all())
      if (first.empty() && diagnostic.severity == Severity::Error)
        first = diagnostic.code;
    if (flags.json) {
      writeJson(os, file, code == ExitDone, list);
      continue;
    }
    session.err << render(list, session.color);
    if (code == ExitDone)
      session.out << escaped(file) << ": valid, " << what << "\n";
  }
  if (flags.json) {
    os.arrayEnd();
    os.attributeEnd();
    os.objectEnd();
    session.out << "\n";
  }
  if (errors && !session.quiet)
    session.err << errors << (errors == 1 ? " error" : " errors") << ". moec check --explain " << first
                << " tells more.\n";
  return exit;
}

Verb addCheck(CLI::App &app) {
  auto flags = std::make_shared<CheckFlags>();
  CLI::App *verb = app.add_subcommand("check", "validate specs, layers and functions of the dialect");
  verb->add_option("SPEC", flags->specs, "JSON files, .mlir files or presets");
  verb->add_option("--target", flags->targets, "as of compile: what it would refuse is an error; default cpu")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("TARGET");
  verb->add_option("--explain", flags->code, "say what a diagnostic code means")->type_name("CODE");
  addSpecFlags(*verb, *flags);
  verb->add_flag("--json", flags->json, "one JSON document on stdout");
  return {verb, [flags](Session &session) { return runCheck(session, *flags); }};
}

} // namespace moec
