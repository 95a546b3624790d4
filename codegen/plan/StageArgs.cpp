// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/plan/StageArgs.h"

using namespace mlir;

namespace moec {

static std::vector<StageArg> buffers(ValueRange values) {
  std::vector<StageArg> out;
  for (Value value : values)
    out.push_back({value});
  return out;
}

static std::optional<StageArg> buffer(Value value) {
  return value ? std::optional<StageArg>(StageArg{value}) : std::nullopt;
}

MatmulArgs<StageArg> argsOf(moe::GroupedMatmulOp op) {
  MatmulArgs<StageArg> args;
  args.a = {op.getA()};
  args.b = {op.getB().front(), StageArg::Matrices};
  args.out = {op.getResult()};
  if (op.getGathered())
    args.rowToken = {op.getRoute(), StageArg::RowToken};
  args.prologue = buffers(op.getPrologueOperands());
  args.epilogue = buffers(op.getEpilogueOperands());
  return args;
}

RowProgramArgs<StageArg> argsOf(moe::RowProgramOp op) {
  RowProgramArgs<StageArg> args;
  for (Value input : op.getInputs()) {
    RowInputArgs<StageArg> &made = args.inputs.emplace_back();
    made.value = {input};
    if (isa<moe::RouteType>(input.getType())) { // also where only the rows matter
      made.value = {input, StageArg::RowToken};
      made.rowSlot = {input, StageArg::RowSlot};
    }
  }
  args.results = buffers(op.getResults());
  return args;
}

CombineArgs<StageArg> argsOf(moe::CombineOp op) {
  CombineArgs<StageArg> args;
  args.rows = {op.getRows()};
  args.slotRow = {op.getRoute(), StageArg::SlotRow};
  args.weights = buffer(op.getWeights());
  args.epilogue = buffers(op.getEpilogueOperands());
  args.out = {op.getResult()};
  return args;
}

DispatchArgs<StageArg> argsOf(moe::DispatchOp op) { return {{op.getIds()}}; }

CapacityArgs<StageArg> argsOf(moe::CapacityOp op) {
  CapacityArgs<StageArg> args;
  args.ids = {op.getIds()};
  args.kept = {op.getKept()};
  if (op.getKeys()) {
    args.keys = {op.getKeys()};
    args.queue = {op.getQueue()};
  }
  args.rank = buffer(op.getRanked());
  args.present = buffer(op.getPresent());
  args.capacity = buffer(op.getPlaces());
  return args;
}

TopTokensArgs<StageArg> argsOf(moe::TopTokensOp op) {
  return {{op.getInput()}, {op.getMask()}, buffer(op.getPresent())};
}

ColumnsArgs<StageArg> argsOf(moe::TokenReduceOp op) { return {{op.getInput()}, {op.getResult()}}; }
ColumnsArgs<StageArg> argsOf(moe::TokenTotalOp op) { return {{op.getInput()}, {op.getResult()}}; }

SlotInputsArgs<StageArg> argsOf(moe::SlotInputsOp op) {
  Value route = op.getRoute();
  return {
      {op.getInput()}, {op.getWeights()}, {op.getResult()}, {route, StageArg::RowToken}, {route, StageArg::RowSlot}};
}

OuterArgs<StageArg> argsOf(moe::GroupedOuterOp op) {
  OuterArgs<StageArg> args;
  args.a = {op.getA()};
  args.b = {op.getB()};
  args.out = {op.getResult()};
  if (Value route = op.getRoute()) {
    args.offsets = {route, StageArg::Offsets};
    if (op.getGatheredA())
      args.tokenA = {route, StageArg::RowToken};
    if (op.getGatheredB())
      args.tokenB = {route, StageArg::RowToken};
  }
  return args;
}

GroupSumArgs<StageArg> argsOf(moe::GroupSumOp op) {
  return {{op.getInput()}, {op.getResult()}, {op.getRoute(), StageArg::Offsets}};
}

SlotValuesArgs<StageArg> argsOf(moe::SlotValuesOp op) {
  return {{op.getInput()}, {op.getRoute(), StageArg::SlotRow}, {op.getResult()}};
}

SlotProductsArgs<StageArg> argsOf(moe::SlotProductsOp op) {
  return {{op.getA()}, {op.getRows()}, {op.getRoute(), StageArg::SlotRow}, {op.getResult()}};
}

ParameterSumArgs<StageArg> argsOf(moe::ParameterSumOp op) { return {buffers(op.getInputs()), {op.getResult()}}; }

ScaledRowsArgs<StageArg> argsOf(moe::ScaledRowsOp op) {
  return {{op.getMatrix(), StageArg::Matrices}, {op.getValues()}, {op.getResult()}};
}

} // namespace moec
