// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which stages get which mark, and which do not.

#include "tests/build/BuiltLayer.h"

#include "codegen/fuse/JoinStages.h"
#include "codegen/fuse/NumericModes.h"
#include "codegen/moe/LayerChecks.h"
#include "codegen/moe/ReportUse.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

// `shared`: "" or ', "shared": {...}'.
std::string layerText(const std::string &shared, const std::string &more = "") {
  return R"({"moec": 1, "name": "layer", "hidden": 8, "dtype": "f32",
    "router": {"score": "softmax", "top_k": 2, "normalize": {"kind": "sum"}},
    "experts": {"count": 4, "intermediate": 6, "form": "glu", "act": "silu")" +
         more + "}" + shared + "}";
}

const char *const sameShared = R"(, "shared": {"intermediate": 6, "form": "glu", "act": "silu"})";
const char *const widerShared = R"(, "shared": {"intermediate": 12, "form": "glu", "act": "silu"})";

// Stages of every call in order, those with the attribute with a star.
std::string marked(BuiltLayer &built, llvm::StringRef attribute) {
  std::string text;
  ReportUse reports(built.layer);
  for (mlir::Operation &op : built.layer.getBody().front())
    if (auto name = op.getAttrOfType<mlir::StringAttr>("moe.stage"); name && !reports.askedBy(&op))
      text += (text.empty() ? "" : " ") + name.getValue().str() + (op.hasAttr(attribute) ? "*" : "");
  return text;
}

} // namespace

TEST(NumericModes, tf32_leaves_what_decides) {
  BuiltLayer built;
  ASSERT_TRUE(built.read(layerText(sameShared)) && built.build() && built.fuse());
  markTf32(built.layer, built.notes);
  EXPECT_EQ(marked(built, moe::tf32Attr),
            "router shared_gate_up* shared_down* route dispatch experts_gate_up* experts_down* combine");
  EXPECT_EQ(built.notes[built.notes.size() - 5].text, "router.weight: exact f32, choices follow from it");
}

TEST(NumericModes, tf32_leaves_bf16) {
  BuiltLayer built;
  std::string text = layerText("");
  text.replace(text.find("f32"), 3, "bf16");
  ASSERT_TRUE(built.read(text) && built.build() && built.fuse());
  markTf32(built.layer, built.notes);
  EXPECT_EQ(marked(built, moe::tf32Attr).find('*'), std::string::npos);
}

// Rows that a report reads as well are kept, and added in order.
TEST(NumericModes, unordered_leaves_rows_that_a_report_reads) {
  BuiltLayer built;
  ASSERT_TRUE(built.read(layerText("")) && built.build() && built.fuse());
  markUnordered(built.layer, built.notes);
  EXPECT_EQ(marked(built, moe::unorderedAttr).find('*'), std::string::npos);
}

TEST(NumericModes, unordered_marks_down_and_combine) {
  BuiltLayer built;
  ASSERT_TRUE(built.read(layerText("")) && built.build());
  dropDiversity(findLayer(*built.module));
  ASSERT_TRUE(built.fuse());
  ASSERT_TRUE(built.makePlan());
  EXPECT_EQ(built.plan.header.determinism, 1u);
  markUnordered(built.layer, built.notes);
  EXPECT_EQ(marked(built, moe::unorderedAttr), "router route dispatch experts_gate_up experts_down* combine*");
  built.plan = {};
  ASSERT_TRUE(built.makePlan());
  EXPECT_EQ(built.plan.header.determinism, 0u);
}

// Weights that capacity zeroes are made behind the matmul as built, and must be there before it.
TEST(NumericModes, unordered_moves_the_weights_up) {
  BuiltLayer built;
  std::string capacity = R"(, "capacity": {"mode": "fixed", "value": 2, "scope": "sequence", "order": "token",
    "overflow": "drop", "dropped": "zero"})";
  ASSERT_TRUE(built.read(layerText(capacity)) && built.build());
  dropDiversity(findLayer(*built.module));
  ASSERT_TRUE(built.fuse());
  std::string before = marked(built, "");
  markUnordered(built.layer, built.notes);
  std::string after = marked(built, moe::unorderedAttr);
  EXPECT_NE(after.find("experts_down* combine*"), std::string::npos) << before << " -> " << after;
}

TEST(JoinStages, equal_shapes_stand_side_by_side) {
  BuiltLayer built;
  ASSERT_TRUE(built.read(layerText(sameShared)) && built.build() && built.fuse());
  joinStages(built.layer, built.notes);
  ASSERT_TRUE(succeeded(mlir::verify(*built.module)));
  EXPECT_EQ(marked(built, moe::joinedAttr),
            "router route dispatch shared_gate_up* experts_gate_up shared_down* experts_down combine");
  EXPECT_EQ(built.notes.back().text,
            "shared.gate and shared.up in the launch of experts.gate and experts.up up to 16 tokens on CUDA");
}

// Both steps of a pair may run first: nothing that one writes may stand where the other reads or writes.
TEST(JoinStages, buffers_of_a_pair_have_slots_of_their_own) {
  BuiltLayer built;
  ASSERT_TRUE(built.read(layerText(sameShared)) && built.build() && built.fuse());
  joinStages(built.layer, built.notes);
  ASSERT_TRUE(built.makePlan());
  const LaunchPlan &plan = built.plan;
  for (size_t step = 0; step + 1 < plan.steps.size(); ++step) {
    if (!plan.stageOf[step] || !plan.stageOf[step]->hasAttr(moe::joinedAttr))
      continue;
    std::set<uint32_t> slots;
    size_t count = 0;
    for (size_t s : {step, step + 1})
      for (unsigned i : {0u, 2u})
        if (const moec_buffer &buffer = plan.buffers[plan.args[plan.steps[s].first_arg + i]];
            buffer.kind == MOEC_BUFFER_WORKSPACE) {
          slots.insert(buffer.slot);
          ++count;
        }
    EXPECT_EQ(slots.size(), count) << "step " << step;
  }
}

// A limit is part of the epilogue: two blocks share a kernel only where both have the same.
TEST(JoinStages, branches_must_be_bounded_alike) {
  const std::string limit = R"(, "clamp": {"limit": 2}, "softcap": {"up": 3})",
                    lower = R"(, "clamp": {"limit": 1}, "softcap": {"up": 3})";
  auto joined = [](const std::string &routed, const std::string &shared) {
    BuiltLayer built;
    EXPECT_TRUE(built.read(layerText(R"(, "shared": {"intermediate": 6)" + shared + "}", routed)) && built.build() &&
                built.fuse());
    joinStages(built.layer, built.notes);
    return marked(built, moe::joinedAttr);
  };
  EXPECT_NE(joined(limit, limit).find("shared_gate_up*"), std::string::npos);
  for (const auto &[routed, shared] : {std::pair(limit, lower), std::pair(limit, std::string())}) {
    std::string stages = joined(routed, shared);
    EXPECT_EQ(stages.find("shared_gate_up*"), std::string::npos) << stages;
    EXPECT_NE(stages.find("shared_down*"), std::string::npos) << stages;
  }
}

TEST(JoinStages, other_widths_stay_alone) {
  BuiltLayer built;
  ASSERT_TRUE(built.read(layerText(widerShared)) && built.build() && built.fuse());
  joinStages(built.layer, built.notes);
  EXPECT_EQ(marked(built, moe::joinedAttr).find('*'), std::string::npos);
  EXPECT_EQ(built.notes.back().text,
            "shared.down in launches of its own: no routed matmul that is free to run beside it has its "
            "depth, columns, types and epilogue");
}
