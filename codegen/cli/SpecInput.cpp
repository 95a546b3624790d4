// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A SPEC argument in -> SpecInput out.

#include "SpecInput.h"

#include "Supervisor.h"

#include "codegen/TemplateFiles.h"

#include "llvm/ADT/StringExtras.h"

#include "dsl/Presets.h"
#include "dsl/Reports.h"
#include "dsl/spec/SpecPrinter.h"
#include "dsl/text/Spelling.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <algorithm>
#include <filesystem>
#include <sys/stat.h>

namespace fs = std::filesystem;

namespace moec {

static constexpr size_t maxSpecBytes = 1u << 20;
static constexpr size_t maxMoeTextBytes = 16u << 20;

CompileInput SpecInput::compileInput() const {
  CompileInput input;
  if (isMoeText) {
    input.moeText = text;
    input.moeFile = fileName;
  } else {
    input.spec = &spec;
  }
  return input;
}

// What a package was made from is an input of every verb, the package itself only of some.
static int refuseFolder(Session &session, const std::string &folder) {
  std::error_code code;
  for (fs::directory_iterator it(fs::path(folder) / "share", code), end; !code && it != end; it.increment(code)) {
    if (!fs::is_regular_file(it->path() / "manifest.json", code))
      continue;
    fs::path layer = it->path() / "spec.json";
    if (!fs::is_regular_file(layer, code))
      layer = it->path() / "layer.mlir";
    return fail(session, "E-UNSUPPORTED",
                quoteText(folder, 256) + " is a package folder; this verb reads specs, .mlir files and presets",
                "the layer it was made from is " + quoteText(layer.string(), 256));
  }
  return fail(session, "E-FILE", "the spec " + quoteText(folder, 256) + " is a folder",
              "name a JSON file, a .mlir file or a preset; moec init --list names the presets");
}

static int readArgument(Session &session, const std::string &argument, SpecInput &out) {
  out.fileName = argument;
  struct stat info;
  bool exists = stat(argument.c_str(), &info) == 0;
  if (!exists && argument.find('/') == std::string::npos) {
    if (std::optional<std::string> preset = presetText(argument)) {
      out.text = *preset;
      return ExitDone;
    }
    std::vector<std::string> near = nearPresets(argument);
    return fail(
        session, "E-FILE", "cannot read the spec " + quoteText(argument, 256) + ": no file and no preset has this name",
        near.empty() ? "moec init --list names the presets" : "did you mean the preset " + quotedList(near) + "?");
  }
  if (exists && S_ISDIR(info.st_mode))
    return refuseFolder(session, argument);
  return readTextFile(session, argument, "spec", out.isMoeText ? maxMoeTextBytes : maxSpecBytes, out.text);
}

void addSpecFlags(CLI::App &verb, SpecFlags &flags) {
  verb.add_option("--templates", flags.templatesDir, "folder laid over the built-in templates")->type_name("DIR");
  verb.add_option(
          "--reports", flags.reports,
          "outputs that a call computes on request: all, none, or names with commas; default: those of the spec")
      ->type_name("LIST");
}

// "all", "none" or "logit_mean,diversity" -> bits.
static int parseReports(Session &session, llvm::StringRef text, unsigned &bits) {
  bits = text == "all" ? allReports() : 0;
  if (text == "all" || text == "none")
    return ExitDone;
  const std::vector<std::string_view> &names = reportNames();
  for (llvm::StringRef word : llvm::split(text, ',')) {
    auto found = std::find(names.begin(), names.end(), std::string_view(word));
    if (found != names.end()) {
      bits |= 1u << (found - names.begin());
      continue;
    }
    std::vector<std::string> allowed(names.begin(), names.end());
    std::optional<std::string> closest = closestSpelling(word, allowed);
    return fail(session, "E-USAGE", "--reports: " + quoteText(word.str()) + " is not a report",
                closest ? "did you mean \"" + *closest + "\"?"
                        : "expected all, none, or of " + llvm::join(allowed, ", "));
  }
  return ExitDone;
}

int loadSpec(Session &session, const std::string &argument, const SpecFlags &flags, SpecInput &out,
             DiagnosticList *collected) {
  enterStage("spec");
  llvm::StringRef name(argument);
  out.isMoeText = name.ends_with(".mlir");
  if (int code = readArgument(session, argument, out))
    return code;
  if (out.isMoeText && !flags.reports.empty())
    return fail(session, "E-USAGE", "--reports does not apply to a .mlir file",
                "the results of its function are the package's outputs");
  if (out.isMoeText)
    return ExitDone;
  ReadOptions options;
  unsigned reports = 0;
  if (int code = flags.reports.empty() ? int(ExitDone) : parseReports(session, flags.reports, reports))
    return code;
  if (!flags.reports.empty())
    options.reports = reports;
  options.defaultName = layerNameOf(argument);
  options.activations = templateNames(flags.templatesDir, "functions");
  DiagnosticList own;
  DiagnosticList &diagnostics = collected ? *collected : own;
  std::optional<LayerSpec> spec = readSpec(out.text, argument, options, out.source, diagnostics);
  if (!collected)
    session.err << render(diagnostics, session.color);
  if (!spec)
    return ExitInvalid;
  out.spec = std::move(*spec);
  LayerSpec anonymous = out.spec;
  anonymous.weights.clear();
  keepForReproducer(printSpec(anonymous));
  return ExitDone;
}

int renameSpec(Session &session, SpecInput &input, const std::string &name) {
  if (name.empty())
    return ExitDone;
  if (input.isMoeText)
    return fail(session, "E-USAGE", "--name does not apply to a .mlir file", "the function's name is the package's");
  if (!isLayerName(name))
    return fail(session, "E-USAGE", "--name " + quoteText(name) + " is not a layer name",
                "use [a-z][a-z0-9_]{0,62}; moec and moec_... are the runtime's");
  input.spec.name = name;
  return ExitDone;
}

int addCompileErrors(const SpecInput &input, const std::vector<Diagnostic> &errors, DiagnosticList &list) {
  list.setSource(input.fileName, input.text);
  for (const Diagnostic &error : errors)
    list.add(error, input.isMoeText || error.path.empty() ? SourcePlace() : input.source.locate(error.path));
  list.sort();
  return exitCodeOf(errors);
}

int reportCompileErrors(Session &session, const SpecInput &input, const std::vector<Diagnostic> &errors) {
  DiagnosticList list;
  int exit = addCompileErrors(input, errors, list);
  session.err << render(list, session.color);
  session.err.flush();
  return exit;
}

// How tokens and experts find each other: "top-2", "4 slots each".
static std::string choicesText(const LayerSpec &spec) {
  const RouterSpec &router = spec.router;
  if (router.kind == RouterKind::Soft)
    return std::to_string(router.slots) + (router.slots == 1 ? " slot each" : " slots each");
  if (router.kind == RouterKind::ExpertChoice)
    return "which choose tokens";
  if (router.kind == RouterKind::Dense)
    return "all chosen";
  return "top-" + std::to_string(spec.choices());
}

std::string specSummary(const LayerSpec &spec) {
  std::string text = std::to_string(spec.experts.count) + " experts, " + choicesText(spec) + ", H " +
                     std::to_string(spec.hidden) + ", I ";
  text += spec.experts.heterogeneous()        ? "mixed"
          : spec.experts.intermediate.empty() ? "?"
                                              : std::to_string(spec.experts.intermediate[0]);
  std::string_view weight = dataTypeName(spec.dtype.weight), activation = dataTypeName(spec.dtype.activation);
  text += ", " + std::string(weight);
  if (weight != activation)
    text += " weights, " + std::string(activation) + " activations";
  if (spec.dtype.router != spec.dtype.weight)
    text += ", " + std::string(dataTypeName(spec.dtype.router)) + " router";
  return text;
}

} // namespace moec
