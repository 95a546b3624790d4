// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Forward and backward put together again give the gradients of the whole; what is saved, in bytes.

#include "tests/grad/GradientCase.h"

#include "codegen/build/RowOps.h"
#include "codegen/check/RandomSpec.h"
#include "codegen/gradcheck/JoinedPasses.h"
#include "dsl/Presets.h"

#include <gtest/gtest.h>

using namespace moec;
using namespace mlir;

namespace {

void expectSame(GradientCase &one, SavePolicy policy, bool fused) {
  ASSERT_TRUE(one.prepare(7, 2));
  ASSERT_TRUE(one.runInterpreter());
  auto whole = one.gradients();
  Partition parts = partition(one.both.built.layer, policy);
  ASSERT_TRUE(succeeded(verify(*one.both.built.module)));
  if (fused) {
    std::vector<FusionNote> notes;
    ASSERT_TRUE(succeeded(fuseStages(parts.forward, notes)) && succeeded(fuseStages(parts.backward, notes)));
    ASSERT_TRUE(succeeded(verify(*one.both.built.module)));
  }
  one.both.built.layer = joinPasses(parts);
  one.got = {};
  ASSERT_TRUE(one.runInterpreter());
  auto again = one.gradients();
  ASSERT_EQ(whole.size(), again.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(whole[i].first, again[i].first);
    for (size_t j = 0; j < whole[i].second->data.size(); ++j) {
      double want = whole[i].second->data[j], got = again[i].second->data[j];
      ASSERT_TRUE(want == got || (std::isnan(want) && std::isnan(got))) << whole[i].first << " " << j;
    }
  }
}

TEST(Partition, both_functions_together_give_the_same_gradients) {
  RandomSizes sizes;
  sizes.most = 16;
  sizes.experts = 8;
  int layers = 0;
  for (uint64_t seed = 1; seed <= 120; ++seed)
    for (SavePolicy policy : {SavePolicy::Matmuls, SavePolicy::Choices}) {
      SCOPED_TRACE("seed " + std::to_string(seed));
      GradientCase one;
      ASSERT_TRUE(one.both.built.read(randomSpecText(seed, sizes)));
      if (one.both.built.spec->experts.act == Activation::Custom || !one.both.built.buildGradient())
        continue;
      expectSame(one, policy, /*fused=*/false);
      ++layers;
    }
  EXPECT_GE(layers, 180);
}

TEST(Partition, fusion_changes_no_gradient) {
  RandomSizes sizes;
  sizes.most = 16;
  sizes.experts = 8;
  int layers = 0;
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    GradientCase one;
    ASSERT_TRUE(one.both.built.read(randomSpecText(seed, sizes)));
    if (one.both.built.spec->experts.act == Activation::Custom || !one.both.built.buildGradient())
      continue;
    expectSame(one, SavePolicy::Matmuls, /*fused=*/true);
    ++layers;
  }
  EXPECT_GE(layers, 120);
}

// dy of a bf16 layer reaches the matmuls as it comes.
TEST(Partition, dy_is_not_widened_for_a_matmul) {
  BuiltLayer built;
  ASSERT_TRUE(built.read(std::string(*presetText("mixtral-8x7b"))) && built.buildGradient());
  int wide = 0, narrow = 0;
  for (BlockArgument argument : built.layer.getArguments())
    if (built.layer.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "moe.role").getValue() == "grad.y")
      for (Operation *user : argument.getUsers())
        for (Operation *next : user->getUsers())
          (isa<moe::GatherOp>(user) ? narrow : wide) += isa<moe::GroupedMatmulOp>(next);
  EXPECT_EQ(narrow, 1);
  EXPECT_EQ(wide, 0);
}

// The weight of D's gradient multiplies h: dy is brought to the product as it comes, and no map reads it.
TEST(Partition, dy_is_not_weighted_for_an_outer_product) {
  BuiltLayer built;
  ASSERT_TRUE(built.read(std::string(*presetText("mixtral-8x7b"))) && built.buildGradient());
  int products = 0;
  built.layer.walk([&](moe::GroupedOuterOp op) {
    auto gather = op.getA().getDefiningOp<moe::GatherOp>();
    auto argument = gather ? dyn_cast<BlockArgument>(gather.getInput()) : BlockArgument();
    if (!argument || argument.getOwner()->getParentOp() != built.layer)
      return;
    ++products;
    EXPECT_TRUE(op.getB().getDefiningOp<moe::MapOp>());
    EXPECT_EQ(RowOps::columnsOf(op.getB()), 14336);
    EXPECT_TRUE(RowOps::typeOf(op.getB()).getElementType().isBF16());
  });
  EXPECT_EQ(products, 1); // that of experts.down
  built.layer.walk([&](moe::GatherOp op) {
    if (isa<BlockArgument>(op.getInput()) && RowOps::columnsOf(op.getResult()) == 4096)
      for (Operation *user : op->getUsers())
        EXPECT_FALSE(isa<moe::MapOp>(user));
  });
}

struct Kept {
  int64_t choices = 0, other = 0; // bytes per token
};

Kept kept(const char *preset, SavePolicy policy) {
  BuiltLayer built;
  EXPECT_TRUE(built.read(std::string(*presetText(preset))));
  EXPECT_TRUE(built.buildGradient());
  Kept out;
  for (const SavedValue &value : partition(built.layer, policy).saved)
    (value.type.getElementType().isInteger(32) ? out.choices : out.other) += value.bytesPerToken();
  return out;
}

// 2 parts of k·I in bf16, and 4 bytes per choice; x, 2·H bytes, stays with the caller.
TEST(Partition, pre_activations_and_ids_are_all_that_is_kept) {
  Kept qwen3 = kept("qwen3-30b-a3b", SavePolicy::Matmuls);
  EXPECT_EQ(qwen3.other, 2 * 2 * 8 * 768);
  EXPECT_EQ(qwen3.choices, 4 * 8);
  Kept mixtral = kept("mixtral-8x7b", SavePolicy::Matmuls);
  EXPECT_EQ(mixtral.other, 2 * 2 * 2 * 14336);
  EXPECT_EQ(mixtral.choices, 4 * 2);
  Kept gptOss = kept("gpt-oss-20b", SavePolicy::Matmuls); // whose experts have biases
  EXPECT_EQ(gptOss.other, 2 * 2 * 4 * 2880);
  EXPECT_EQ(gptOss.choices, 4 * 4);
  Kept least = kept("qwen3-30b-a3b", SavePolicy::Choices);
  EXPECT_EQ(least.other, 0);
  EXPECT_EQ(least.choices, 4 * 8);
}

std::vector<std::string> keptOf(const std::string &experts, const std::string &widths = "48") {
  BuiltLayer built;
  EXPECT_TRUE(built.read(R"({"moec": 1, "name": "kept", "dtype": "bf16", "hidden": 64, "router": {"top_k": 2},)"
                         R"("passes": ["forward", "backward"], "experts": {"count": 8, "intermediate": )" +
                         widths + experts + "}"))
      << experts;
  EXPECT_TRUE(built.buildGradient()) << experts;
  std::vector<std::string> names;
  for (const SavedValue &value : partition(built.layer, SavePolicy::Matmuls).saved)
    names.push_back(value.what);
  return names;
}

// What is linear in the last matmuls needs their results for no gradient. A norm does.
TEST(Partition, outputs_of_experts_are_kept_for_a_norm_only) {
  const std::vector<std::string> least = {"top_k", "experts.gate", "experts.up"};
  EXPECT_EQ(keptOf("}"), least);
  for (const char *experts :
       {R"(, "bias": {"in": false, "out": true}})", R"(, "bias": {"in": true, "out": true}, "output_scale": 2.5})",
        R"(, "output_scale": 0.5}, "combine": {"rows": "activation"})",
        R"(, "bias": {"in": false, "out": true}}, "combine": {"rows": "activation"})",
        R"(, "output_dropout": {"p": 0.5}, "bias": {"in": false, "out": true}})",
        R"(, "lora": {"rank": 2, "alpha": 4, "at": "parallel"}})"})
    EXPECT_EQ(keptOf(experts), least) << experts;
  std::vector<std::string> ofClasses =
      keptOf(R"(, "bias": {"in": false, "out": true}})", "[48, 48, 48, 48, 32, 32, 32, 32]");
  EXPECT_EQ(ofClasses.size(), 5u); // ids, gate and up of two classes
  EXPECT_EQ(keptOf(R"(, "norm_out": "rms"})").size(), 4u);
}

// The gradient of a weight by a bias reads dy as it comes, in bf16.
TEST(Partition, dy_is_not_widened_for_a_bias) {
  BuiltLayer built;
  ASSERT_TRUE(built.read(std::string(*presetText("gpt-oss-20b"))) && built.buildGradient());
  int reads = 0;
  for (BlockArgument argument : built.layer.getArguments())
    if (built.layer.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "moe.role").getValue() == "grad.y")
      for (Operation *user : argument.getUsers()) {
        EXPECT_TRUE(isa<moe::GatherOp>(user));
        for (Operation *next : user->getUsers())
          reads += isa<moe::MapOp>(next);
      }
  EXPECT_EQ(reads, 2); // weights, and the bias itself
}

// ids of a token follow from scores, which backward makes of other roundings.
TEST(Partition, no_choice_is_made_again) {
  for (const char *router :
       {R"({"select": {"kind": "top_p", "p": 0.6, "k_max": 3}})",
        R"({"select": {"kind": "threshold", "threshold": 0.1, "k_max": 3}})",
        R"({"select": {"kind": "second_policy", "k": 2, "second": "threshold", "threshold": 0.3}})",
        R"({"select": {"kind": "second_policy", "k": 2, "second": "random_2p"}})"})
    for (SavePolicy policy : {SavePolicy::Matmuls, SavePolicy::Choices}) {
      BuiltLayer built;
      ASSERT_TRUE(built.read(R"({"moec": 1, "name": "kept", "dtype": "bf16", "hidden": 64, "passes": ["forward", )"
                             R"("backward"], "experts": {"count": 8, "intermediate": 48}, "router": )" +
                             std::string(router) + "}"))
          << router;
      ASSERT_TRUE(built.buildGradient()) << router;
      partition(built.layer, policy).backward.walk([&](Operation *op) {
        auto some = [](TypeRange types, bool integers) {
          return llvm::any_of(types, [&](Type type) {
            return isa<RankedTensorType>(type) && getElementTypeOrSelf(type).isInteger() == integers;
          });
        };
        EXPECT_FALSE(some(op->getResultTypes(), true) && some(op->getOperandTypes(), false))
            << router << ": " << op->getName().getStringRef().str();
      });
    }
}

// Half of this layer's work are its logits.
TEST(Partition, logits_are_kept_in_f32) {
  BuiltLayer built;
  ASSERT_TRUE(built.read(R"({"moec": 1, "name": "kept", "dtype": "bf16", "hidden": 64, "router": {"top_k": 1}, )"
                         R"("passes": ["forward", "backward"], "experts": {"count": 32, "intermediate": 8}})"));
  ASSERT_TRUE(built.buildGradient());
  SavedValue logits = partition(built.layer, SavePolicy::Matmuls).saved.front();
  EXPECT_EQ(logits.what, "router.weight");
  EXPECT_TRUE(logits.type.getElementType().isF32());
}

} // namespace
