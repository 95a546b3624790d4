// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The runner of a bundle for a GPU, on an emulated device: candidates of stages of both passes compute what the default
// computes, and one that does not, or a default that leaves something out, is named with its place.

extern "C" {
#include "templates/runner/cuda/calls.h"
}

#include "codegen/emulate/CudaEmulator.h"
#include "codegen/emulate/LoadedPackage.h"
#include "codegen/pipeline/StageCompiler.h"
#include "codegen/search/CudaCandidates.h"

#include "dsl/spec/SpecReader.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

#include <gtest/gtest.h>

namespace moec {
namespace {

const char spec[] = R"({"moec": 1, "name": "small", "dtype": "bf16", "passes": ["forward", "backward"], "hidden": 64,
                        "router": {"top_k": 2, "normalize": {"kind": "sum"}},
                        "experts": {"count": 4, "intermediate": 64}})";

// Changes a pass's kernels before they reach the device.
using Plant = std::function<void(llvm::Module &)>;

class RunnerCalls : public testing::Test {
protected:
  void SetUp() override {
    DiagnosticList problems;
    SpecSource source;
    layer = *readSpec(spec, "spec", {}, source, problems);
    input.spec = &layer;
    options.isas = IsaSet{};
    options.archs = {CudaArch::Sm90a};
    options.emulateCuda = true;
    options.maxTokens = 64;
    std::vector<Diagnostic> errors;
    compiler = StageCompiler::make(input, options, errors);
    ASSERT_TRUE(compiler) << errors.front().message;
  }

  Schedule scheduleOfAll() {
    Schedule all = compiler->schedule();
    all.cudaStages.clear();
    for (StageCompiler *pass : compiler->passes())
      llvm::append_range(all.cudaStages, pass->schedule().cudaStages);
    return all;
  }

  // A package of the schedule, whose backward kernels `plant` has changed; its images are those of `emulator`.
  const moec_package *package(const Schedule &schedule, const Plant &plant = {}) {
    CompileOptions own = options;
    own.scheduleText = printSchedule(schedule);
    own.scheduleName = "of a candidate";
    std::vector<Diagnostic> errors;
    std::unique_ptr<CompiledPackage> compiled = compileLayer(input, own, errors);
    if (!compiled) {
      ADD_FAILURE() << errors.front().message;
      return nullptr;
    }
    if (plant)
      plant(*compiled->backward->deviceModules.front().module);
    for (CompiledPackage *pass = compiled.get(); pass; pass = pass->backward.get()) {
      DeviceModule &kernels = pass->deviceModules.front();
      auto image = emulator.addModule(std::move(kernels.module), std::move(kernels.context));
      if (!image) {
        ADD_FAILURE() << llvm::toString(image.takeError());
        return nullptr;
      }
      pass->images.front() = *image;
    }
    Result<std::unique_ptr<LoadedPackage>> opened = LoadedPackage::load(*compiled);
    if (!opened) {
      ADD_FAILURE() << opened.error().message;
      return nullptr;
    }
    loaded.push_back(std::move(*opened));
    return loaded.back()->get();
  }

  // The default with another kernel for calls of `tokens` in `stage`: number `which` of its candidates.
  Schedule withCandidate(const std::string &stage, int64_t tokens, double which) {
    Schedule schedule = scheduleOfAll();
    for (StageCompiler *pass : compiler->passes())
      for (const MatmulStage &facts : pass->stages())
        for (CudaStage &own : schedule.cudaStages)
          for (size_t i = 0; facts.name == stage && own.stage == stage && i < own.entries.size(); ++i) {
            CudaEntry &entry = own.entries[i];
            if (entry.firstToken > tokens || (entry.lastToken >= 0 && tokens > entry.lastToken))
              continue;
            std::vector<CudaEntry> found = cudaCandidates(facts, own, i, /*otherBits=*/false, "");
            EXPECT_GT(found.size(), 4u) << stage;
            if (!found.empty())
              entry.kernel = found[size_t(which * double(found.size() - 1))].kernel;
            return schedule;
          }
    ADD_FAILURE() << "no stage " << stage;
    return schedule;
  }

  call_result compare(const moec_package *standard, const moec_package *candidate, bool backward,
                      std::vector<int64_t> tokens) {
    call_question question = {standard, candidate, backward, tokens.data(), tokens.size(), /*same_bits=*/1};
    call_result result;
    volatile unsigned ticks = 0;
    compare_calls(emulator.driver(), &question, &ticks, &result);
    EXPECT_GT(ticks, 2u);
    for (const std::string &finding : emulator.findings())
      ADD_FAILURE() << finding;
    emulator.clearFindings();
    return result;
  }

  LayerSpec layer;
  CompileInput input;
  CompileOptions options;
  std::unique_ptr<StageCompiler> compiler;
  CudaEmulator emulator{{1, 90, 3}};
  std::vector<std::unique_ptr<LoadedPackage>> loaded;
};

llvm::Function &kernelOf(llvm::Module &module, llvm::StringRef stage) {
  for (llvm::Function &function : module)
    if (!function.isDeclaration() && function.getName().contains(stage))
      return function;
  ADD_FAILURE() << "no kernel of " << stage.str();
  return *module.begin();
}

// The first sum of a kernel becomes a difference: of experts_gate_dgrad that of what both projections give.
void subtract(llvm::Function &kernel) {
  for (llvm::Instruction &instruction : llvm::instructions(kernel))
    if (instruction.getOpcode() == llvm::Instruction::FAdd) {
      llvm::Value *difference = llvm::BinaryOperator::CreateFSub(instruction.getOperand(0), instruction.getOperand(1),
                                                                 "", instruction.getIterator());
      instruction.replaceAllUsesWith(difference);
      instruction.eraseFromParent();
      return;
    }
  ADD_FAILURE() << "the kernel adds nothing";
}

void returnAtOnce(llvm::Function &kernel) {
  kernel.deleteBody();
  llvm::BasicBlock *block = llvm::BasicBlock::Create(kernel.getContext(), "", &kernel);
  llvm::ReturnInst::Create(kernel.getContext(), block);
}

TEST_F(RunnerCalls, candidates_of_both_passes_agree) {
  const moec_package *standard = package(scheduleOfAll());
  struct Case {
    const char *stage;
    double which;
    bool backward;
  };
  for (const Case &c : {Case{"experts_down", 0.3, false}, Case{"experts_down_dgrad", 0, true},
                        Case{"experts_gate_dgrad", 0.6, true}, Case{"router_dgrad", 1, true}}) {
    SCOPED_TRACE(c.stage);
    const moec_package *candidate = package(withCandidate(c.stage, 20, c.which));
    ASSERT_TRUE(standard && candidate);
    call_result result = compare(standard, candidate, c.backward, {20});
    EXPECT_NE(result.result, OUTCOME_WRONG) << result.detail;
    EXPECT_NE(result.result, OUTCOME_FAILED) << result.detail;
    EXPECT_NE(result.result, OUTCOME_UNKNOWN) << result.detail;
    if (result.result == OUTCOME_OK) { // else the emulator took three times as long for its kernel
      EXPECT_EQ(result.times.pairs, 15u);
      EXPECT_GT(result.times.standard.median, 0);
    }
  }
}

TEST_F(RunnerCalls, a_wrong_candidate_is_named_with_its_place) {
  const moec_package *standard = package(scheduleOfAll()), *wrong = package(scheduleOfAll(), [](llvm::Module &kernels) {
    subtract(kernelOf(kernels, "experts_gate_dgrad_t"));
  });
  ASSERT_TRUE(standard && wrong);
  call_result result = compare(standard, wrong, /*backward=*/true, {1});
  EXPECT_EQ(result.result, OUTCOME_WRONG);
  EXPECT_STREQ(result.detail, "T = 1, the gradient of x of token 0");
  EXPECT_EQ(compare(standard, wrong, /*backward=*/false, {1}).result, OUTCOME_OK) << "forward is the same";
}

TEST_F(RunnerCalls, gradients_that_are_not_written_are_seen) {
  const moec_package *standard = package(scheduleOfAll()),
                     *silent = package(scheduleOfAll(), [](llvm::Module &kernels) {
                       returnAtOnce(kernelOf(kernels, "experts_down_wgrad"));
                     });
  ASSERT_TRUE(standard && silent);
  call_result result = compare(standard, silent, /*backward=*/true, {3});
  EXPECT_EQ(result.result, OUTCOME_WRONG);
  EXPECT_STREQ(result.detail, "T = 3, row 0 of the gradient of experts.down");
  result = compare(silent, standard, /*backward=*/true, {3});
  EXPECT_EQ(result.result, OUTCOME_UNKNOWN);
  EXPECT_STREQ(result.detail, "the default leaves row 0 of the gradient of experts.down unwritten, or NaN");
}

} // namespace
} // namespace moec
