// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text of the moe dialect -> every stage up to the schedule, for CPU and CUDA, and the check of function files.

#include "FuzzTarget.h"

#include "codegen/pipeline/LayerText.h"
#include "codegen/pipeline/Pipeline.h"

#include "llvm/Support/raw_ostream.h"

using namespace moec;
using namespace moec::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string text = textOf(data, size);
  if (isFunctionText(text)) {
    Result<> checked = checkFunctionText(text, "f.mlir", "f");
    require(checked || !checked.error().message.empty(), "an error says something");
    return 0;
  }
  for (bool cuda : {false, true}) {
    CompileInput input;
    input.moeText = text;
    input.moeFile = "layer.mlir";
    CompileOptions options;
    if (cuda) {
      options.isas = {};
      options.archs = {CudaArch::Sm80};
    }
    std::vector<Diagnostic> errors;
    llvm::raw_null_ostream nowhere;
    bool good = printStage(input, options, Stage::Schedule, nowhere, errors);
    require(good != !errors.empty(), "a layer is scheduled or an error is said");
    for (const Diagnostic &error : errors)
      require(error.code != "E-INTERNAL", "text is never a mistake of the compiler", error.placedMessage());
  }
  return 0;
}
