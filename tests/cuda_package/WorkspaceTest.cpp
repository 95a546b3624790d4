// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The workspace of a layer on a device: what the compiler says and what the runtime asks for are one number, and rows
// that no kernel writes take none of it.

#include "codegen/emit/Manifest.h"
#include "codegen/emulate/EmulatedDevice.h"
#include "codegen/emulate/LoadedPackage.h"
#include "codegen/pipeline/Pipeline.h"

#include "dsl/spec/SpecReader.h"
#include "runtime/moec.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

const char spec[] = R"({"moec": 1, "name": "w", "hidden": 64, "dtype": "bf16", "router": {"top_k": 2},
                        "experts": {"count": 4, "intermediate": 32}, "shared": {"intermediate": 32}})";

// The compiler's numbers at 0, 1, 17 and 300 tokens, after they were found to be the runtime's.
std::vector<int64_t> workspaces(Determinism determinism) {
  DiagnosticList diagnostics;
  SpecSource source;
  std::optional<LayerSpec> layerSpec = readSpec(spec, "spec", {}, source, diagnostics);
  CompileInput input;
  input.spec = &*layerSpec;
  CompileOptions options;
  options.isas = IsaSet{};
  options.archs = {CudaArch::Sm90a};
  options.emulateCuda = true;
  options.determinism = determinism;
  std::vector<Diagnostic> errors;
  std::unique_ptr<CompiledPackage> compiled = compileLayer(input, options, errors);
  EXPECT_TRUE(compiled) << (errors.empty() ? "" : errors.front().message);
  Result<std::unique_ptr<EmulatedDevice>> device = EmulatedDevice::make(*compiled);
  EXPECT_TRUE(device) << device.error().message;
  Result<std::unique_ptr<LoadedPackage>> package = LoadedPackage::load(*compiled);
  EXPECT_TRUE(package) << package.error().message;
  moec_layer_options made = {};
  made.struct_size = sizeof made;
  made.device = MOEC_DEVICE_CUDA;
  made.cuda_driver = (*device)->context().driver;
  moec_layer *layer = nullptr;
  EXPECT_EQ(moec_layer_create((*package)->get(), &made, &layer), MOEC_OK);
  std::vector<int64_t> all;
  for (int64_t tokens : {0, 1, 17, 300}) {
    size_t asked = 0;
    EXPECT_EQ(moec_layer_workspace_bytes(layer, tokens, &asked), MOEC_OK);
    all.push_back(cudaWorkspaceBytes(compiled->plan, compiled->cuda.targets.front(), tokens));
    EXPECT_EQ(int64_t(asked), all.back()) << tokens << " tokens";
    EXPECT_EQ(largestWorkspaceBytes(*compiled, tokens), all.back());
  }
  moec_layer_destroy(layer);
  return all;
}

} // namespace

TEST(CudaWorkspace, IsWhatTheRuntimeAsksFor) {
  std::vector<int64_t> ordered = workspaces(Determinism::Run), unordered = workspaces(Determinism::Off);
  // 300 tokens of 2 choices, f32 rows of 64; the sums of tokens that take their place are half of that
  EXPECT_GE(ordered.back() - unordered.back(), 300 * 64 * 4 - 256);
}
