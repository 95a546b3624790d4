// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The arguments of every kind of step, with every optional one and without: what lists them and what binds them agree,
// and the runtime's positions are those of the structs.

#include "tests/build/BuiltLayer.h"

#include "codegen/cuda/CudaArgs.h"
#include "codegen/plan/StageArgs.h"
#include "runtime/plan/plan_view.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

using Names = std::vector<std::string>;

template <typename T> bool same(const std::optional<T> &one, const std::optional<T> &two);
template <typename T> bool same(const std::vector<T> &one, const std::vector<T> &two);

// The fields of two structs of the same kind, one by one.
template <typename T> bool same(const T &one, const T &two) {
  if constexpr (detail::IsArgStruct<T>::value)
    return std::apply(
        [&](const auto &...x) {
          return std::apply([&](const auto &...y) { return (same(x, y) && ...); }, T::fields(two));
        },
        T::fields(one));
  else
    return one == two;
}
template <typename T> bool same(const std::optional<T> &one, const std::optional<T> &two) {
  return one.has_value() == two.has_value() && (!one || same(*one, *two));
}
template <typename T> bool same(const std::vector<T> &one, const std::vector<T> &two) {
  bool equal = one.size() == two.size();
  for (size_t i = 0; equal && i < one.size(); ++i)
    equal = same(one[i], two[i]);
  return equal;
}

// What listArgs puts into `order`, bindArgs finds under the same names, given which arguments there are.
template <template <typename> class Args> void expectOrder(const Args<std::string> &args, const Names &order) {
  Names list = listArgs(args);
  EXPECT_EQ(list, order);
  EXPECT_EQ(countArgs(args), order.size());
  Args<unsigned> positions = numberArgs(args);
  Args<std::string> bound = bindArgs<std::string>(positions, list);
  EXPECT_TRUE(same(bound, args)) << testing::PrintToString(list);
  zipArgs(positions, args, [&](unsigned position, const std::string &name) { EXPECT_EQ(order[position], name); });
}

std::optional<std::string> when(bool present, const char *name) {
  return present ? std::optional<std::string>(name) : std::nullopt;
}
// `names` without those that `present` leaves out.
Names those(std::vector<std::pair<bool, const char *>> names) {
  Names out;
  for (auto [present, name] : names)
    if (present)
      out.push_back(name);
  return out;
}

MatmulArgs<std::string> matmul(bool gathered, bool prologue, bool epilogue) {
  MatmulArgs<std::string> args = {"a", "b", "out", when(gathered, "row_token"), {}, {}};
  if (prologue)
    args.prologue = {"p0"};
  if (epilogue)
    args.epilogue = {"e0", "e1"};
  return args;
}

// What reads plans without the compiler knows one position.
TEST(StepArgs, weight_of_a_matmul) { EXPECT_EQ(numberArgs(MatmulArgs<unsigned>()).b, matmulWeightArgument); }

TEST(StepArgs, matmul) {
  for (unsigned has = 0; has < 8; ++has) {
    bool gathered = has & 1, prologue = has & 2, epilogue = has & 4;
    expectOrder(matmul(gathered, prologue, epilogue), those({{true, "a"},
                                                             {true, "b"},
                                                             {true, "out"},
                                                             {gathered, "row_token"},
                                                             {prologue, "p0"},
                                                             {epilogue, "e0"},
                                                             {epilogue, "e1"}}));
  }
}

TEST(StepArgs, row_program) {
  for (bool route : {false, true}) {
    RowProgramArgs<std::string> args;
    args.inputs = {{"x", std::nullopt}, {"row_token", when(route, "row_slot")}, {"y", std::nullopt}};
    args.results = {"r0", "r1"};
    expectOrder(
        args, those({{true, "x"}, {true, "row_token"}, {route, "row_slot"}, {true, "y"}, {true, "r0"}, {true, "r1"}}));
  }
}

TEST(StepArgs, combine) {
  for (unsigned has = 0; has < 4; ++has) {
    bool weights = has & 1, epilogue = has & 2;
    CombineArgs<std::string> args = {"rows", "slot_row", when(weights, "weights"), {}, "out"};
    if (epilogue)
      args.epilogue = {"e0"};
    expectOrder(args,
                those({{true, "rows"}, {true, "slot_row"}, {weights, "weights"}, {epilogue, "e0"}, {true, "out"}}));
  }
}

TEST(StepArgs, runtime_steps_without_options) {
  expectOrder(DispatchArgs<std::string>{"ids"}, {"ids"});
  EXPECT_EQ(numberArgs(DispatchArgs<int>()).ids, unsigned(MOEC_DISPATCH_IDS));
  EXPECT_EQ(countArgs(DispatchArgs<int>()), size_t(MOEC_DISPATCH_NUM_ARGS));
  expectOrder(CountsArgs<std::string>{"counts"}, {"counts"});
  EXPECT_EQ(numberArgs(CountsArgs<int>()).counts, unsigned(MOEC_COUNTS_COUNTS));
  EXPECT_EQ(countArgs(CountsArgs<int>()), size_t(MOEC_COUNTS_NUM_ARGS));
  expectOrder(ColumnsArgs<std::string>{"values", "out"}, {"values", "out"});
  expectOrder(SlotInputsArgs<std::string>{"x", "w", "out", "row_token", "row_slot"},
              {"x", "w", "out", "row_token", "row_slot"});
}

// The runtime derives positions from flags and mode.
TEST(StepArgs, capacity) {
  for (unsigned has = 0; has < 16; ++has) {
    bool keys = has & 1, rank = has & 2, present = has & 4, given = has & 8;
    CapacityArgs<std::string> args = {"ids",
                                      "kept",
                                      when(keys, "keys"),
                                      when(keys, "queue"),
                                      when(rank, "rank"),
                                      when(present, "present"),
                                      when(given, "capacity")};
    expectOrder(args, those({{true, "ids"},
                             {true, "kept"},
                             {keys, "keys"},
                             {keys, "queue"},
                             {rank, "rank"},
                             {present, "present"},
                             {given, "capacity"}}));
    moec_places places = {};
    places.flags =
        uint16_t((keys ? MOEC_PLACES_KEYS : 0) | (rank ? MOEC_PLACES_NEXT : 0) | (present ? MOEC_PLACES_PRESENT : 0));
    places.mode = given ? MOEC_PLACES_GIVEN : MOEC_PLACES_SHARE;
    int32_t at[MOEC_CAPACITY_NUM_ARGS];
    EXPECT_EQ(size_t(moec_capacity_positions(&places, at)), countArgs(args));
    CapacityArgs<unsigned> positions = numberArgs(args);
    auto position = [](std::optional<unsigned> found) { return found ? int32_t(*found) : -1; };
    EXPECT_EQ(at[MOEC_CAPACITY_IDS], int32_t(positions.ids));
    EXPECT_EQ(at[MOEC_CAPACITY_KEPT], int32_t(positions.kept));
    EXPECT_EQ(at[MOEC_CAPACITY_KEYS], position(positions.keys));
    EXPECT_EQ(at[MOEC_CAPACITY_QUEUE], position(positions.queue));
    EXPECT_EQ(at[MOEC_CAPACITY_RANK], position(positions.rank));
    EXPECT_EQ(at[MOEC_CAPACITY_PRESENT], position(positions.present));
    EXPECT_EQ(at[MOEC_CAPACITY_CAPACITY], position(positions.capacity));
  }
}

TEST(StepArgs, top_tokens) {
  for (bool present : {false, true}) {
    TopTokensArgs<std::string> args = {"values", "mask", when(present, "present")};
    expectOrder(args, those({{true, "values"}, {true, "mask"}, {present, "present"}}));
    TopTokensArgs<unsigned> positions = numberArgs(args);
    EXPECT_EQ(positions.values, unsigned(MOEC_TOP_TOKENS_VALUES));
    EXPECT_EQ(positions.mask, unsigned(MOEC_TOP_TOKENS_MASK));
    EXPECT_EQ(positions.present.value_or(MOEC_TOP_TOKENS_PRESENT), unsigned(MOEC_TOP_TOKENS_PRESENT));
  }
}

// The list of row blocks of a CUDA matmul is between the tables of its stage and the operands.
TEST(CudaArgs, matmul) {
  for (unsigned has = 0; has < 128; ++has) {
    bool gathered = has & 1, operands = has & 2, routed = has & 4, splits = has & 8, unordered = has & 16,
         weighted = unordered && has & 32, joined = has & 64;
    CudaMatmulArgs<std::string> args;
    args.stage = matmul(gathered, operands, operands);
    args.list = when(routed, "list");
    args.partials = when(splits, "partials");
    if (unordered)
      args.sums = {"token", "slot", when(weighted, "weights")};
    if (joined)
      args.joined = {"a2", "b2", "out2", std::nullopt, {}, {"e2"}};
    expectOrder(args, those({{true, "a"},
                             {true, "b"},
                             {true, "out"},
                             {gathered, "row_token"},
                             {routed, "list"},
                             {operands, "p0"},
                             {operands, "e0"},
                             {operands, "e1"},
                             {splits, "partials"},
                             {unordered, "token"},
                             {unordered, "slot"},
                             {weighted, "weights"},
                             {joined, "a2"},
                             {joined, "b2"},
                             {joined, "out2"},
                             {joined, "e2"}}));
  }
}

TEST(CudaArgs, of_other_kernels) {
  RouteTableArgs<std::string> route = {"offsets", "row_token", "row_slot", "slot_row"};
  CudaDispatchArgs<std::string> dispatch = {"ids", route, "scratch", {"l0", "l1"}};
  Names dispatched = {"ids", "offsets", "row_token", "row_slot", "slot_row", "scratch", "l0", "l1"};
  expectOrder(dispatch, dispatched);
  expectOrder(CudaSlotsArgs<std::string>{route, {"l0"}}, {"offsets", "row_token", "row_slot", "slot_row", "l0"});
  expectOrder(CudaCountsArgs<std::string>{"offsets", "counts"}, {"offsets", "counts"});
  expectOrder(CudaPermuteArgs<std::string>{"from", "to", "row_token", "offsets"},
              {"from", "to", "row_token", "offsets"});
  expectOrder(CudaClearArgs<std::string>{"sums"}, {"sums"});
  RowProgramArgs<std::string> program;
  program.inputs = {{"x", std::nullopt}};
  program.results = {"ids"};
  expectOrder(CudaRowProgramArgs<std::string>{program, std::nullopt}, {"x", "ids"});
  expectOrder(CudaRowProgramArgs<std::string>{program, "offsets"}, {"x", "ids", "offsets"});
  Names front = {"x", "ids"};
  front.insert(front.end(), dispatched.begin(), dispatched.end());
  expectOrder(CudaFrontArgs<std::string>{std::nullopt, program, dispatch}, front);
  CudaMatmulArgs<std::string> split;
  split.stage = matmul(false, false, false);
  split.partials = "partials";
  front.insert(front.begin(), {"a", "b", "out", "partials"});
  expectOrder(CudaFrontArgs<std::string>{split, program, dispatch}, front);
}

// A plan's args under the names of the stage.
TEST(StepArgs, of_a_layer) {
  BuiltLayer built;
  ASSERT_TRUE(built.read(R"({"moec": 1, "name": "tiny", "hidden": 8,
      "router": {"score": "softmax", "top_k": 2, "bias": true},
      "experts": {"count": 4, "intermediate": 6, "form": "glu", "act": "silu",
                  "bias": {"in": true, "out": true}}})") &&
              built.build() && built.fuse() && built.makePlan());
  const LaunchPlan &plan = built.plan;
  auto name = [&](uint16_t buffer) { return plan.string(plan.buffers[buffer].name).str(); };
  unsigned gathered = 0, combined = 0;
  for (auto [step, op] : llvm::zip(plan.steps, plan.stageOf)) {
    if (auto stage = llvm::dyn_cast_or_null<moe::GroupedMatmulOp>(op)) {
      MatmulArgs<uint16_t> args = buffersOf(stage, plan, step);
      EXPECT_EQ(plan.weightOf(step), &plan.weights[plan.buffers[args.b].slot]);
      EXPECT_EQ(args.rowToken.has_value(), stage.getGathered());
      EXPECT_EQ(args.epilogue.size(), stage.getEpilogueOperands().size());
      if (args.rowToken) {
        ++gathered;
        EXPECT_EQ(name(args.a), "x");
        EXPECT_EQ(name(*args.rowToken), "dispatch.row_token");
        EXPECT_EQ(plan.buffers[args.epilogue.front()].kind, MOEC_BUFFER_WEIGHT);
      }
    } else if (auto combine = llvm::dyn_cast_or_null<moe::CombineOp>(op)) {
      CombineArgs<uint16_t> args = buffersOf(combine, plan, step);
      combined += name(args.out) == "y"; // others are of reports
      EXPECT_EQ(name(args.slotRow), "dispatch.slot_row");
    } else {
      EXPECT_EQ(plan.weightOf(step), nullptr);
    }
  }
  EXPECT_EQ(gathered, 1u);
  EXPECT_EQ(combined, 1u);
}

} // namespace
