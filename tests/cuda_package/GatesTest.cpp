// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What no shipped kernel may have: each planted once, and no preset has any.

#include "codegen/cuda/CudaGates.h"
#include "codegen/cuda/Ptxas.h"
#include "codegen/pipeline/Pipeline.h"

#include "dsl/Presets.h"
#include "dsl/Reports.h"
#include "dsl/spec/SpecReader.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

// PTX of one kernel "k" of `threads` threads.
std::string kernelText(const std::string &body, int threads = 32) {
  return ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p)\n.reqntid " +
         std::to_string(threads) + ", 1, 1\n{\n" + body + "\n  ret;\n}\n";
}

CudaTargetPlan planOf(const Assembled &assembled, uint32_t threads = 32) {
  CudaTargetPlan plan;
  plan.launches.emplace_back();
  plan.launches.back().symbol = "k";
  plan.launches.back().launch.block_threads = threads;
  plan.setCosts(assembled.kernels);
  return plan;
}

// Findings of real ptxas; empty optional: there is none.
std::optional<std::vector<std::string>> findingsOf(const std::string &ptx, uint32_t threads = 32) {
  std::optional<Ptxas> ptxas = findPtxas();
  if (!ptxas)
    return std::nullopt;
  Result<Assembled> assembled = runPtxas(*ptxas, ptx, CudaArch::Sm80);
  EXPECT_TRUE(assembled) << assembled.error().message;
  return cudaGateFindings(planOf(*assembled, threads), CudaArch::Sm80, ptx, assembled->messages);
}

// Loads `count` values, then uses all of them twice, so that all are alive at once.
std::string manyLiveValues(int count) {
  std::string text =
      "  .reg .u64 %p; .reg .f32 %f<" + std::to_string(count) + ">; .reg .f32 %s;\n  ld.param.u64 %p, [p];\n";
  auto all = [&](auto line) {
    for (int i = 0; i < count; ++i)
      text += "  " + line(std::to_string(i)) + "\n";
  };
  all([](std::string i) {
    return "ld.volatile.global.f32 %f" + i + ", [%p+" + std::to_string(4 * std::stoi(i)) + "];";
  });
  text += "  bar.sync 0;\n  mov.f32 %s, 0f00000000;\n";
  all([](std::string i) { return "fma.rn.f32 %s, %f" + i + ", %s, %f" + i + ";"; });
  all([](std::string i) { return "fma.rn.f32 %s, %s, %f" + i + ", %f" + i + ";"; });
  return text + "  st.global.f32 [%p], %s;\n";
}

} // namespace

TEST(CudaGates, GoodKernelHasNone) {
  auto findings =
      findingsOf(kernelText("  .reg .u64 %p; .reg .f32 %f;\n  ld.param.u64 %p, [p];\n  ld.global.f32 %f, [%p];\n"
                            "  st.global.f32 [%p+4], %f;"));
  if (!findings)
    GTEST_SKIP() << "there is no ptxas";
  EXPECT_TRUE(findings->empty()) << findings->front();
}

TEST(CudaGates, SpillsAreFound) {
  auto findings = findingsOf(kernelText(manyLiveValues(160), 1024), 1024);
  if (!findings)
    GTEST_SKIP() << "there is no ptxas";
  ASSERT_GE(findings->size(), 1u);
  EXPECT_NE(findings->front().find("bytes of spills, expected none"), std::string::npos) << findings->front();
}

TEST(CudaGates, LocalMemoryIsFound) {
  auto findings =
      findingsOf(kernelText("  .local .align 4 .b8 store[64]; .reg .u64 %p, %a; .reg .u32 %i; .reg .f32 %f;\n"
                            "  ld.param.u64 %p, [p];\n  ld.global.u32 %i, [%p];\n  ld.global.f32 %f, [%p+4];\n"
                            "  mov.u64 %a, store;\n  .reg .u64 %o; mul.wide.u32 %o, %i, 4; add.u64 %a, %a, %o;\n"
                            "  st.local.f32 [%a], %f;\n  bar.sync 0;\n  ld.local.f32 %f, [store+8];\n"
                            "  st.global.f32 [%p], %f;"));
  if (!findings)
    GTEST_SKIP() << "there is no ptxas";
  ASSERT_EQ(findings->size(), 1u);
  EXPECT_EQ(findings->front(), "kernel k: 64 bytes of local memory, expected none");
}

TEST(CudaGates, LoadThatMayPassTheGridsWaitIsFound) {
  std::vector<std::string> findings =
      cudaGateFindings({}, CudaArch::Sm90a, kernelText("  ld.global.nc.f32 %f1, [%rd1];"), {});
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings.front(), "kernel k: 'ld.global.nc.f32 %f1, [%rd1];', expected no ld.global.nc");
}

TEST(CudaGates, RegisterFileSharedMemoryAndMessages) {
  CudaTargetPlan plan = planOf({}, 512);
  plan.launches.back().launch.registers = 129;
  plan.launches.back().launch.shared_bytes = (99 << 10) + 1;
  EXPECT_EQ(cudaGateFindings(plan, CudaArch::Sm80, "", {"(C7510) wgmma is serialized"}),
            (std::vector<std::string>{"kernel k: 129 registers of 512 threads, expected at most 65536 together",
                                      "kernel k: 101377 bytes of shared memory, expected at most 101376",
                                      "ptxas for sm_80: (C7510) wgmma is serialized"}));
  plan.launches.back().launch.registers = 128;
  plan.launches.back().launch.shared_bytes = 99 << 10;
  EXPECT_TRUE(cudaGateFindings(plan, CudaArch::Sm80, "", {}).empty());
}

// For every target with GPU kernels and no processor; null and no error: the text is no layer.
static std::unique_ptr<CompiledPackage> compileForGpus(const std::string &text, CompileOptions options,
                                                       std::vector<Diagnostic> &errors) {
  DiagnosticList diagnostics;
  SpecSource source;
  ReadOptions read;
  read.reports = allReports();
  std::optional<LayerSpec> spec = readSpec(text, "preset", read, source, diagnostics);
  if (!spec)
    return nullptr;
  CompileInput input;
  input.spec = &*spec;
  options.isas = IsaSet{};
  options.archs = {CudaArch::Sm90a, CudaArch::Sm80};
  return compileLayer(input, options, errors);
}

// Kernels that only flags make: sums in any order with the most accumulators a thread has, tf32 tiles.
TEST(CudaGates, KernelsOfFlagsPass) {
  for (bool tf32 : {false, true}) {
    std::string text = *presetText("qwen3-30b-a3b");
    if (tf32)
      text.replace(text.find("bf16"), 4, "f32");
    CompileOptions options;
    options.determinism = Determinism::Off;
    options.math = tf32 ? MathMode::Tf32 : MathMode::Exact;
    std::vector<Diagnostic> errors;
    std::unique_ptr<CompiledPackage> package = compileForGpus(text, options, errors);
    ASSERT_TRUE(package) << (errors.empty() ? "" : errors.front().message);
    for (const std::string &finding : package->cudaFindings)
      ADD_FAILURE() << (tf32 ? "tf32: " : "") << finding;
  }
}

class PresetGates : public ::testing::TestWithParam<std::string> {};

TEST_P(PresetGates, EveryKernelPasses) {
  std::optional<std::string> text = presetText(GetParam());
  ASSERT_TRUE(text);
  std::vector<Diagnostic> errors;
  std::unique_ptr<CompiledPackage> package = compileForGpus(*text, {}, errors);
  if (!package && !errors.empty() && errors.front().code == "E-UNSUPPORTED")
    GTEST_SKIP() << GetParam() << " is not built: " << errors.front().message;
  ASSERT_TRUE(package) << (errors.empty() ? "" : errors.front().message);
  for (const std::string &finding : package->cudaFindings)
    ADD_FAILURE() << finding;
  ASSERT_EQ(package->cuda.targets.size(), 2u);
  if (package->ptxasMissing)
    GTEST_SKIP() << "there is no ptxas: registers, spills and local memory of " << GetParam() << " were not looked at";
  for (const CudaTargetPlan &target : package->cuda.targets)
    for (const CudaPlannedLaunch &launch : target.launches)
      EXPECT_GT(launch.launch.registers, 0u) << launch.symbol;
  EXPECT_EQ(package->cuda.targets[0].numImages, 1u); // cubin
  EXPECT_EQ(package->cuda.targets[1].numImages, 2u); // cubin, PTX
}

INSTANTIATE_TEST_SUITE_P(All, PresetGates, ::testing::ValuesIn(presetNames()), [](const auto &info) {
  std::string name = info.param;
  for (char &c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)))
      c = '_';
  return name;
});
