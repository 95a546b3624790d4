// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A model's config.json -> importConfig and importLayers with several sets of options. What is imported is a spec that
// the reader takes apart from limits of its values.

#include "FuzzTarget.h"

#include "dsl/import/ImportConfig.h"
#include "dsl/spec/SpecReader.h"

using namespace moec;
using namespace moec::fuzz;

static void importWith(const std::string &text, const ImportOptions &options) {
  ImportResult result;
  bool good = importConfig(text, options, result), error = false;
  for (const Diagnostic &finding : result.findings) {
    error |= finding.severity == Severity::Error;
    require(!finding.message.empty(), "a finding says something", finding.code);
  }
  require(good != error, "a config is imported or an error is said");
  require(good || result.spec.empty(), "there is no spec after an error");
  if (!good)
    return;
  SpecSource source;
  DiagnosticList said;
  (void)readSpec(result.spec, "imported.json", {}, source, said);
  for (const Diagnostic &diagnostic : said.all())
    for (const char *malformed : {"E-JSON", "E-DUP", "E-KEY", "E-TYPE", "E-MISSING"})
      require(diagnostic.code != malformed, "the importer writes a well-formed spec",
              result.spec + render(said, false));
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string text = textOf(data, size);
  ImportOptions options;
  importWith(text, options);
  options.layer = 3;
  options.floatWeights = options.stacked = options.losses = true;
  options.maskedNegInf = true;
  importWith(text, options);
  options.strict = options.decoder = true;
  options.quantText = text;
  importWith(text, options);
  if (size > 4096) // a model of many layers is long to list, and its text says nothing new
    return 0;
  std::vector<LayerGroup> groups;
  std::vector<Diagnostic> findings;
  bool listed = importLayers(text, {}, groups, findings);
  require(listed || !findings.empty(), "a config is listed or an error is said");
  return 0;
}
