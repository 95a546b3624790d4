// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec import hf: a model's config.json -> a spec file, and where every value of it came from.

#include "TextOutput.h"
#include "Verbs.h"

#include "dsl/import/ImportConfig.h"
#include "dsl/spec/SpecReader.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <memory>

using namespace llvm;

namespace moec {

namespace {
struct ImportFlags {
  std::string kind, config, output = "layer.json", name, masked = "zero";
  int64_t layer = -1;
  bool list = false, force = false, json = false;
  ImportOptions options;
};
} // namespace

static void printMapping(Session &session, const ImportResult &result) {
  size_t width = 0;
  for (const ImportedValue &value : result.mapping)
    width = std::max(width, value.key.size());
  for (const ImportedValue &value : result.mapping)
    session.out << "  " << left_justify(value.key, unsigned(width)) << "  " << left_justify(escaped(value.value), 14)
                << "  " << escaped(value.source) << "\n";
  session.out << "names of tensors begin with \"" << escaped(result.prefix)
              << "\"; the third argument of moec_weights_load\n";
}

static void printJson(Session &session, const ImportFlags &flags, const ImportResult &result) {
  json::OStream os(session.out, 2);
  os.object([&] {
    os.attribute("spec", flags.output);
    os.attribute("family", escaped(result.family));
    os.attribute("layer", result.layer);
    os.attribute("prefix", escaped(result.prefix));
    os.attribute("quantised", result.quantised);
    os.attributeArray("mapping", [&] {
      for (const ImportedValue &value : result.mapping)
        os.object([&] {
          os.attribute("key", value.key);
          os.attribute("value", escaped(value.value));
          os.attribute("source", escaped(value.source));
        });
    });
    os.attributeArray("warnings", [&] {
      for (const Diagnostic &finding : result.findings)
        os.object([&] {
          os.attribute("code", finding.code);
          os.attribute("key", escaped(finding.path));
          os.attribute("message", escaped(finding.message));
          os.attribute("chosen", escaped(finding.hint));
        });
    });
  });
  session.out << "\n";
}

// The importer's own text is read back as every spec is, so that what is written compiles.
static int checkImported(Session &session, const ImportResult &result) {
  SpecSource source;
  DiagnosticList diagnostics;
  if (readSpec(result.spec, "imported spec", {}, source, diagnostics))
    return ExitDone;
  session.err << render(diagnostics, session.color);
  return fail(session, "E-IMPORT-KEY", "the values of this config contradict each other, see above");
}

// Invalid outranks unsupported.
static int sayError(Session &session, const Diagnostic &finding, int before) {
  int exit = fail(session, finding.code, escaped(finding.message), escaped(finding.hint));
  return before == ExitInvalid ? before : exit;
}

static int runImport(Session &session, const ImportFlags &flags) {
  if (flags.list) {
    for (const std::string &name : importableModels())
      session.out << name << "\n";
    return ExitDone;
  }
  if (flags.config.empty())
    return fail(session, "E-USAGE", "import takes a format and a config", "moec import hf config.json");
  std::string text;
  if (int code = readTextFile(session, flags.config, "config", size_t(4) << 20, text))
    return code;
  ImportResult result;
  std::string name = flags.name.empty() ? layerNameOf(flags.output == "-" ? flags.config : flags.output) : flags.name;
  if (!isLayerName(name) || isReservedName(name))
    return fail(session, "E-USAGE", "--name " + quoteText(name, 80) + " is not a valid name of a layer",
                "[a-z][a-z0-9_]{0,62}");
  ImportOptions options = flags.options;
  options.name = name;
  options.maskedNegInf = flags.masked == "neg_inf";
  if (flags.layer >= 0)
    options.layer = flags.layer;
  bool good = importConfig(text, options, result);
  int code = ExitDone;
  for (const Diagnostic &finding : result.findings)
    if (finding.severity == Severity::Error)
      code = sayError(session, finding, code);
    else
      warn(session, finding.code, escaped(finding.message),
           finding.hint.empty() ? "" : "chosen: " + escaped(finding.hint));
  if (!good)
    return code;
  if ((code = checkImported(session, result)))
    return code;
  if (flags.output == "-") {
    session.out << result.spec;
    return ExitDone;
  }
  if ((code = writeTextFile(session, flags.output, result.spec, flags.force)))
    return code;
  if (flags.json)
    printJson(session, flags, result);
  else if (!session.quiet)
    printMapping(session, result);
  return ExitDone;
}

Verb addImport(CLI::App &app) {
  auto flags = std::make_shared<ImportFlags>();
  CLI::App *verb = app.add_subcommand("import", "make a spec of a model's config");
  verb->add_option("FORMAT", flags->kind, "hf: a config.json of a checkpoint")
      ->required()
      ->check(CLI::IsMember({"hf"}));
  verb->add_option("CONFIG", flags->config, "the file");
  verb->add_option("--layer", flags->layer, "decoder layer; default: the first that has experts")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 20));
  verb->add_flag("--decoder", flags->options.decoder,
                 "of an encoder-decoder model: a layer of the decoder, not of the encoder");
  verb->add_flag("--float", flags->options.floatWeights,
                 "a quantised checkpoint's weights were converted to floating point");
  verb->add_flag("--stacked", flags->options.stacked,
                 "experts were stacked after loading: gate_up_proj [E,2I,H], down_proj [E,H,I]");
  verb->add_flag("--losses", flags->options.losses, "training losses of the config too");
  verb->add_option("--masked-groups", flags->masked, "what experts of groups that are not kept score: zero or neg_inf")
      ->check(CLI::IsMember({"zero", "neg_inf"}))
      ->capture_default_str();
  verb->add_option("-o,--output", flags->output, "spec to write; - is stdout")
      ->type_name("FILE")
      ->capture_default_str();
  verb->add_option("--name", flags->name, "name of the layer; default: that of the file");
  verb->add_flag("--list", flags->list, "name the values of model_type that are known");
  verb->add_flag("--force", flags->force, "replace the file");
  verb->add_flag("--json", flags->json, "the mapping as one JSON document on stdout");
  return {verb, [flags](Session &session) { return runImport(session, *flags); }};
}

} // namespace moec
