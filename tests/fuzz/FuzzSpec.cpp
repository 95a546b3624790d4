// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// JSON of a spec -> readSpec. What is read is printed, read again and printed the same; what is refused has a place, a
// known code and a printable text.

#include "FuzzTarget.h"

#include "dsl/spec/SpecPrinter.h"
#include "dsl/spec/SpecReader.h"

using namespace moec;
using namespace moec::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string text = textOf(data, size);
  SpecSource source, again;
  DiagnosticList said, saidAgain;
  std::optional<LayerSpec> spec = readSpec(text, "layer.json", {}, source, said);
  requirePrintable(render(said, false), "a message is printable");
  for (const Diagnostic &diagnostic : said.all()) {
    require(explainCode(diagnostic.code).has_value(), "every code is explained", diagnostic.code);
    require(diagnostic.severity != Severity::Error || diagnostic.line > 0, "an error has a place", diagnostic.message);
    require(!renderJson(diagnostic).empty(), "a diagnostic has a JSON form");
  }
  require(spec.has_value() == !said.hasErrors(), "a spec is read or an error is said", render(said, false));
  if (!spec)
    return 0;
  std::string printed = printSpec(*spec);
  std::optional<LayerSpec> second = readSpec(printed, "canonical.json", {}, again, saidAgain);
  require(second.has_value(), "the canonical text is read", printed + render(saidAgain, false));
  require(printSpec(*second) == printed, "the canonical text is printed unchanged", printed);
  for (const Role &role : rolesOf(*spec)) {
    int64_t elements = 1;
    for (int64_t extent : role.shape) // -1: the spec leaves it open
      require(extent >= -1 && !__builtin_mul_overflow(elements, extent < 0 ? 1 : extent, &elements),
              "sizes fit into 64 bits", role.name);
  }
  return 0;
}
