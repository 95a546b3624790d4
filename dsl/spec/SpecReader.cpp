// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// readSpec(): JSON tree -> fields -> name -> checks. One list of errors in file order.

#include "dsl/spec/SpecReader.h"

#include "dsl/Reports.h"
#include "dsl/spec/FieldReader.h"
#include "dsl/spec/SpecChecks.h"

#include <algorithm>

namespace moec {

bool isReservedName(std::string_view name) { return name == "moec" || name.substr(0, 5) == "moec_"; }

bool isLayerName(std::string_view name) {
  if (name.empty() || name.size() > 63 || name[0] < 'a' || name[0] > 'z')
    return false;
  bool plain = std::all_of(name.begin(), name.end(),
                           [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
  return plain && !isReservedName(name);
}

std::string layerNameOf(std::string_view fileName) {
  size_t slash = fileName.find_last_of("/\\");
  std::string_view stem = slash == std::string_view::npos ? fileName : fileName.substr(slash + 1);
  size_t dot = stem.rfind('.');
  if (dot != std::string_view::npos && dot != 0)
    stem = stem.substr(0, dot);
  std::string name;
  for (char c : stem.substr(0, 63)) {
    bool upper = c >= 'A' && c <= 'Z';
    bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    name += upper ? char(c - 'A' + 'a') : plain ? c : '_';
  }
  if (name.empty() || name[0] < 'a' || name[0] > 'z')
    name = ("layer_" + name).substr(0, 63);
  return isReservedName(name) ? ("layer_" + name).substr(0, 63) : name;
}

namespace {

void readName(LayerSpec &spec, const ReadOptions &options, std::string_view fileName, const SpecSource &source,
              DiagnosticList &diagnostics) {
  if (source.unreadable("name"))
    return;
  if (!source.written("name")) {
    spec.name = layerNameOf(options.defaultName.empty() ? fileName : std::string_view(options.defaultName));
    return;
  }
  if (isLayerName(spec.name))
    return;
  std::string why = isReservedName(spec.name) ? "would collide with the runtime's own symbols" : "is not a layer name";
  diagnostics.error("E-NAME", source.locate("name"), "name " + quoteText(spec.name) + " " + why,
                    "a name starts with a small letter and has up to 63 small letters, digits and underscores", "name");
}

// The key is needed wherever experts are picked by rank: a forgotten top_k must not become 1.
void requireTopK(const LayerSpec &spec, SpecSource &source, DiagnosticList &diagnostics) {
  const RouterSpec &router = spec.router;
  if (!takesTopK(router.kind) || router.select.kind != SelectKind::TopK || source.written("router.select.k") ||
      source.unreadable("router.select.k") || source.unreadable("router.kind"))
    return;
  source.markUnreadable("router.select.k");
  diagnostics.error("E-MISSING", source.locate("router.select.k"), "key \"router.top_k\" is required",
                    "add \"top_k\": N to router, the number of experts each token takes", "router.select.k");
}

// External inputs follow from the kind of router unless the spec says otherwise.
void implyInputs(LayerSpec &spec, const SpecSource &source) {
  const RouterSpec &router = spec.router;
  if (router.kind == RouterKind::Table && !source.written("inputs.token_ids"))
    spec.inputs.tokenIds = true;
  if (router.kind == RouterKind::External && !source.written("inputs.expert_ids"))
    spec.inputs.expertIds = true;
  bool given =
      router.kind == RouterKind::Hierarchical && !router.levels.empty() && router.levels[0].kind == RouterKind::Table;
  if ((given || router.tokenGroups) && !source.written("inputs.group_ids"))
    spec.inputs.groupIds = true;
}

} // namespace

std::optional<LayerSpec> readSpec(std::string_view text, std::string_view fileName, const ReadOptions &options,
                                  SpecSource &source, DiagnosticList &diagnostics) {
  source = SpecSource(fileName, text);
  diagnostics.setSource(fileName, text);
  size_t before = diagnostics.numErrors();
  std::optional<JsonTree> tree = readJson(text, options.limits, diagnostics);
  if (!tree)
    return std::nullopt;
  source.setTree(std::move(*tree));
  if (source.tree().root().kind != JsonKind::Object) {
    diagnostics.error("E-TYPE", source.locate(""),
                      "a spec must be an object, found " + std::string(kindName(source.tree().root().kind)));
    return std::nullopt;
  }
  const JsonNode &root = source.tree().root();
  auto has = [&](const char *key) { return source.tree().member(root, key) != nullptr; };
  if (!has("moec") && (has("model_type") || has("architectures"))) {
    diagnostics.error("E-MISSING", source.locate(""), "this is the config of a model; expected the spec of a layer",
                      "moec import hf makes a spec of it");
    return std::nullopt;
  }
  LayerSpec spec;
  FieldReader reader(source.tree(), options, source, diagnostics);
  describeSpec(reader, spec);
  reader.finish();
  readName(spec, options, fileName, source, diagnostics);
  requireTopK(spec, source, diagnostics);
  implyInputs(spec, source);
  if (options.reports)
    spec.reports = *options.reports;
  checkSpec(spec, source, diagnostics);
  diagnostics.sort();
  if (diagnostics.numErrors() != before)
    return std::nullopt;
  normalizeReports(spec);
  return spec;
}

} // namespace moec
