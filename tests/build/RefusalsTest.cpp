// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What is valid but not built is refused at its key, and what acts in training only is not.

#include "tests/build/BuiltLayer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

using namespace moec;

namespace {

struct RefusedField {
  const char *label;
  std::function<void(LayerSpec &)> change;
  const char *path, *message, *hint;
};

const RefusedField refusedFields[] = {
    {"activation_type", [](LayerSpec &s) { s.dtype.activation = DataType::FP8E4M3; }, "dtype.activation",
     "dtype.activation fp8_e4m3 is not built; f32, bf16 and f16 are", "use bf16"},
    {"router_type", [](LayerSpec &s) { s.dtype.router = DataType::FP8E5M2; }, "dtype.router",
     "dtype.router fp8_e5m2 is not built; f32, bf16 and f16 are", "use bf16"},
    {"weight_type", [](LayerSpec &s) { s.dtype.weight = DataType::FP8E4M3; }, "dtype.weight",
     "dtype.weight fp8_e4m3 is not built; f32, bf16 and f16 are", "use bf16"},
    {"accumulate_type", [](LayerSpec &s) { s.dtype.accumulate = DataType::BF16; }, "dtype.accumulate",
     "dtype.accumulate bf16 is not built; sums are f32", "leave it out"},
    {"depth", [](LayerSpec &s) { s.router.kind = RouterKind::Depth; }, "router.kind",
     "router.kind depth is not built; layer.wrap depth is", "use layer.wrap depth around the experts"},
    {"table", [](LayerSpec &s) { s.router.kind = RouterKind::Table; }, "router.vocab",
     "router.kind table needs router.vocab, the number of rows of router.table", "add \"vocab\" to router"},
    {"many_groups_kept",
     [](LayerSpec &s) {
       s.experts.count = 300;
       s.router.groups.emplace();
       s.router.groups->count = 300;
       s.router.groups->keep = 257;
     },
     "router.groups.keep", "router.groups.keep (257) is larger than 256, the largest built", "keep fewer groups"},
    {"many_choices_of_a_level",
     [](LayerSpec &s) {
       s.router.kind = RouterKind::Hierarchical;
       s.experts.count = 300;
       s.router.levels.resize(2);
       s.router.levels[0].count = 1;
       s.router.levels[1].count = 300;
       s.router.levels[1].select.k = 257;
     },
     "router.levels[1].select.k", "k (257) of a level is larger than 256, the largest built", "choose a smaller k"},
    {"many_shared_blocks",
     [](LayerSpec &s) {
       s.shared.emplace();
       s.shared->count = 257;
     },
     "shared.count", "shared.count (257) is larger than 256, the largest built", "use one wide block, count 1"},
    {"many_experts", [](LayerSpec &s) { s.experts.count = 4097; }, "experts.count",
     "4097 experts are more than the 4096 that are built", "choose fewer experts"},
    {"many_zero_experts",
     [](LayerSpec &s) {
       s.experts.count = 4096;
       s.experts.zero = ZeroExperts{1025, ZeroKind::Zero};
     },
     "experts.zero.count", "the router has 5121 rows, at most 5120 are built", "choose fewer zero experts"},
    {"many_slots",
     [](LayerSpec &s) {
       s.router.kind = RouterKind::Soft;
       s.router.slots = 4096;
       s.experts.count = 4096;
     },
     "router.slots", "4096 experts of 4096 slots are 16777216 slots, at most 1048576 are built",
     "choose fewer slots or experts"},
    {"many_shared_rows",
     [](LayerSpec &s) {
       s.experts.count = 4096;
       s.experts.zero = ZeroExperts{1024, ZeroKind::Zero};
       s.shared = SharedSpec();
       s.shared->intermediate = 8;
       s.shared->gate = SharedGate::Router;
     },
     "shared.count", "the router has 5121 rows with those of shared experts, at most 5120 are built",
     "choose fewer shared experts"},
    {"many_constant_experts",
     [](LayerSpec &s) {
       s.experts.zero = ZeroExperts{1000, ZeroKind::Constant};
       s.router.select.k = 9;
     },
     "experts.zero.count", "constant experts times k (9000) are more than the 8192 that are built",
     "choose fewer zero experts, or a smaller k"},
    {"widths",
     [](LayerSpec &s) {
       // 65 matrices of an expert leave room for one class
       s.experts.count = 24;
       s.experts.layers = 64;
       s.experts.form = ExpertForm::Mlp;
       s.experts.intermediate.clear();
       for (int64_t e = 0; e < 24; ++e)
         s.experts.intermediate.push_back(int64_t(32) * (e < 20 ? 1 : 20));
     },
     "experts.intermediate",
     "experts of these widths would compute 380 % of columns that are zero; classes of one width each: 1",
     "use fewer different widths"},
    {"quant", [](LayerSpec &s) { s.experts.quant.kind = QuantKind::Int8; }, "experts.quant.kind",
     "quantised experts are not built", "use quant.kind none and dtype.weight bf16"},
    {"mask_of_many",
     [](LayerSpec &s) {
       s.experts.outputDropout.p = 0.1;
       s.passes.backwardInput = true;
       s.hidden = 1 << 20;
     },
     "experts.output_dropout.p", "the mask of this dropout has 2097152 values per token, at most 1048576 are built",
     "leave it out, or choose fewer experts per token"},
};

class RefusedSpec : public testing::TestWithParam<RefusedField> {};

TEST_P(RefusedSpec, refusal_names_key) {
  LayerSpec spec = plainSpec();
  ASSERT_TRUE(refusalsOf(spec).empty());
  GetParam().change(spec);
  std::vector<Diagnostic> refusals = refusalsOf(spec);
  ASSERT_EQ(refusals.size(), 1u);
  EXPECT_EQ(refusals[0].code, "E-UNSUPPORTED");
  EXPECT_EQ(refusals[0].path, GetParam().path);
  EXPECT_EQ(refusals[0].message, GetParam().message);
  EXPECT_EQ(refusals[0].hint, GetParam().hint);
}

INSTANTIATE_TEST_SUITE_P(All, RefusedSpec, testing::ValuesIn(refusedFields),
                         [](const auto &info) { return std::string(info.param.label); });

TEST(Refusals, refusal_not_for_training_only_keys) {
  LayerSpec spec = plainSpec();
  spec.router.input.jitter = 0.1;
  spec.router.noise.kind = NoiseKind::Normal;
  spec.router.randomReplace = 0.5;
  spec.experts.hiddenDropout.p = 0.1;
  spec.router.expertDropout.p = 0.1;
  spec.losses.push_back({"load_balance", 0.01, {}});
  spec.update = UpdateSpec{"bias_sign", 0.001};
  EXPECT_TRUE(refusalsOf(spec).empty());
  spec.passes.backward = true;
  EXPECT_TRUE(refusalsOf(spec).empty());
}

// Masks of slots have a row each, however many they are.
TEST(Refusals, dropout_of_slots_trains) {
  LayerSpec spec = plainSpec();
  spec.router.kind = RouterKind::Soft;
  spec.router.slots = 4096;
  spec.experts.hiddenDropout.p = 0.1;
  spec.experts.outputDropout.p = 0.1;
  spec.passes.backward = true;
  for (SelectScope scope : {SelectScope::Batch, SelectScope::Sequence}) {
    spec.router.scope = scope;
    EXPECT_TRUE(refusalsOf(spec).empty());
  }
}

// A temporary overlay folder with one function file.
struct Overlay {
  std::filesystem::path dir = std::filesystem::temp_directory_path() / ("moec-overlay-" + std::to_string(getpid()));
  explicit Overlay(const std::string &text) {
    std::filesystem::create_directories(dir / "functions");
    std::ofstream(dir / "functions" / "wave.mlir") << text;
  }
  ~Overlay() { std::filesystem::remove_all(dir); }
  std::string place(const std::string &rest) const { return (dir / "functions" / "wave.mlir").string() + rest; }
};

const char *const allowedText = "allowed are at most 256 of arith.{constant,addf,subf,mulf,divf,negf,maximumf,minimumf,"
                                "cmpf,select}, math.{exp,expm1,log,log1p,tanh,erf,sqrt,absf} on f32";

Diagnostic refusalOfFunction(const Overlay &overlay) {
  BuiltLayer built;
  built.spec = plainSpec();
  built.spec->experts.act = Activation::Custom;
  built.spec->experts.actName = "wave";
  EXPECT_FALSE(built.build(overlay.dir.string()));
  return built.refusals.size() == 1 ? built.refusals[0] : Diagnostic();
}

TEST(FunctionLibrary, function_overlay_is_used) {
  Overlay overlay("func.func @wave(%x: f32) -> f32 {\n  %y = math.tanh %x : f32\n  func.return %y : f32\n}\n");
  BuiltLayer built;
  built.spec = plainSpec();
  built.spec->experts.act = Activation::Custom;
  built.spec->experts.actName = "wave";
  ASSERT_TRUE(built.build(overlay.dir.string()));
  EXPECT_NE(built.text().find("math.tanh"), std::string::npos);
}

TEST(FunctionLibrary, function_e_template_op_not_allowed) {
  Overlay overlay("func.func @wave(%x: f32) -> f32 {\n  %y = math.sin %x : f32\n  func.return %y : f32\n}\n");
  Diagnostic refusal = refusalOfFunction(overlay);
  EXPECT_EQ(refusal.code, "E-TEMPLATE");
  EXPECT_EQ(refusal.path, "experts.act");
  EXPECT_EQ(refusal.placedMessage(), overlay.place(":2:8: found math.sin, ") + allowedText);
}

TEST(FunctionLibrary, function_e_template_not_mlir) {
  Overlay overlay("func.func @wave(%x: f32) -> f32 {\n  %y = math.tanh %z : f32\n  func.return %y : f32\n}\n");
  EXPECT_EQ(refusalOfFunction(overlay).placedMessage(), overlay.place(":2:18: use of undeclared SSA value name"));
}

TEST(FunctionLibrary, function_e_template_wrong_signature) {
  Overlay overlay("func.func @wave(%x: f64) -> f64 {\n  func.return %x : f64\n}\n");
  EXPECT_EQ(refusalOfFunction(overlay).placedMessage(),
            overlay.place(":1:1: expected func.func @wave(%x: f32) -> f32 { ... }"));
}

TEST(FunctionLibrary, function_e_template_declaration_only) {
  Overlay overlay("func.func private @wave(%x: f32) -> f32\n");
  EXPECT_EQ(refusalOfFunction(overlay).placedMessage(),
            overlay.place(":1:1: expected func.func @wave(%x: f32) -> f32 { ... }"));
}

TEST(FunctionLibrary, function_e_template_unknown_name) {
  mlir::MLIRContext context;
  loadMoeDialects(context);
  FunctionLibrary library(context, "");
  Result<> loaded = library.load("../kernels/panel");
  ASSERT_FALSE(loaded);
  std::string error = loaded.error().message;
  EXPECT_EQ(error.rfind("function '../kernels/panel' not found; available: ", 0), 0u) << error;
}

} // namespace
