// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Random specs are valid, and their canonical texts are read and printed unchanged.

#include "codegen/check/RandomSpec.h"

#include "dsl/spec/SpecPrinter.h"
#include "dsl/spec/SpecReader.h"

#include <gtest/gtest.h>

using namespace moec;

static std::optional<LayerSpec> read(const std::string &text, std::string &said) {
  SpecSource source;
  DiagnosticList diagnostics;
  std::optional<LayerSpec> spec = readSpec(text, "layer.json", {}, source, diagnostics);
  said = render(diagnostics, false);
  return spec;
}

TEST(random_spec, canonical_text_is_read_and_printed_unchanged) {
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    std::string said, text = randomSpecText(seed, {});
    std::optional<LayerSpec> spec = read(text, said);
    ASSERT_TRUE(spec) << seed << "\n" << text << said;
    std::string printed = printSpec(*spec);
    std::optional<LayerSpec> again = read(printed, said);
    ASSERT_TRUE(again) << seed << "\n" << printed << said;
    ASSERT_EQ(printSpec(*again), printed) << seed;
  }
}
