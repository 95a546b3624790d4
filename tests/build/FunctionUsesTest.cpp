// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Function files are read where a layer applies them: each that cannot be used is refused once, at the spec's key, and
// files that the layer does not apply are never read.

#include "tests/build/BuiltLayer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

using namespace moec;

namespace {

// A temporary overlay folder in which these functions are not MLIR.
struct BrokenFunctions {
  std::filesystem::path dir = std::filesystem::temp_directory_path() / ("moec-broken-" + std::to_string(getpid()));
  explicit BrokenFunctions(const std::vector<std::string> &names) {
    std::filesystem::create_directories(dir / "functions");
    for (const std::string &name : names)
      std::ofstream(dir / "functions" / (name + ".mlir")) << "broken\n";
  }
  ~BrokenFunctions() { std::filesystem::remove_all(dir); }
};

const std::vector<std::string> allFunctions = {"gelu", "gelu_tanh", "identity", "quick_gelu",   "relu", "relu2",
                                               "silu", "sigmoid",   "softplus", "sqrtsoftplus", "tanh"};

// "KEY FUNCTION" of every refusal, in the order of building.
std::vector<std::string> refusedFunctions(const LayerSpec &spec) {
  BrokenFunctions broken(allFunctions);
  BuiltLayer built;
  built.spec = spec;
  EXPECT_EQ(built.build(broken.dir.string()), built.refusals.empty());
  std::vector<std::string> found;
  for (const Diagnostic &refusal : built.refusals) {
    EXPECT_EQ(refusal.code, "E-TEMPLATE");
    EXPECT_EQ(refusal.hint, "a function file holds one func.func @NAME(%x: f32) -> f32");
    std::string message = refusal.placedMessage();
    size_t begin = message.find("functions/") + 10;
    found.push_back(refusal.path + " " + message.substr(begin, message.find(".mlir") - begin));
  }
  return found;
}

struct UsedFunction {
  const char *label;
  std::function<void(LayerSpec &)> change;
  std::vector<std::string> refused;
};

void wrapped(LayerSpec &spec, LayerWrap wrap) {
  spec.layer.wrap = wrap;
  if (wrap == LayerWrap::Depth)
    spec.layer.tokens = 1;
  if (wrap == LayerWrap::Conditional)
    spec.layer.dense = DenseSpec{4, ExpertForm::Mlp, Activation::Relu2, "relu2"};
}

void withLevels(LayerSpec &spec) {
  spec.router.kind = RouterKind::Hierarchical;
  spec.router.levels.resize(2);
  for (RouterSpec &level : spec.router.levels) {
    level.count = 2;
    level.score = Score::Sigmoid;
  }
}

const UsedFunction usedFunctions[] = {
    {"activation", [](LayerSpec &) {}, {"experts.act silu"}},
    {"alpha", [](LayerSpec &s) { s.experts.actAlpha = 1.5; }, {"experts.act sigmoid"}},
    {"linear_experts_apply_none", [](LayerSpec &s) { s.experts.form = ExpertForm::Linear; }, {}},
    {"score",
     [](LayerSpec &s) { s.router.score = Score::SqrtSoftplus; },
     {"router.score sqrtsoftplus", "experts.act silu"}},
    {"score_of_router_and_loss",
     [](LayerSpec &s) {
       s.router.score = Score::Relu;
       s.losses.push_back({"entropy", 0.01, {{"probs", "\"normalized_score\""}}});
     },
     {"router.score relu", "experts.act silu"}},
    {"score_without_logits_is_not_applied",
     [](LayerSpec &s) {
       s.router.kind = RouterKind::External;
       s.router.score = Score::Sigmoid;
     },
     {"experts.act silu"}},
    {"levels", withLevels, {"router.levels sigmoid", "experts.act silu"}},
    {"learned_noise",
     [](LayerSpec &s) {
       s.router.noise.kind = NoiseKind::Learned;
       s.router.noise.when = NoiseWhen::Always;
     },
     {"router.noise.std_fn softplus", "experts.act silu"}},
    {"noise_in_training_only_is_not_applied",
     [](LayerSpec &s) { s.router.noise.kind = NoiseKind::Learned; },
     {"experts.act silu"}},
    {"shared",
     [](LayerSpec &s) {
       s.shared.emplace();
       s.shared->intermediate = 4;
       s.shared->gate = SharedGate::Sigmoid;
     },
     {"experts.act silu", "shared.act silu", "shared.gate sigmoid"}},
    {"skip", [](LayerSpec &s) { wrapped(s, LayerWrap::Skip); }, {"layer.wrap sigmoid", "experts.act silu"}},
    {"conditional",
     [](LayerSpec &s) { wrapped(s, LayerWrap::Conditional); },
     {"layer.wrap sigmoid", "experts.act silu", "layer.dense.act relu2"}},
    {"depth_applies_none", [](LayerSpec &s) { wrapped(s, LayerWrap::Depth); }, {"experts.act silu"}},
};

class Functions : public testing::TestWithParam<UsedFunction> {};

TEST_P(Functions, those_applied_are_refused_once_at_their_keys) {
  LayerSpec spec = plainSpec();
  GetParam().change(spec);
  EXPECT_EQ(refusedFunctions(spec), GetParam().refused);
  BuiltLayer built;
  built.spec = spec;
  EXPECT_TRUE(built.build());
}

INSTANTIATE_TEST_SUITE_P(All, Functions, testing::ValuesIn(usedFunctions),
                         [](const auto &info) { return std::string(info.param.label); });

TEST(FunctionUses, all_missing_functions_are_found_in_one_run) {
  LayerSpec spec = plainSpec();
  spec.experts.actName = "swell";
  spec.shared.emplace();
  spec.shared->intermediate = 4;
  spec.shared->actName = "tide";
  BuiltLayer built;
  built.spec = spec;
  EXPECT_FALSE(built.build());
  ASSERT_EQ(built.refusals.size(), 2u);
  EXPECT_EQ(built.refusals[0].path, "experts.act");
  EXPECT_EQ(built.refusals[0].message.rfind("function 'swell' not found; available: ", 0), 0u);
  EXPECT_EQ(built.refusals[1].path, "shared.act");
  EXPECT_EQ(built.refusals[1].message.rfind("function 'tide' not found; available: ", 0), 0u);
}

TEST(FunctionUses, functions_of_a_layer_that_is_not_built_are_not_read) {
  LayerSpec spec = plainSpec();
  spec.experts.actName = "swell";
  spec.experts.quant.kind = QuantKind::Int8;
  BuiltLayer built;
  built.spec = spec;
  EXPECT_FALSE(built.build());
  ASSERT_EQ(built.refusals.size(), 1u);
  EXPECT_EQ(built.refusals[0].code, "E-UNSUPPORTED");
}

} // namespace
