// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Memory of a stage: arguments in the order of the plan, cold turns, poison.

#include "codegen/search/StageMemory.h"
#include "tests/search/SearchFixture.h"

#include "codegen/plan/LaunchPlan.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/MLIRContext.h"

#include <cmath>
#include <cstring>
#include <set>

namespace moec {
namespace {

MatmulStage stageOf(moec_dtype type) {
  MatmulStage stage;
  stage.name = "up", stage.n = 96, stage.k = 64, stage.panels = 3;
  stage.in = stage.weight = stage.result = type;
  int64_t size = stage.inputBytes();
  stage.panelBytes = 64 * 32 * size, stage.aStride = 64 * size, stage.outStride = 96 * size;
  return stage;
}

// As many arguments as the plan's step has, for stages that gather, that do not, and with operands.
TEST(stage_memory, has_the_arguments_of_the_plan) {
  for (const std::string &text : {smallLayer("bf16"), smallLayer("f32"),
                                  std::string(R"({"moec": 1, "name": "small", "hidden": 64, "router": {"top_k": 2},
          "experts": {"count": 4, "intermediate": 96, "bias": {"in": true, "out": true}}})")}) {
    SearchFixture fixture(text);
    ASSERT_TRUE(fixture.compiler);
    const LaunchPlan &plan = fixture.compiler->plan();
    for (size_t step = 0; step < plan.steps.size(); ++step) {
      const MatmulStage &stage = fixture.compiler->stages()[step];
      if (stage.name.empty())
        continue;
      StageMemory memory(stage, 96, 1 << 20);
      ASSERT_TRUE(memory.ready());
      EXPECT_EQ(memory.numArgs(), size_t(plan.steps[step].num_args)) << stage.name;
      EXPECT_EQ(memory.numArgs(), 3 + stage.gathered + stage.prologueOperands.size() + stage.epilogueOperands.size());
      for (size_t a = 0; a < memory.numArgs(); ++a)
        EXPECT_NE(memory.args()[a], nullptr);
    }
  }
}

// a, b, out, row_token, prologue, epilogue.
TEST(stage_memory, orders_its_arguments) {
  mlir::MLIRContext context;
  mlir::Builder builder(&context);
  MatmulStage stage = stageOf(MOEC_BF16);
  stage.gathered = true;
  stage.prologueOperands.push_back({builder.getF16Type(), "elem", 128});
  stage.epilogueOperands.push_back({builder.getF32Type(), "col", 96 * 4});
  StageMemory memory(stage, 32, 1 << 16);
  ASSERT_TRUE(memory.ready());
  ASSERT_EQ(memory.numArgs(), 6u);
  auto *rowToken = static_cast<const int32_t *>(memory.args()[3]);
  std::set<int32_t> seen;
  for (int r = 0; r < 512; ++r) {
    EXPECT_GE(rowToken[r], 0);
    EXPECT_LT(rowToken[r], 512);
    seen.insert(rowToken[r]);
  }
  EXPECT_EQ(seen.size(), 512u);
  EXPECT_NE(rowToken[1], 1); // gathered rows are not in order
  auto number = [&](size_t arg, DataType type, int64_t i) { return loadElement(memory.args()[arg], type, i); };
  for (int64_t i = 0; i < 4096; ++i) {
    EXPECT_LT(std::abs(number(0, DataType::BF16, i)), 4);
    EXPECT_LT(std::abs(number(1, DataType::BF16, i)), 4);
    EXPECT_LT(std::abs(number(4, DataType::F16, i)), 4); // f16 as f16: no NaN, no 1e4
  }
  EXPECT_LT(std::abs(number(5, DataType::F32, 95)), 4);
  StageMemory::Turn turn;
  memory.prepare(turn, 4, 2);
  memory.poisonOutput(turn);
  EXPECT_TRUE(std::isnan(loadElement(memory.args()[2], DataType::BF16, 0)));
  EXPECT_FALSE(std::isnan(number(0, DataType::BF16, 0)));
}

// Equal panels would hide a kernel that reads another one.
TEST(stage_memory, has_no_two_equal_panels) {
  MatmulStage stage = stageOf(MOEC_BF16);
  stage.k = 2048, stage.panelBytes = 2048 * 32 * 2; // 65536 elements
  StageMemory memory(stage, 32, 4 << 20);
  ASSERT_TRUE(memory.ready());
  ASSERT_GE(memory.numGroups(), 8);
  std::set<std::string> panels;
  for (int64_t p = 0; p < memory.numGroups() * stage.panels; ++p)
    panels.emplace(static_cast<const char *>(memory.args()[1]) + p * stage.panelBytes, size_t(stage.panelBytes));
  EXPECT_EQ(int64_t(panels.size()), memory.numGroups() * stage.panels);
}

TEST(stage_memory, turns_use_other_weights) {
  MatmulStage stage = stageOf(MOEC_F32);
  StageMemory memory(stage, 32, 8 * 3 * stage.panelBytes);
  EXPECT_EQ(memory.numGroups(), 8);
  std::vector<int32_t> order;
  for (int i = 0; i < 4; ++i) {
    StageMemory::Turn turn;
    memory.prepare(turn, 5, 3);
    ASSERT_EQ(turn.call.num_items, 3);
    EXPECT_EQ(turn.call.num_rows, 15);
    EXPECT_EQ(turn.weightBytes, double(9 * stage.panelBytes));
    EXPECT_EQ(turn.flops, 2.0 * 15 * 96 * 64);
    for (int64_t b = 0; b < 3; ++b) {
      const moec_item &item = turn.call.items[b];
      EXPECT_EQ(item.row0, 5 * b);
      EXPECT_EQ(item.rows, 5);
      EXPECT_EQ(item.panel0, 0);
      EXPECT_EQ(item.panels, 3);
      order.push_back(item.group);
    }
  }
  EXPECT_EQ(order, (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3}));
}

// Items hold two of the three panels of a group: the third is passed over, so that every turn does the same work.
TEST(stage_memory, turns_of_deep_groups_do_the_same_work) {
  MatmulStage stage = stageOf(MOEC_F32);
  stage.k = 49152, stage.panelBytes = stage.k * 32 * 4, stage.aStride = stage.k * 4; // 6 MiB a panel
  StageMemory memory(stage, 4, 4 * 3 * stage.panelBytes);
  for (int i = 0; i < 5; ++i) {
    StageMemory::Turn turn;
    memory.prepare(turn, 1, 1 + i % 2 * 2);
    EXPECT_EQ(turn.weightBytes, double((1 + i % 2 * 2) * 2 * stage.panelBytes));
    for (const moec_item &item : turn.items)
      EXPECT_EQ(item.panel0, 0);
  }
}

TEST(stage_memory, a_check_meets_the_first_and_the_last_panels) {
  MatmulStage stage = stageOf(MOEC_F32);
  StageMemory memory(stage, 32, 8 * 3 * stage.panelBytes);
  StageMemory::Turn turn;
  memory.prepareCheck(turn, 7);
  ASSERT_EQ(turn.call.num_items, 2);
  EXPECT_EQ(turn.items[0].panel0, 0);
  EXPECT_EQ(turn.items[1].panel0 + turn.items[1].panels, 3);
  EXPECT_NE(turn.items[0].group, turn.items[1].group);
  EXPECT_EQ(turn.items[1].row0, 7);
  StageMemory::split(turn, 4); // the same rows in blocks of 4 and 3
  ASSERT_EQ(turn.call.num_items, 4);
  EXPECT_EQ(turn.call.items, turn.items.data());
  EXPECT_EQ(turn.items[1].row0, 4);
  EXPECT_EQ(turn.items[1].rows, 3);
  EXPECT_EQ(turn.items[3].row0, 11);
  EXPECT_EQ(turn.call.num_rows, 14);
}

TEST(stage_memory, poison_and_guard_rows_are_part_of_an_output) {
  MatmulStage stage = stageOf(MOEC_F32);
  StageMemory memory(stage, 32, 1 << 16);
  StageMemory::Turn turn;
  memory.prepare(turn, 4, 2);
  memory.poisonOutput(turn);
  auto *out = static_cast<float *>(memory.args()[2]);
  for (int64_t i = 0; i < (8 + StageMemory::guardRows) * 96; ++i)
    ASSERT_TRUE(std::isnan(out[i])) << i;
  std::vector<char> before = memory.outputOf(turn);
  out[8 * 96] = 1; // a row that the turn does not have
  EXPECT_NE(memory.outputOf(turn), before);
}

// Legal schedules may pack very many rows.
TEST(stage_memory, holds_two_of_the_largest_blocks) {
  MatmulStage stage = stageOf(MOEC_F32);
  StageMemory memory(stage, 40000, 1 << 16);
  ASSERT_TRUE(memory.ready());
  EXPECT_EQ(memory.blocksFor(40000, 1e-9, 100, 10), 2);
  EXPECT_EQ(memory.blocksFor(1, 100, 100, 10), 256);
  StageMemory::Turn turn;
  memory.prepareCheck(turn, 40000);
  EXPECT_GE(memory.numRows(), turn.call.num_rows + StageMemory::guardRows);
  memory.poisonOutput(turn);
  EXPECT_EQ(int64_t(memory.outputOf(turn).size()), (80000 + StageMemory::guardRows) * stage.outStride);
}

} // namespace
} // namespace moec
