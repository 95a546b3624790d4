// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Experts of different width, product keys, constant experts, LayerNorm on slots, and the largest numbers of choices
// and blocks, each against the oracle on every instruction set.

#include "CompiledLayer.h"
#include "codegen/emulate/LoadedPackage.h"

#include <fstream>
#include <map>
#include <unistd.h>

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
     R"("count": 4, "intermediate": [70, 3, 34, 70], "bias": {"in": true, "out": true}, "up_offset": 1, "act": "gelu")",
     ""},
    {"widths_mlp_layers_zero", R"("top_k": 3)",
     R"("count": 4, "intermediate": [70, 3, 34, 70], "form": "mlp", "act": "relu", "layers": 3, "bias": {"in": true},
        "zero": {"count": 2, "kind": "identity"})",
     ""},
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
    {"keys_selected",
     R"("kind": "product_key", "top_k": 4, "score_over": "selected", "bias": true, "expert_scale": true)",
     R"("count": 49, "intermediate": 21)", ""},
    {"keys_sigmoid", R"("kind": "product_key", "top_k": 2, "score": "sigmoid", "normalize": {"kind": "sum"},
      "transform": [{"op": "softcap", "cap": 4}])",
     R"("count": 25, "intermediate": 21)", ""},
    {"keys_more_than_a_half", R"("kind": "product_key", "top_k": 7)", R"("count": 9, "intermediate": 21)", ""},
    {"keys_one", R"("kind": "product_key", "top_k": 1)", R"("count": 1, "intermediate": 21)", ""},
    {"constants", R"("top_k": 3)", R"("count": 4, "intermediate": 21, "zero": {"count": 3, "kind": "constant"})", ""},
    {"constants_one", R"("top_k": 1)", R"("count": 2, "intermediate": 21, "zero": {"count": 1, "kind": "constant"})",
     R"(, "shared": {"intermediate": 19, "gate": "softmax2"}, "combine": {"bias": true})"},
    {"constants_dropped", R"("top_k": 3)",
     R"("count": 4, "intermediate": 21, "zero": {"count": 3, "kind": "constant"})",
     R"(, "capacity": {"mode": "fixed", "value": 9, "dropped": "identity"})"},
    {"k_200", R"("score": "sigmoid", "top_k": 200, "normalize": {"kind": "sum"})", R"("count": 260, "intermediate": 5)",
     ""},
    {"k_256_of_256", R"("top_k": 256)", R"("count": 256, "intermediate": 5)", ""},
    {"groups_keep_130", R"("score": "sigmoid", "groups": {"count": 140, "keep": 130, "score": "max"}, "top_k": 100)",
     R"("count": 280, "intermediate": 5)", ""},
    {"shared_clamp_alpha_offset", R"("top_k": 2)", R"("count": 4, "intermediate": 21)",
     R"(, "shared": {"intermediate": 21, "act_alpha": 1.702, "up_offset": 1, "clamp": {"limit": 0.5}})"},
    {"shared_clamp_behind", R"("top_k": 2)", R"("count": 4, "intermediate": 21, "clamp": {"limit": 0.5})",
     R"(, "shared": {"intermediate": 21, "count": 2, "clamp": {"limit": 0.25, "at": "post_act"}, "gate": "sigmoid"})"},
    {"soft_caps", R"("top_k": 2)",
     R"("count": 4, "intermediate": 21, "softcap": {"gate": 0.5, "up": 0.75}, "bias": {"in": true})",
     R"(, "shared": {"intermediate": 21, "softcap": {"gate": 0.5, "up": 0.75}})"},
    {"soft_caps_clamp_alpha", R"("top_k": 2)",
     R"("count": 4, "intermediate": 21, "softcap": {"gate": 0.5}, "act_alpha": 1.702, "clamp": {"limit": 0.75})", ""},
    {"latent_norms", R"("top_k": 3)",
     R"("count": 6, "intermediate": 21, "latent": {"dim": 19, "norm_in": {"kind": "rms", "unit_offset": true},
        "norm_out": "rms"}, "norm_out": {"kind": "rms", "weight_at": "before", "per_expert": false})",
     R"(, "shared": {"intermediate": 21})"},
    {"latent_norms_of_slots", R"("kind": "soft", "slots": 2)",
     R"("count": 4, "intermediate": 21, "latent": {"dim": 19, "bias": true, "norm_in": "layernorm", "norm_out": "rms"},
        "norm_out": {"kind": "rms", "per_expert": false})",
     ""},
    {"widths_norms", R"("top_k": 2)",
     R"("count": 4, "intermediate": [33, 64, 5, 64], "latent": {"dim": 19, "bias": true, "norm_out": "layernorm"},
        "norm_out": {"kind": "rms", "unit_offset": true, "weight_at": "before"})",
     ""},
    {"norm_of_output", R"("top_k": 2)", R"("count": 4, "intermediate": 21, "zero": {"count": 2})",
     R"(, "shared": {"intermediate": 19}, "combine": {"bias": true, "norm_out": {"kind": "rms", "eps": 1e-6}})"},
    {"norm_of_output_in_a_wrap", R"("top_k": 2)", R"("count": 4, "intermediate": 21)",
     R"(, "combine": {"norm_out": "layernorm"}, "layer": {"wrap": "depth", "tokens": 20, "residual": true})"},
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

void checkKind(const Kind &kind, const std::string &dtype, const CpuTarget &target) {
  SCOPED_TRACE(std::string(kind.label) + " " + dtype);
  auto layer = CompiledLayer::make(jsonOf(kind, dtype), target);
  ASSERT_TRUE(layer);
  std::vector<float> x = layer->randomX(45);
  RouterKind router = layer->spec.router.kind;
  bool choices = router != RouterKind::Soft && router != RouterKind::ExpertChoice;
  CallResult result = layer->run(x, {2, Edge::Back, Workspace::Ones, choices});
  EXPECT_EQ(disagreement(layer->spec, result, layer->oracle(x)), "");
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

// A layer of a package, the tensors of its roles, and a buffer for packed weights.
struct WidthsLayer {
  std::unique_ptr<CompiledLayer> parameters;
  std::unique_ptr<LoadedPackage> loaded;
  moec_layer *layer = nullptr;
  std::vector<std::string> names;
  std::vector<moec_tensor> tensors;
  size_t bytes = 0;

  explicit WidthsLayer(const std::string &json) : parameters(CompiledLayer::make(json, cpuTargets().front())) {
    auto package = LoadedPackage::load(*parameters->package);
    EXPECT_TRUE(package) << package.error().message;
    loaded = std::move(*package);
    EXPECT_EQ(moec_layer_create(loaded->get(), nullptr, &layer), MOEC_OK);
    EXPECT_EQ(moec_layer_weights_bytes(layer, &bytes), MOEC_OK);
    moec_layer_info info = {};
    info.struct_size = sizeof info;
    moec_layer_get_info(layer, &info);
    for (int32_t i = 0; i < info.num_roles; ++i) {
      const char *name = nullptr;
      moec_tensor tensor = {};
      moec_layer_role(layer, i, &name, &tensor.rank, tensor.dims);
      tensor.role = name;
      tensor.data = parameters->tensor(name).data();
      tensors.push_back(tensor);
    }
  }
  ~WidthsLayer() { moec_layer_destroy(layer); }

  // The packed bytes, or the error's text.
  std::string pack() const {
    GuardedBuffer buffer(bytes, 4096, Edge::Back);
    buffer.fill(0x5a5a5a5au);
    moec_weights *weights = nullptr;
    moec_status status = moec_weights_pack(layer, tensors.data(), tensors.size(), buffer.data(), bytes, &weights);
    moec_weights_destroy(weights);
    return status == MOEC_OK ? std::string(static_cast<const char *>(buffer.data()), bytes) : lastErrorText(status);
  }
  std::string load(const std::string &path) const {
    GuardedBuffer buffer(bytes, 4096, Edge::Back);
    buffer.fill(0x5a5a5a5au);
    moec_weights *weights = nullptr;
    moec_status status = moec_weights_load(layer, path.c_str(), "", buffer.data(), bytes, &weights);
    moec_weights_destroy(weights);
    return status == MOEC_OK ? std::string(static_cast<const char *>(buffer.data()), bytes) : lastErrorText(status);
  }
};

const char *const storedWidths = R"({"moec": 1, "name": "kind", "hidden": 8, "router": {"top_k": 2},
  "experts": {"count": 3, "intermediate": [5, 70, 33], "bias": {"in": true}},
  "weights": {"experts.gate": {"tensor": "e{e}.gate"}, "experts.up": {"tensor": "e{e}.up", "stack": "per_expert"},
              "experts.down": {"tensor": "e{e}.down", "axes": "in_out"}}})";

// One tensor of a file, f32: `values` [rows, cols], or turned over.
void addTensor(std::string &header, std::string &data, const std::string &name, std::vector<int64_t> shape,
               const std::vector<float> &values, bool turned) {
  size_t begin = data.size();
  for (size_t i = 0; i < values.size(); ++i) {
    size_t rows = size_t(shape[0]), cols = values.size() / rows, at = turned ? i % rows * cols + i / rows : i;
    data.append(reinterpret_cast<const char *>(&values[at]), 4);
  }
  if (turned)
    std::swap(shape[0], shape[1]);
  header += (header.empty() ? "{" : ",") + ("\"" + name + "\":{\"dtype\":\"F32\",\"shape\":[");
  for (size_t i = 0; i < shape.size(); ++i)
    header += (i ? "," : "") + std::to_string(shape[i]);
  header += "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(data.size()) + "]}";
}

TEST(ExpertWidths, weights_load_from_a_file_of_one_tensor_per_expert) {
  WidthsLayer widths(storedWidths);
  std::string header, data, path = testing::TempDir() + "moec_widths_" + std::to_string(getpid());
  for (const moec_tensor &tensor : widths.tensors) {
    std::string role = tensor.role, name = role;
    for (const char *part : {"gate", "up", "down"})
      for (int e = 0; e < 3; ++e)
        if (role == std::string("experts.") + part + "." + std::to_string(e))
          name = "e" + std::to_string(e) + "." + part;
    addTensor(header, data, name, {tensor.dims, tensor.dims + tensor.rank}, widths.parameters->tensor(role),
              role.rfind("experts.down.", 0) == 0);
  }
  std::string text = header + "}", length(8, '\0');
  for (size_t i = 0; i < 8; ++i)
    length[i] = char(text.size() >> (8 * i));
  std::ofstream(path, std::ios::binary) << length << text << data;
  std::string packed = widths.pack();
  EXPECT_EQ(packed.size(), widths.bytes) << packed;
  EXPECT_TRUE(widths.load(path) == packed);
  unlink(path.c_str());
}

TEST(ExpertWidths, weights_of_another_shape_or_missing_are_named) {
  WidthsLayer widths(storedWidths);
  for (moec_tensor &tensor : widths.tensors)
    if (tensor.role == std::string("experts.up.1")) {
      tensor.dims[0] = 5;
      EXPECT_EQ(widths.pack(), "MOEC_SHAPE: experts.up.1: shape is [5, 8], expected [70, 8]");
      tensor.dims[0] = 70;
    }
  widths.tensors.pop_back();
  EXPECT_EQ(widths.pack(), "MOEC_MISSING_WEIGHT: no tensor for role experts.down.1");
}

} // namespace
} // namespace moec
