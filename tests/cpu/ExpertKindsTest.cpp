// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Experts of different width, product keys, constant experts, LayerNorm on slots, and the largest numbers of choices and
// blocks, each against the oracle on every instruction set.

#include "CompiledLayer.h"

#include <map>

namespace moec {
namespace {

struct Kind {
  const char *label;
  const char *router, *experts, *rest; // members of the JSON objects; `rest` of the top level
};

const Kind kinds[] = {
    {"widths_few", R"("top_k": 2)", R"("count": 5, "intermediate": [40, 7, 40, 96, 7])", ""},
    {"widths_all_differ", R"("top_k": 3, "scale": 1.5)",
     R"("count": 12, "intermediate": [1, 33, 65, 97, 129, 161, 193, 225, 257, 289, 321, 353])", ""},
    {"widths_biases", R"("top_k": 2)",
     R"("count": 4, "intermediate": [70, 3, 34, 70], "bias": {"in": true, "out": true}, "up_offset": 1, "act": "gelu")", ""},
    {"widths_mlp_layers_zero", R"("top_k": 3)",
     R"("count": 4, "intermediate": [70, 3, 34, 70], "form": "mlp", "act": "relu", "layers": 3, "bias": {"in": true},
        "zero": {"count": 2, "kind": "identity"})", ""},
    {"widths_lora_norm", R"("top_k": 2)",
     R"("count": 3, "intermediate": [33, 64, 5], "norm_out": "layernorm", "lora": {"rank": 3, "alpha": 4})", ""},
    {"widths_lora_per_matrix", R"("top_k": 2)",
     R"("count": 3, "intermediate": [33, 64, 5], "lora": {"rank": 3, "alpha": 4, "at": "per_matrix"})", ""},
    {"widths_latent_input_applied", R"("score": "sigmoid", "top_k": 2)",
     R"("count": 3, "intermediate": [33, 64, 5], "latent": {"dim": 11})", R"(, "combine": {"apply": "input"})"},
    {"widths_capacity_shared", R"("top_k": 2)", R"("count": 4, "intermediate": [33, 64, 5, 64])",
     R"(, "capacity": {"mode": "fixed", "value": 9}, "shared": {"intermediate": 19})"},
    {"widths_expert_choice", R"("kind": "expert_choice", "select": {"tokens": 6})",
     R"("count": 4, "intermediate": [33, 64, 5, 64])", ""},
    {"widths_soft", R"("kind": "soft", "slots": 2)", R"("count": 4, "intermediate": [33, 64, 5, 64])", ""},
    {"widths_soft_latent_norm", R"("kind": "soft", "slots": 2, "combine_weights": "dispatch")",
     R"("count": 3, "intermediate": [33, 64, 5], "latent": {"dim": 11, "bias": true}, "norm_out": "layernorm")", ""},
    {"widths_one_for_all", R"("top_k": 2)", R"("count": 3, "intermediate": [21, 21, 21])", ""},
    {"soft_norm", R"("kind": "soft", "slots": 3)", R"("count": 4, "intermediate": 21, "norm_out": "layernorm")", ""},
    {"keys_plain", R"("kind": "product_key", "top_k": 3)", R"("count": 36, "intermediate": 21)", ""},
    {"keys_selected", R"("kind": "product_key", "top_k": 4, "score_over": "selected", "bias": true, "expert_scale": true)",
     R"("count": 49, "intermediate": 21)", ""},
    {"keys_sigmoid", R"("kind": "product_key", "top_k": 2, "score": "sigmoid", "normalize": {"kind": "sum"},
      "transform": [{"op": "softcap", "cap": 4}])", R"("count": 25, "intermediate": 21)", ""},
    {"keys_more_than_a_half", R"("kind": "product_key", "top_k": 7)", R"("count": 9, "intermediate": 21)", ""},
    {"keys_one", R"("kind": "product_key", "top_k": 1)", R"("count": 1, "intermediate": 21)", ""},
    {"constants", R"("top_k": 3)", R"("count": 4, "intermediate": 21, "zero": {"count": 3, "kind": "constant"})", ""},
    {"constants_one", R"("top_k": 1)", R"("count": 2, "intermediate": 21, "zero": {"count": 1, "kind": "constant"})",
     R"(, "shared": {"intermediate": 19, "gate": "softmax2"}, "combine": {"bias": true})"},
    {"constants_dropped", R"("top_k": 3)", R"("count": 4, "intermediate": 21, "zero": {"count": 3, "kind": "constant"})",
     R"(, "capacity": {"mode": "fixed", "value": 9, "dropped": "identity"})"},
    {"k_200", R"("score": "sigmoid", "top_k": 200, "normalize": {"kind": "sum"})", R"("count": 260, "intermediate": 5)", ""},
    {"k_256_of_256", R"("top_k": 256)", R"("count": 256, "intermediate": 5)", ""},
    {"groups_keep_130", R"("score": "sigmoid", "groups": {"count": 140, "keep": 130, "score": "max"}, "top_k": 100)",
     R"("count": 280, "intermediate": 5)", ""},
    {"shared_100", R"("top_k": 1)", R"("count": 2, "intermediate": 5)",
     R"(, "shared": {"intermediate": 5, "count": 100, "reduce": "mean"})"},
};

class ExpertKinds : public testing::TestWithParam<CpuTarget> {
protected:
  void SetUp() override {
    if (!machineRuns(GetParam()))
      GTEST_SKIP() << "this machine has no " << GetParam().name;
  }
};
INSTANTIATE_TEST_SUITE_P(Cpu, ExpertKinds, testing::ValuesIn(cpuTargets()), targetTestName);

std::string jsonOf(const Kind &kind, const std::string &dtype) {
  return R"({"moec": 1, "name": "kind", "dtype": ")" + dtype + R"(", "hidden": 37, "router": {"logit_dtype": "f32", )" +
         kind.router + R"(}, "experts": {)" + kind.experts + "}" + kind.rest + "}";
}

// Where experts take tokens the oracle has no choices to compare.
std::string difference(const LayerSpec &spec, const CallResult &actual, const ReferenceOutputs &expected, bool choices) {
  if (choices)
    return disagreement(spec, actual, expected);
  CompareOptions options;
  options.maxRel = toleranceOf(spec);
  Comparison c = compareRows({actual.y.begin(), actual.y.end()}, expected.y, spec.hidden, options);
  return c.pass ? "" : "y: " + c.text;
}

void checkKind(const Kind &kind, const std::string &dtype, const CpuTarget &target) {
  SCOPED_TRACE(std::string(kind.label) + " " + dtype);
  auto layer = CompiledLayer::make(jsonOf(kind, dtype), target);
  ASSERT_TRUE(layer);
  std::vector<float> x = layer->randomX(45);
  RouterKind router = layer->spec.router.kind;
  bool choices = router != RouterKind::Soft && router != RouterKind::ExpertChoice;
  CallResult result = layer->run(x, {2, Edge::Back, Workspace::Ones, choices});
  EXPECT_EQ(difference(layer->spec, result, layer->oracle(x), choices), "");
  EXPECT_TRUE(result.inBounds);
  EXPECT_TRUE(result.sameBits(layer->run(x, {3, Edge::Front, Workspace::Nan, choices})));
  if (!choices || layer->spec.capacity)
    return;
  std::vector<int32_t> counts(size_t(layer->spec.experts.count), 0);
  for (int32_t id : result.ids)
    if (size_t(id) < counts.size())
      ++counts[size_t(id)];
  EXPECT_EQ(result.counts, counts);
}

TEST_P(ExpertKinds, kinds_f32_agree_with_oracle) {
  if (GetParam().emulated)
    GTEST_SKIP() << "tiles take bf16";
  for (const Kind &kind : kinds)
    checkKind(kind, "f32", GetParam());
}

TEST_P(ExpertKinds, kinds_bf16_agree_with_oracle) {
  for (const Kind &kind : kinds)
    checkKind(kind, "bf16", GetParam());
}

// One tensor per expert, of the expert's own shape.
TEST(ExpertWidths, roles_of_a_package_are_one_per_expert) {
  CpuTarget target = cpuTargets().front();
  auto layer = CompiledLayer::make(jsonOf(kinds[0], "f32"), target);
  ASSERT_TRUE(layer);
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const moec_role &role : layer->package->plan.roles)
    shapes[layer->package->plan.string(role.name).str()] = {role.dims, role.dims + role.rank};
  EXPECT_EQ(shapes.size(), 1u + 3 * 5);
  EXPECT_EQ(shapes["experts.gate.0"], (std::vector<int64_t>{40, 37}));
  EXPECT_EQ(shapes["experts.up.1"], (std::vector<int64_t>{7, 37}));
  EXPECT_EQ(shapes["experts.down.3"], (std::vector<int64_t>{37, 96}));
  // three classes: 7 and 7, 40 and 40, 96; no region holds more columns than its widest expert
  std::vector<uint32_t> columns;
  for (const moec_weight &weight : layer->package->plan.weights)
    if (weight.role_per_group && weight.parts == 2)
      columns.push_back(weight.groups * weight.n);
  EXPECT_EQ(columns, (std::vector<uint32_t>{14, 80, 96}));
}

} // namespace
} // namespace moec
