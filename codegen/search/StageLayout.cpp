// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/search/StageLayout.h"

#include <algorithm>

namespace moec {

namespace {

constexpr int64_t itemBytes = int64_t(16) << 20;
constexpr int64_t maxTurnRows = int64_t(16) << 10;

class Layout {
public:
  Layout(const MatmulStage &stage, int64_t maxRows, int64_t weightBytes) : stage(stage) {
    // of shared matrices the panels are those of their owner, in another shape
    groupBytes = stage.transposed.any() ? stage.transposed.groupBytes : stage.panels * stage.panelBytes;
    layout.maxRows = maxRows;
    layout.groups = std::max<int64_t>(2, weightBytes / groupBytes);
    layout.itemPanels = std::clamp<int64_t>(itemBytes / stage.panelBytes, 1, stage.panels);
    layout.totalRows = std::max<int64_t>(maxTurnRows, 2 * maxRows) + stageGuardRows;
  }

  StageLayout run() {
    auto &args = layout.arguments;
    args.a = buffer((stage.gathered ? stageTokens : layout.totalRows) * stage.aStride, DataType(stage.in));
    args.b = buffer(layout.groups * groupBytes, DataType(stage.weight));
    args.out = buffer(layout.totalRows * stage.outStride, DataType(stage.result), StageArgument::Output);
    if (stage.gathered)
      args.rowToken = buffer(layout.totalRows * 4, DataType::F32, StageArgument::RowToken);
    args.prologue = operands(stage.prologueOperands);
    args.epilogue = operands(stage.epilogueOperands);
    return std::move(layout);
  }

private:
  StageArgument buffer(int64_t bytes, DataType type, StageArgument::Fill fill = StageArgument::Normal) {
    return {fill, std::max<int64_t>(bytes, 1), type, ++seed};
  }

  std::vector<StageArgument> operands(const llvm::SmallVector<MatmulOperand> &operands) {
    std::vector<StageArgument> buffers;
    for (const MatmulOperand &operand : operands) {
      DataType type = operand.element.isBF16()  ? DataType::BF16
                      : operand.element.isF16() ? DataType::F16
                                                : DataType::F32;
      int64_t perRow = operand.kind == "elem" ? operand.stride : 4;
      int64_t count = operand.kind == "col"      ? layout.groups * operand.stride
                      : operand.kind == "scalar" ? 64
                                                 : layout.totalRows * perRow;
      buffers.push_back(buffer(count + 64, type));
    }
    return buffers;
  }

  const MatmulStage &stage;
  StageLayout layout;
  uint64_t seed = 0;
  int64_t groupBytes = 0; // of B
};

} // namespace

StageLayout stageLayout(const MatmulStage &stage, int64_t maxRows, int64_t weightBytes) {
  return Layout(stage, maxRows, weightBytes).run();
}

} // namespace moec
