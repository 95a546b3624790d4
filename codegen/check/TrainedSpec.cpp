// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// passes and frozen set, and the whole read again, so that every check of specs holds.

#include "codegen/check/TrainedSpec.h"

#include "codegen/check/VerifyRun.h"

#include "dsl/spec/SpecPrinter.h"
#include "dsl/spec/SpecReader.h"

namespace moec {

Result<LayerSpec> withBackwardPass(const LayerSpec &spec) {
  if (spec.trains())
    return spec;
  LayerSpec trained = spec;
  trained.passes.backward = true;
  if (spec.layer.wrap == LayerWrap::Skip)
    trained.frozen.push_back("skip.*");
  if (spec.layer.wrap == LayerWrap::Conditional)
    trained.frozen.push_back("selector.*");
  ReadOptions options;
  options.activations = functionsToRead(spec);
  SpecSource source;
  DiagnosticList diagnostics;
  std::optional<LayerSpec> read = readSpec(printSpec(trained), spec.name + ".json", options, source, diagnostics);
  if (read)
    return *read;
  Diagnostic error = diagnostics.all().front();
  return Diagnostic::error(error.code, error.message, error.hint, error.path);
}

} // namespace moec
