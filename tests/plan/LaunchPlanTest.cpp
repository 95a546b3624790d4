// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The blob of a plan, its slots and its text.

#include "tests/build/BuiltLayer.h"

#include "codegen/plan/RouteFront.h"

#include <gtest/gtest.h>

#include <cstring>

using namespace moec;

namespace {

const char *const tinyText = R"({"moec": 1, "name": "tiny", "hidden": 8,
  "router": {"score": "softmax", "top_k": 2, "normalize": {"kind": "sum"}},
  "experts": {"count": 4, "intermediate": 6, "form": "glu", "act": "silu"}})";

struct PlannedTiny : testing::Test {
  BuiltLayer built;
  void SetUp() override { ASSERT_TRUE(built.read(tinyText) && built.build() && built.fuse() && built.makePlan()); }
  const moec_step &step(llvm::StringRef name) {
    for (const moec_step &candidate : built.plan.steps)
      if (built.plan.string(candidate.name) == name)
        return candidate;
    ADD_FAILURE() << "no step " << name.str();
    return built.plan.steps.front();
  }
  std::vector<std::string> args(llvm::StringRef name) {
    std::vector<std::string> names;
    const moec_step &found = step(name);
    for (unsigned i = 0; i < found.num_args; ++i)
      names.push_back(built.plan.string(built.plan.buffers[built.plan.args[found.first_arg + i]].name).str());
    return names;
  }
};

using Names = std::vector<std::string>;

TEST_F(PlannedTiny, plan_steps_in_order) {
  Names names;
  for (const moec_step &candidate : built.plan.steps)
    if (!candidate.asked || built.plan.string(candidate.name) == "counts")
      names.push_back(built.plan.string(candidate.name).str());
  EXPECT_EQ(names, (Names{"router", "route", "dispatch", "counts", "experts_gate_up", "experts_down", "combine"}));
  EXPECT_EQ(step("counts").asked, 1u << MOEC_ROLE_COUNTS);
  EXPECT_EQ(&built.plan.steps[step("experts_down").route], &step("dispatch"));
  EXPECT_EQ(step("combine").route, MOEC_NO_ROUTE);
  EXPECT_EQ(step("experts_gate_up").flops_per_row, 2 * 6 * 8 * 2);
}

// What only reports need waits for them, and nothing that every call runs writes for them.
TEST_F(PlannedTiny, plan_reports_are_made_when_asked) {
  LaunchPlan &plan = built.plan;
  std::vector<uint32_t> madeFor(plan.buffers.size(), ~0u); // roles in whose calls a buffer is there
  unsigned reports = 0;
  for (const moec_step &made : plan.steps)
    for (unsigned a = 0; a < made.num_args; ++a) {
      uint16_t buffer = plan.args[made.first_arg + a];
      uint32_t asked = made.asked ? made.asked : ~0u;
      if (madeFor[buffer] == ~0u && plan.buffers[buffer].kind == MOEC_BUFFER_WORKSPACE)
        madeFor[buffer] = asked; // its first user makes it
      EXPECT_EQ(asked & ~madeFor[buffer], 0u)
          << plan.string(made.name).str() << " reads " << plan.string(plan.buffers[buffer].name).str();
      bool report = plan.buffers[buffer].role >= MOEC_ROLE_PROBABILITIES;
      reports += report;
      if (report) {
        EXPECT_TRUE(made.asked >> plan.buffers[buffer].role & 1) << plan.string(made.name).str();
      }
    }
  EXPECT_EQ(reports, 6u); // all but losses, of which the spec has none
}

TEST_F(PlannedTiny, plan_argument_order) {
  EXPECT_EQ(args("router"), (Names{"x", "router.weight", "logits"}));
  EXPECT_EQ(args("route"), (Names{"logits", "ids", "weights"}));
  EXPECT_EQ(args("experts_gate_up"), (Names{"x", "experts.gate+experts.up", "experts_gate_up", "dispatch.row_token"}));
  EXPECT_EQ(args("experts_down"), (Names{"experts_gate_up", "experts.down", "experts_down"}));
  EXPECT_EQ(args("combine"), (Names{"experts_down", "dispatch.slot_row", "weights", "y"}));
}

TEST_F(PlannedTiny, plan_slots_of_meeting_lifetimes_differ) {
  LaunchPlan &plan = built.plan;
  std::vector<std::pair<size_t, size_t>> lives(plan.buffers.size(), {plan.steps.size(), 0});
  for (size_t s = 0; s < plan.steps.size(); ++s)
    for (unsigned a = 0; a < plan.steps[s].num_args; ++a) {
      auto &life = lives[plan.args[plan.steps[s].first_arg + a]];
      life = {std::min(life.first, s), std::max(life.second, s)};
    }
  auto slotted = [&](size_t i) {
    return plan.buffers[i].kind == MOEC_BUFFER_WORKSPACE || plan.buffers[i].kind == MOEC_BUFFER_OPT_OUTPUT;
  };
  unsigned shared = 0;
  for (size_t i = 0; i < plan.buffers.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (slotted(i) && slotted(j) && plan.buffers[i].slot == plan.buffers[j].slot) {
        ++shared;
        EXPECT_TRUE(lives[i].second < lives[j].first || lives[j].second < lives[i].first) << i << " and " << j;
      }
  EXPECT_GT(shared, 0u) << "no slot is shared, the test shows nothing";
}

TEST_F(PlannedTiny, plan_serialize_spans_hold_the_arrays) {
  LaunchPlan &plan = built.plan;
  std::vector<char> blob = plan.serialize();
  moec_plan_header header;
  std::memcpy(&header, blob.data(), sizeof(header));
  EXPECT_EQ(header.magic, MOEC_ABI_MAGIC);
  EXPECT_EQ(header.total_bytes, blob.size());
  EXPECT_EQ(header.steps.count, plan.steps.size());
  EXPECT_EQ(header.steps.offset % 8, 0u);
  EXPECT_EQ(std::memcmp(blob.data() + header.steps.offset, plan.steps.data(), plan.steps.size() * sizeof(moec_step)),
            0);
  EXPECT_EQ(
      std::memcmp(blob.data() + header.buffers.offset, plan.buffers.data(), plan.buffers.size() * sizeof(moec_buffer)),
      0);
  EXPECT_EQ(
      std::memcmp(blob.data() + header.weights.offset, plan.weights.data(), plan.weights.size() * sizeof(moec_weight)),
      0);
  EXPECT_STREQ(blob.data() + header.strings.offset + header.name, "tiny");
  EXPECT_EQ(blob.back(), '\0');
  EXPECT_EQ(blob, plan.serialize());
}

TEST_F(PlannedTiny, plan_finish_schedule_bounds_items) {
  LaunchPlan &plan = built.plan;
  for (moec_step &candidate : plan.steps)
    if (candidate.kind == MOEC_STEP_ROWS || candidate.kind == MOEC_STEP_MATMUL || candidate.kind == MOEC_STEP_COLUMNS) {
      candidate.isa[MOEC_ISA_AVX512] = {0, 1, 0, 16, 1};
      candidate.isa[MOEC_ISA_BASELINE] = {0, 1, 0, 1, 1};
    }
  finishSchedule(plan);
  EXPECT_EQ(plan.header.isa_mask, (1u << MOEC_ISA_AVX512) | (1u << MOEC_ISA_BASELINE));
  EXPECT_EQ(plan.header.items.per_token, 2); // blocks of one row: K = 2 rows per token
  EXPECT_EQ(plan.header.items.fixed, 4);     // one shorter block per expert
}

TEST(LaunchPlan, plan_strings_are_shared) {
  LaunchPlan plan;
  uint32_t a = plan.addString("alpha"), b = plan.addString("beta");
  EXPECT_EQ(plan.addString("alpha"), a);
  EXPECT_EQ(plan.addString(""), 0u);
  EXPECT_EQ(plan.string(b), "beta");
  EXPECT_EQ(plan.string(1000), "");
}

TEST(LaunchPlan, plan_weight_layout_pads_to_panels) {
  moec_weight weight = {};
  weight.layout = MOEC_LAYOUT_PANELS;
  weight.dtype = 1; // bf16
  weight.parts = 2;
  weight.groups = 3;
  weight.n = 17;
  weight.k = 33;
  finishWeightLayout(weight);
  EXPECT_EQ(weight.panels, 2u);
  EXPECT_EQ(weight.n_padded, 32u);
  EXPECT_EQ(weight.k_padded, 64u);
  EXPECT_EQ(weight.bytes, 3u * 2 * 64 * 32 * 2);
}

TEST_F(PlannedTiny, front_goes_from_the_router_to_the_dispatch) {
  std::vector<RouteFront> fronts = routeFronts(built.plan);
  ASSERT_EQ(fronts.size(), 1u);
  auto name = [&](size_t index) { return built.plan.string(built.plan.steps[index].name); };
  EXPECT_EQ(name(fronts[0].rows), "route");
  EXPECT_EQ(name(fronts[0].dispatch), "dispatch");
  ASSERT_TRUE(fronts[0].router);
  EXPECT_EQ(name(*fronts[0].router), "router");
  built.plan.steps[*fronts[0].router].asked = 1; // its shares are not always there
  EXPECT_FALSE(routeFronts(built.plan)[0].router);
}

// A plan of steps without ops; `route` is the dispatch of a matmul, -1: none.
LaunchPlan planOf(const std::vector<std::pair<int, int>> &kindAndRoute) {
  LaunchPlan plan;
  for (auto [kind, route] : kindAndRoute) {
    moec_step step = {};
    step.kind = uint16_t(kind);
    step.route = route < 0 ? uint16_t(MOEC_NO_ROUTE) : uint16_t(route);
    plan.steps.push_back(step);
    plan.stageOf.push_back(nullptr);
  }
  return plan;
}

TEST(EarlyWeights, a_launch_of_every_call_stands_between) {
  const int rows = MOEC_STEP_ROWS, sort = MOEC_STEP_DISPATCH, matmul = MOEC_STEP_MATMUL;
  LaunchPlan plan = planOf({{matmul, -1}, {rows, -1}, {sort, -1}, {matmul, 2}, {matmul, 2}, {matmul, -1}});
  EXPECT_FALSE(weightsKnownEarly(plan, 0)); // the caller's kernels are directly before
  EXPECT_FALSE(weightsKnownEarly(plan, 3)); // the dispatch is
  EXPECT_TRUE(weightsKnownEarly(plan, 4));
  EXPECT_TRUE(weightsKnownEarly(plan, 5));
  plan.steps[3].asked = 1; // not launched in every call
  EXPECT_FALSE(weightsKnownEarly(plan, 4));
  // a front may do the second dispatch in the place of its rows: the last launch before the matmul is that front then
  plan = planOf({{rows, -1}, {rows, -1}, {sort, -1}, {sort, -1}, {matmul, 2}, {matmul, 3}});
  EXPECT_FALSE(weightsKnownEarly(plan, 4));
  EXPECT_TRUE(weightsKnownEarly(plan, 5));
}

} // namespace
