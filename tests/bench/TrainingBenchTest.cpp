// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Layers that train -> which calls are timed, what they must do, and what their rounds hold.

#include "codegen/bench/BenchedLayer.h"

#include "codegen/CompileOptions.h"
#include "codegen/emulate/LoadedPackage.h"
#include "codegen/pipeline/Pipeline.h"

#include "dsl/spec/SpecReader.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

std::string layerOf(const std::string &more, const std::string &experts) {
  return R"({"moec": 1, "name": "small", "dtype": "f32", "hidden": 32, "router": {"top_k": 2}, "experts": )" + experts +
         more + "}";
}
const char *const trained = R"(, "passes": ["forward", "backward"])";
const char *const fourExperts = R"({"count": 4, "intermediate": 16})";

// A layer in this process, compiled for the lowest instruction set.
class Compiled {
public:
  explicit Compiled(const std::string &json) {
    SpecSource source;
    DiagnosticList problems;
    auto read = readSpec(json, "small.json", {}, source, problems);
    EXPECT_TRUE(read) << "the layer is not valid";
    if (!read)
      return;
    spec = *read;
    input.spec = &spec;
    options.isas = IsaSet::of(Isa::Baseline);
    std::vector<Diagnostic> errors;
    package = compileLayer(input, options, errors);
    for (const Diagnostic &error : errors)
      ADD_FAILURE() << error.placedMessage();
    auto opened = LoadedPackage::load(*package);
    EXPECT_TRUE(opened);
    loaded = std::move(*opened);
    facts = benchFacts(spec);
  }
  BenchPackage tables() const {
    return {loaded->get(),
            &package->plan,
            package->backward ? &package->backward->plan : nullptr,
            &facts,
            "small",
            "0.1.0",
            ""};
  }

  LayerSpec spec;
  CompileInput input;
  CompileOptions options;
  std::unique_ptr<CompiledPackage> package;
  std::unique_ptr<LoadedPackage> loaded;
  BenchFacts facts;
};

std::string passesOf(const std::string &asked, bool trains, int64_t distinct = 0) {
  BenchOptions options;
  options.pass = asked;
  options.distinct = distinct;
  Result<std::vector<BenchPass>> passes = benchPasses(options, trains);
  if (!passes)
    return passes.error().code;
  std::string text;
  for (BenchPass pass : *passes)
    text += (text.empty() ? "" : " ") + std::string(passName(pass));
  return text;
}

BenchRun benched(const Compiled &compiled, const BenchOptions &options, const std::vector<int64_t> &tokens) {
  BenchedLayer layer(compiled.tables(), options, 0);
  BenchRun run;
  EXPECT_TRUE(layer.pack());
  Result<> measured = benchCalls(layer, tokens, nullptr, run);
  EXPECT_TRUE(measured) << measured.error().message;
  return run;
}

} // namespace

TEST(TrainingBench, passes_follow_from_the_layer_and_the_flag) {
  EXPECT_EQ(passesOf("", false), "forward");
  EXPECT_EQ(passesOf("", true), "forward_saving backward");
  EXPECT_EQ(passesOf("both", true), "forward_saving backward");
  EXPECT_EQ(passesOf("backward", true), "backward");
  EXPECT_EQ(passesOf("forward", true), "forward");
  EXPECT_EQ(passesOf("forward", false), "forward");
  EXPECT_EQ(passesOf("backward", false), "E-UNSUPPORTED");
  EXPECT_EQ(passesOf("both", false), "E-UNSUPPORTED");
  EXPECT_EQ(passesOf("", true, 2), "E-USAGE");
  EXPECT_EQ(passesOf("forward", true, 2), "forward");
}

// Every matrix is multiplied once in forward, and twice in backward, for dx and for its gradient.
TEST(TrainingBench, work_of_a_backward_call) {
  Compiled compiled(layerOf(trained, fourExperts));
  ASSERT_TRUE(compiled.package && compiled.package->backward);
  std::vector<int32_t> counts = {3, 0, 2, 1};
  const double matrix = 32 * 16;
  CallWork forward = workOf(compiled.package->plan, 3, counts);
  EXPECT_EQ(forward.flops, 2 * 3 * matrix * 6);
  EXPECT_EQ(forward.weightBytes, 3 * matrix * 4 * 3);
  const PlanTables &plan = compiled.package->backward->plan;
  CallWork backward = workOf(plan, 3, counts);
  EXPECT_EQ(backward.flops, 2 * forward.flops);
  EXPECT_EQ(backward.weightBytes, forward.weightBytes + 3 * matrix * 4 * 4) << "gradients of all four experts";
  EXPECT_EQ(workOf(plan, 3, counts, DataType::BF16).weightBytes, forward.weightBytes + 3 * matrix * 4 * 2);
  EXPECT_EQ(backward.expertsTouched, 3);
  size_t matmuls = 0;
  for (const moec_step &step : plan.steps)
    matmuls += isExpertMatmul(plan, step);
  EXPECT_EQ(matmuls, 6u) << "three matrices, two products each; none of the router's";
}

TEST(TrainingBench, work_leaves_out_what_is_frozen) {
  Compiled compiled(layerOf(R"(, "passes": ["forward", "backward"], "frozen": ["experts.down"])", fourExperts));
  ASSERT_TRUE(compiled.package && compiled.package->backward);
  std::vector<int32_t> counts = {3, 0, 2, 1};
  CallWork backward = workOf(compiled.package->backward->plan, 3, counts);
  EXPECT_EQ(backward.flops, 2 * 5 * 32 * 16 * 6.0);
  EXPECT_EQ(backward.weightBytes, 32 * 16 * 4 * (3 * 3 + 2 * 4.0));
}

// Experts of different width count with their own sizes, without padding.
TEST(TrainingBench, work_of_experts_of_different_width) {
  Compiled compiled(layerOf(trained, R"({"count": 3, "intermediate": [16, 12, 48]})"));
  ASSERT_TRUE(compiled.package && compiled.package->backward);
  std::vector<int32_t> counts = {3, 0, 2};
  CallWork forward = workOf(compiled.package->plan, 3, counts),
           backward = workOf(compiled.package->backward->plan, 3, counts);
  EXPECT_EQ(forward.flops, 2 * 3 * 32 * (16 * 3 + 48 * 2.0));
  EXPECT_EQ(backward.flops, 2 * forward.flops);
  EXPECT_EQ(backward.weightBytes, forward.weightBytes + 3 * 32 * 4 * (16 + 12 + 48.0));
}

TEST(TrainingBench, calls_of_both_passes_alternate) {
  Compiled compiled(layerOf(trained, fourExperts));
  ASSERT_TRUE(compiled.package);
  BenchOptions options;
  options.rounds = 3;
  options.stages = true;
  BenchRun run = benched(compiled, options, {0, 5});
  ASSERT_EQ(run.series.size(), 4u);
  EXPECT_EQ(run.gradientType, "f32");
  for (size_t i = 0; i < 4; ++i) {
    const BenchSeries &series = run.series[i];
    EXPECT_EQ(series.tokens, i < 2 ? 0 : 5);
    EXPECT_EQ(series.pass, i % 2 ? BenchPass::Backward : BenchPass::Saving);
    ASSERT_EQ(series.rounds.size(), 3u);
    const PlanTables &plan = i % 2 ? compiled.package->backward->plan : compiled.package->plan;
    EXPECT_EQ(stepsOf(run, series).size(), plan.steps.size());
    for (const BenchRound &round : series.rounds) {
      EXPECT_GT(round.us, 0);
      EXPECT_EQ(round.steps.size(), plan.steps.size());
      EXPECT_GT(round.before.gflops * round.after.gflops, 0);
      if (series.tokens)
        EXPECT_EQ(round.work.flops, (i % 2 ? 2 : 1) * 2 * 3 * 32 * 16 * 10.0);
    }
  }
  // The probe behind a forward call is the one before the backward call that follows.
  for (size_t r = 0; r < 3; ++r)
    EXPECT_EQ(run.series[2].rounds[r].after.gbps, run.series[3].rounds[r].before.gbps);
}

TEST(TrainingBench, backward_calls_alone) {
  Compiled compiled(layerOf(trained, fourExperts));
  ASSERT_TRUE(compiled.package);
  BenchOptions options;
  options.rounds = 2;
  options.pass = "backward";
  options.warm = true;
  BenchRun run = benched(compiled, options, {4});
  ASSERT_EQ(run.series.size(), 1u);
  EXPECT_EQ(run.series[0].pass, BenchPass::Backward);
  EXPECT_EQ(run.series[0].rounds.size(), 2u);
  options.pass = "forward";
  run = benched(compiled, options, {4});
  ASSERT_EQ(run.series.size(), 1u);
  EXPECT_EQ(run.series[0].pass, BenchPass::Forward);
  EXPECT_EQ(run.gradientType, "");
}

// Losses have coefficients; a shared expert reads the residual, which then has a gradient.
TEST(TrainingBench, layers_with_losses_and_further_inputs_run) {
  Compiled compiled(layerOf(R"(, "passes": ["forward", "backward"],
      "losses": [{"kind": "load_balance", "coef": 0.01}, {"kind": "z", "coef": 0.001}],
      "shared": {"intermediate": 8, "input": "residual"})",
                            fourExperts));
  ASSERT_TRUE(compiled.package);
  BenchOptions options;
  options.rounds = 1;
  EXPECT_EQ(benched(compiled, options, {3}).series.size(), 2u);
}
