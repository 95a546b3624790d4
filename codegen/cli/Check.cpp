// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec check: specs, layers and function files of the dialect -> their errors, all of them, and what the target would
// refuse; a layer and a checkpoint -> where each role is; or one code -> what it means. No kernel is made.

#include "CompileFlags.h"
#include "SpecInput.h"
#include "Verbs.h"
#include "WeightFlags.h"

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
struct CheckFlags : SpecFlags, WeightFlags {
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

namespace {
// What one layer's checkpoints hold.
struct CheckedLayer {
  LayerSources layer;
  CheckpointReport report;
};
} // namespace

// {"files": [{"file": ..., "valid": ..., "diagnostics": [...], "weights": [{"layer": ..., ...}]}]}; weights only with
// --weights.
static void writeJson(json::OStream &os, const std::string &file, bool valid, const DiagnosticList &list,
                      const std::vector<CheckedLayer> &checkpoints) {
  os.object([&] {
    os.attribute("file", escaped(file));
    os.attribute("valid", valid);
    os.attributeArray("diagnostics", [&] {
      for (const Diagnostic &diagnostic : list.all())
        os.rawValue(renderJson(diagnostic));
    });
    if (checkpoints.empty())
      return;
    os.attributeArray("weights", [&] {
      for (const CheckedLayer &checked : checkpoints)
        writeJson(os, checked.report, checked.layer.sources, checked.layer.layer);
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

// What does not fit goes to `list`. Returns the exit code.
static int checkWeights(Session &session, const SpecInput &input, const CompileOptions &options,
                        const CheckFlags &flags, DiagnosticList &list, std::vector<CheckedLayer> &out) {
  std::vector<LayerSources> layers;
  LaunchPlan launchPlan;
  if (input.isMoeText && isFunctionText(input.text))
    return fail(session, "E-USAGE", quoteText(input.fileName, 256) + " is a function and has no weights",
                "--weights applies to layers");
  list.setSource(input.fileName, input.text);
  if (int code = layerSources(session, flags, layers))
    return code;
  if (int code = planOfSpec(session, input, options, launchPlan))
    return code;
  WeightPlan plan(std::move(launchPlan), options.isas.mask ? WeightDevice::Cpu : WeightDevice::Cuda);
  int exit = ExitDone;
  for (LayerSources &layer : layers) {
    Result<CheckpointReport> report = surveyCheckpoints(plan, layer.sources);
    if (!report) {
      list.add(report.error());
      return exitCodeOf(report.error().code);
    }
    for (Diagnostic &problem : problemsOf(*report)) {
      exit = exitCodeOf(problem.code);
      if (layer.layer >= 0)
        problem.message = "layer " + std::to_string(layer.layer) + ": " + problem.message;
      list.add(problem);
    }
    out.push_back({std::move(layer), std::move(*report)});
  }
  return exit;
}

static void writeWeights(raw_ostream &os, const std::vector<CheckedLayer> &checkpoints) {
  for (const CheckedLayer &checked : checkpoints) {
    const CheckpointReport &report = checked.report;
    if (checkpoints.size() == 1 || !report.fits())
      writeText(os, report);
    if (checked.layer.layer >= 0)
      os << "layer " << checked.layer.layer << ": ";
    os << (report.fits() ? "fits, " : "does not fit, ") << report.tensors() << " tensors of " << report.roles.size()
       << " roles can be loaded";
    if (size_t unused = report.unused.size())
      os << ", " << unused << " under the prefix are not used";
    os << "\n";
  }
}

static int runCheck(Session &session, const CheckFlags &flags) {
  if (!flags.code.empty())
    return explain(session, flags.code);
  if (flags.weights.empty() && !(flags.prefix.empty() && flags.adapter.empty() && flags.layers.empty()))
    return fail(session, "E-USAGE", "--prefix, --adapter and --layers need --weights", "--weights PATH");
  if (!flags.weights.empty() && flags.specs.size() > 1)
    return fail(session, "E-USAGE", "--weights checks one spec, found " + std::to_string(flags.specs.size()));
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
    std::vector<CheckedLayer> checkpoints;
    int code = loadSpec(session, file, flags, input, &list);
    if (code == ExitDone)
      code = checkInput(input, options, list, what);
    bool valid = code == ExitDone;
    if (valid && !flags.weights.empty())
      code = checkWeights(session, input, options, flags, list, checkpoints);
    exit = std::max(exit, code);
    errors += list.numErrors();
    for (const Diagnostic &diagnostic : list.all())
      if (first.empty() && diagnostic.severity == Severity::Error)
        first = diagnostic.code;
    if (flags.json) {
      writeJson(os, file, valid, list, checkpoints);
      continue;
    }
    session.err << render(list, session.color);
    if (valid)
      session.out << escaped(file) << ": valid, " << what << "\n";
    writeWeights(session.out, checkpoints);
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
  verb->add_option(
          "--weights", flags->weights,
          "checkpoint to compare with the spec: safetensors file, model.safetensors.index.json, or their folder")
      ->type_name("PATH");
  addWeightFlags(*verb, *flags);
  verb->add_option("--explain", flags->code, "say what a diagnostic code means")->type_name("CODE");
  addSpecFlags(*verb, *flags);
  verb->add_flag("--json", flags->json, "one JSON document on stdout");
  return {verb, [flags](Session &session) { return runCheck(session, *flags); }};
}

} // namespace moec
