// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// combine.rows activation: outputs of experts are rounded once, before they are weighted and added, on every
// instruction set; and beside everything else that makes or reads such rows.

#include "CompiledLayer.h"
#include "RoundedRows.h"

#include <iterator>

namespace moec {
namespace {

class CombineRows : public testing::TestWithParam<CpuTarget> {
protected:
  void SetUp() override {
    if (!machineRuns(GetParam()))
      GTEST_SKIP() << "this machine has no " << GetParam().name;
  }
};
INSTANTIATE_TEST_SUITE_P(Cpu, CombineRows, testing::ValuesIn(cpuTargets()), targetTestName);

TEST_P(CombineRows, y_is_that_of_the_rounded_rows) {
  for (const RoundedRows &rows : roundedRows("bf16")) {
    SCOPED_TRACE(rows.json());
    auto layer = CompiledLayer::make(rows.json(), GetParam());
    ASSERT_TRUE(layer);
    for (const auto &[role, values] : rows.parameters())
      layer->set(role, values);
    layer->pack();
    for (int64_t tokens : {1, 7, 45})
      EXPECT_EQ(layer->run(rows.x(tokens), {2}).y, rows.y(tokens)) << tokens << " tokens";
  }
}

struct Kind {
  const char *label;
  const char *router, *experts, *rest; // members of the JSON objects; `rest` of the top level
};

const Kind kinds[] = {
    // nothing else is rounded here: limits that do not know of the rows would be too narrow
    {"linear", R"("top_k": 2)", R"("count": 5, "form": "linear")", R"(, "shared": {"form": "linear", "scale": 0.3})"},
    {"one_choice", R"("top_k": 1)", R"("count": 5, "intermediate": 21)", ""},
    {"eight_choices_with_drops", R"("top_k": 8, "normalize": {"kind": "sum"})", R"("count": 11, "intermediate": 21)",
     R"(, "capacity": {"value": 17, "order": "score"})"},
    {"biases_and_gated_shared", R"("top_k": 2)",
     R"("count": 5, "intermediate": 21, "bias": {"in": true, "out": true}, "output_scale": 1.5)",
     R"(, "shared": {"intermediate": 19, "gate": "sigmoid", "scale": 0.3, "bias": {"in": true, "out": true}})"},
    {"shared_blocks", R"("top_k": 2)", R"("count": 5, "intermediate": 21)",
     R"(, "shared": {"intermediate": 19, "count": 3, "reduce": "mean", "gate": "sigmoid"})"},
    {"softmax2", R"("top_k": 2)", R"("count": 5, "intermediate": 21)",
     R"(, "shared": {"form": "linear", "gate": "softmax2"})"},
    {"layernorm", R"("top_k": 3)", R"("count": 5, "intermediate": 21, "norm_out": "layernorm")", ""},
    {"lora_beside", R"("top_k": 2)",
     R"("count": 5, "intermediate": 21, "output_scale": 1.5, "lora": {"rank": 3, "alpha": 4})", ""},
    {"lora_per_matrix", R"("top_k": 2)",
     R"("count": 5, "intermediate": 21, "lora": {"rank": 3, "alpha": 4, "at": "per_matrix"})", ""},
    {"latent_input_applied", R"("score": "sigmoid", "top_k": 2)",
     R"("count": 5, "intermediate": 21, "latent": {"dim": 11})", R"(, "apply": "input")"},
    {"widths", R"("top_k": 2)", R"("count": 4, "intermediate": [33, 64, 5, 64])", ""},
    {"zero_experts", R"("top_k": 3)", R"("count": 4, "intermediate": 21, "zero": {"count": 3, "kind": "constant"})",
     R"(, "bias": true)"},
    {"expert_choice", R"("kind": "expert_choice", "select": {"tokens": 6})", R"("count": 4, "intermediate": 21)", ""},
    {"soft", R"("kind": "soft", "slots": 2)", R"("count": 4, "intermediate": 21)", ""},
    {"mlp_of_a_wrap", R"("top_k": 2)", R"("count": 4, "intermediate": 21, "form": "mlp", "act": "relu")",
     R"(, "layer": {"wrap": "conditional", "threshold": 0.45, "dense": {"intermediate": 9}, "residual": true})"},
};

// "apply" and "bias" belong into the combine block.
std::string jsonOf(const Kind &kind, const std::string &dtype) {
  std::string rest = kind.rest, combine = R"("rows": "activation")";
  for (const char *key : {R"(, "apply")", R"(, "bias": true)"})
    if (rest.rfind(key, 0) == 0) {
      combine += rest;
      rest.clear();
    }
  return R"({"moec": 1, "name": "rows", "dtype": )" + dtype + R"(, "hidden": 37, "router": {"logit_dtype": "f32", )" +
         kind.router + R"(}, "experts": {)" + kind.experts + R"(}, "combine": {)" + combine + "}" + rest + "}";
}

void checkKind(const Kind &kind, const std::string &dtype, const CpuTarget &target) {
  SCOPED_TRACE(std::string(kind.label) + " " + dtype);
  auto layer = CompiledLayer::make(jsonOf(kind, dtype), target);
  ASSERT_TRUE(layer);
  layer->scale("router." + std::string(layer->spec.router.kind == RouterKind::Soft ? "slots" : "weight"), 0.25f);
  layer->pack();
  RouterKind router = layer->spec.router.kind;
  bool choices = router != RouterKind::Soft && router != RouterKind::ExpertChoice;
  std::vector<float> x = layer->randomX(45);
  CallResult result = layer->run(x, {2, Edge::Back, Workspace::Ones, choices});
  EXPECT_EQ(disagreement(layer->spec, result, layer->oracle(x)), "");
  EXPECT_TRUE(result.inBounds);
  EXPECT_TRUE(result.sameBits(layer->run(x, {3, Edge::Front, Workspace::Nan, choices})));
}

TEST_P(CombineRows, kinds_agree_with_oracle) {
  // y is f32 and bf16 in turn; emulated tiles are slow
  for (size_t i = 0; i < std::size(kinds); i += GetParam().emulated ? 5 : 1)
    checkKind(kinds[i], i % 2 ? R"("bf16")" : R"({"activation": "bf16", "weight": "bf16", "output": "f32"})",
              GetParam());
}

// Rows are f32 already: the key says what happens anyway.
TEST(CombineRowsF32, activation_changes_no_bit) {
  auto yOf = [&](const char *rows) {
    auto layer = CompiledLayer::make(std::string(R"({"moec": 1, "name": "same", "hidden": 37, "router": {"top_k": 2},
      "experts": {"count": 5, "intermediate": 21}, "combine": {"rows": ")") +
                                         rows + "\"}}",
                                     cpuTargets().front());
    return layer ? layer->run(layer->randomX(20)).y : std::vector<double>();
  };
  EXPECT_FALSE(yOf("f32").empty());
  EXPECT_EQ(yOf("activation"), yOf("f32"));
}

} // namespace
} // namespace moec
