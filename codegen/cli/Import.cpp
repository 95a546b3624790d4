// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec import hf: a model's config.json, or the folder that holds it -> a spec file, and where every value of it came
// from; or a table of the model's layers.

#include "TextOutput.h"
#include "Verbs.h"

#include "dsl/import/ImportConfig.h"
#include "dsl/spec/SpecReader.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <memory>

using namespace llvm;

namespace moec {

namespace {
struct ImportFlags {
  std::string kind, config, output = "layer.json", name, masked;
  int64_t layer = -1;
  bool list = false, layers = false, force = false, json = false;
  ImportOptions options;
};
} // namespace

static void printMapping(raw_ostream &out, const ImportResult &result) {
  size_t width = 0;
  for (const ImportedValue &value : result.mapping)
    width = std::max(width, value.key.size());
  for (const ImportedValue &value : result.mapping)
    out << "  " << left_justify(value.key, unsigned(width)) << "  " << left_justify(escaped(value.value), 14) << "  "
        << escaped(value.source) << "\n";
  out << "names of tensors begin with \"" << escaped(result.prefix) << "\"; the third argument of moec_weights_load\n";
}

static void printJson(Session &session, const ImportFlags &flags, const ImportResult &result) {
  json::OStream os(session.out, 2);
  os.object([&] {
    os.attribute("spec", escaped(flags.output));
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

// All findings; returns the exit code of the errors among them. Invalid outranks unsupported.
static int sayFindings(Session &session, const std::vector<Diagnostic> &findings, const std::string &text) {
  int code = ExitDone;
  for (const Diagnostic &finding : findings) {
    if (finding.severity == Severity::Warning) {
      warn(session, finding.code, escaped(finding.message),
           finding.hint.empty() ? "" : "chosen: " + escaped(finding.hint));
      continue;
    }
    int exit = exitCodeOf(finding.code);
    if (finding.line)
      session.err << render(finding, SourceText(text), session.color);
    else
      fail(session, finding.code, escaped(finding.message), escaped(finding.hint));
    code = code == ExitInvalid ? code : exit;
  }
  return code;
}

// The config's text, and that of the file beside it which some quantised checkpoints have. A folder is that of its
// config.json; - is stdin.
static int readConfig(Session &session, const ImportFlags &flags, ImportOptions &options, std::string &text) {
  constexpr size_t most = size_t(4) << 20;
  SmallString<256> path(flags.config == "-" ? "/dev/stdin" : flags.config);
  if (sys::fs::is_directory(path))
    sys::path::append(path, "config.json");
  options.fileName = flags.config == "-" ? "-" : std::string(path);
  if (int code = readTextFile(session, std::string(path), "config", most, text))
    return code;
  SmallString<256> beside = sys::path::parent_path(path);
  sys::path::append(beside, "hf_quant_config.json");
  if (flags.config == "-" || !sys::fs::exists(beside))
    return ExitDone;
  return readTextFile(session, std::string(beside), "quantisation config", most, options.quantText);
}

// "0-2, 5"
static std::string rangesOf(const std::vector<int64_t> &layers) {
  std::string text;
  for (size_t i = 0; i < layers.size();) {
    size_t last = i;
    while (last + 1 < layers.size() && layers[last + 1] == layers[last] + 1)
      ++last;
    text += (i ? ", " : "") + std::to_string(layers[i]) + (last > i ? "-" + std::to_string(layers[last]) : "");
    i = last + 1;
  }
  return text;
}

// What a person reads of a group: "none", or how many experts and choices each of its layers has.
static std::string describe(const LayerGroup &group) {
  if (!group.hasExperts)
    return "no experts";
  if (group.import.spec.empty())
    return "refused";
  std::string text;
  for (const ImportedValue &value : group.import.mapping)
    if (value.key == "experts.count")
      text = value.value + " experts" + text;
    else if (value.key == "router.top_k" || value.key == "router.select.k")
      text += ", top-" + value.value;
    else if (value.key == "router.kind")
      text += ", router " + value.value;
  return text + (group.layers.size() > 1 ? ", equal" : "");
}

static void printLayersJson(Session &session, const std::vector<LayerGroup> &groups) {
  json::OStream os(session.out, 2);
  os.object([&] {
    os.attributeArray("groups", [&] {
      for (const LayerGroup &group : groups)
        os.object([&] {
          os.attributeArray("layers", [&] {
            for (int64_t layer : group.layers)
              os.value(layer);
          });
          os.attribute("experts", group.hasExperts);
          os.attribute("imported", !group.import.spec.empty());
          os.attribute("prefix", escaped(group.hasExperts ? group.import.prefix : ""));
        });
    });
  });
  session.out << "\n";
}

// Which layers have experts and which of them are equal. Fails if a layer with experts cannot be imported, or if the
// model has none.
static int runLayers(Session &session, const ImportFlags &flags, const ImportOptions &options,
                     const std::string &text) {
  std::vector<LayerGroup> groups;
  std::vector<Diagnostic> findings;
  if (!importLayers(text, options, groups, findings))
    return sayFindings(session, findings, text);
  if (flags.json)
    printLayersJson(session, groups);
  size_t width = 0;
  for (const LayerGroup &group : groups)
    width = std::max(width, describe(group).size());
  for (const LayerGroup &group : groups)
    if (!flags.json)
      session.out << "  " << left_justify(escaped(describe(group)), unsigned(width)) << "  layer"
                  << (group.layers.size() > 1 ? "s " : " ") << rangesOf(group.layers) << "\n";
  int code = ExitDone;
  bool any = false;
  for (const LayerGroup &group : groups) {
    if (!group.hasExperts)
      continue;
    int exit = sayFindings(session, group.import.findings, text);
    code = code == ExitInvalid || exit == ExitDone ? code : exit;
    any = true;
  }
  return any ? code : fail(session, "E-IMPORT-LAYER", "no layer of this config has experts");
}

static int listModels(Session &session, bool json) {
  if (json) {
    json::OStream os(session.out, 2);
    os.array([&] {
      for (const std::string &name : importableModels())
        os.value(name);
    });
    session.out << "\n";
    return ExitDone;
  }
  for (const std::string &name : importableModels())
    session.out << name << "\n";
  return ExitDone;
}

static int runImport(Session &session, const ImportFlags &flags) {
  if (flags.list)
    return listModels(session, flags.json);
  if (flags.config.empty())
    return fail(session, "E-USAGE", "import takes a format and a config", "moec import hf config.json");
  ImportOptions options = flags.options;
  if (!flags.masked.empty())
    options.maskedNegInf = flags.masked == "neg_inf";
  std::string text;
  if (int code = readConfig(session, flags, options, text))
    return code;
  std::string name = flags.name.empty() ? layerNameOf(flags.output == "-" ? flags.config : flags.output) : flags.name;
  if (!isLayerName(name) || isReservedName(name))
    return fail(session, "E-USAGE", "--name " + quoteText(name, 80) + " is not a valid name of a layer",
                "[a-z][a-z0-9_]{0,62}");
  options.name = name;
  if (flags.layers)
    return runLayers(session, flags, options, text);
  if (flags.layer >= 0)
    options.layer = flags.layer;
  ImportResult result;
  bool good = importConfig(text, options, result);
  int code = sayFindings(session, result.findings, text);
  if (!good)
    return code;
  if ((code = checkImported(session, result)))
    return code;
  if (flags.output == "-") {
    session.out << result.spec;
    if (!session.quiet)
      printMapping(session.err, result);
    return ExitDone;
  }
  if ((code = writeTextFile(session, flags.output, result.spec, flags.force)))
    return code;
  if (flags.json)
    printJson(session, flags, result);
  else if (!session.quiet)
    printMapping(session.out, result);
  return ExitDone;
}

Verb addImport(CLI::App &app) {
  auto flags = std::make_shared<ImportFlags>();
  CLI::App *verb = app.add_subcommand("import", "make a spec of a model's config");
  verb->add_option("FORMAT", flags->kind, "hf: a config.json of a checkpoint")
      ->required()
      ->check(CLI::IsMember({"hf"}));
  verb->add_option("CONFIG", flags->config, "the file, the checkpoint's folder, or - for stdin");
  CLI::Option *layer = verb->add_option("--layer", flags->layer, "decoder layer; default: the first that has experts")
                           ->check(CLI::Range(int64_t(0), int64_t(1) << 20));
  verb->add_flag("--decoder", flags->options.decoder,
                 "of an encoder-decoder model: a layer of the decoder, not of the encoder");
  verb->add_option("--inner", flags->options.inner,
                   "key of a model inside of the config: talker_config.text_config; default: the text model")
      ->type_name("KEY");
  verb->add_flag("--float", flags->options.floatWeights,
                 "a quantised checkpoint's weights were converted to floating point");
  verb->add_flag("--stacked", flags->options.stacked,
                 "experts were stacked after loading: gate_up_proj [E,2I,H], down_proj [E,H,I]");
  verb->add_flag("--losses", flags->options.losses, "training losses of the config too");
  verb->add_option("--masked-groups", flags->masked,
                   "what experts of groups that are not kept score: zero or neg_inf; default: as in the published "
                   "code")
      ->check(CLI::IsMember({"zero", "neg_inf"}));
  verb->add_option("-o,--output", flags->output, "spec to write; - is stdout, with the mapping on stderr")
      ->type_name("FILE")
      ->capture_default_str();
  verb->add_option("--name", flags->name, "name of the layer; default: that of the file");
  verb->add_option("--dtype", flags->options.dtype, "f32, bf16 or f16 in place of the config's type")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}));
  verb->add_flag("--strict", flags->options.strict,
                 "keys that look like experts, routing or an activation and that no rule reads are errors");
  verb->add_flag("--layers", flags->layers, "which layers have experts and which are equal; writes no spec")
      ->excludes(layer);
  verb->add_flag("--list", flags->list, "name the values of model_type that are known");
  verb->add_flag("--force", flags->force, "replace the file");
  verb->add_flag("--json", flags->json, "the mapping, or the list, as one JSON document on stdout");
  return {verb, [flags](Session &session) { return runImport(session, *flags); }};
}

} // namespace moec
