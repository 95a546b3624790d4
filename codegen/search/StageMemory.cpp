// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The arguments of a matmul kernel in their order (StepArgs.h), filled with small numbers.

#include "codegen/search/StageMemory.h"

#include "codegen/plan/StepArgs.h"

#include <algorithm>
#include <cstring>

namespace moec {

namespace {
constexpr int64_t tokens = 512;                  // rows of a gathered A
constexpr int64_t maxBlocks = 256;               // of a turn
constexpr int64_t itemBytes = int64_t(16) << 20; // weights of an item at most; deeper groups are cut by panels
constexpr int64_t maxTurnRows = int64_t(16) << 10;

DataType dataType(moec_dtype type) { return DataType(type); }
} // namespace

void *StageMemory::buffer(int64_t bytes, DataType type) {
  memory.emplace_back(size_t(std::max<int64_t>(bytes, 1) + 4096));
  void *data = memory.back().data();
  if (!data) {
    good = false;
    return nullptr;
  }
  int64_t size = moec_dtype_bytes(uint32_t(type)), count = bytes / size;
  // One run of random numbers, repeated: drawing gigabytes would take longer than timing them.
  int64_t drawn = std::min<int64_t>(count, 1 << 16);
  fillNormal(data, type, drawn, 0, 0.5, memory.size());
  for (int64_t done = drawn; done < count; done += std::min(drawn, count - done))
    std::memcpy(static_cast<char *>(data) + done * size, data, size_t(std::min(drawn, count - done) * size));
  return data;
}

void StageMemory::addOperands(const llvm::SmallVector<MatmulOperand> &operands) {
  for (const MatmulOperand &operand : operands) {
    DataType type = operand.element.isBF16() ? DataType::BF16 : DataType::F32;
    int64_t perRow = operand.kind == "elem" ? operand.stride : 4;
    int64_t count = operand.kind == "col"      ? groups * operand.stride
                    : operand.kind == "scalar" ? 64
                                               : totalRows * perRow;
    arguments.push_back(buffer(count + 64, type));
  }
}

StageMemory::StageMemory(const MatmulStage &stage, int64_t maxRows, int64_t weightBytes) : stage(stage), good(true) {
  int64_t groupBytes = stage.panels * stage.panelBytes;
  groups = std::max<int64_t>(2, weightBytes / groupBytes);
  itemPanels = std::clamp<int64_t>(itemBytes / stage.panelBytes, 1, stage.panels);
  totalRows = std::max<int64_t>(maxTurnRows, maxRows);
  memory.reserve(8 + stage.prologueOperands.size() + stage.epilogueOperands.size());
  arguments.push_back(buffer((stage.gathered ? tokens : totalRows) * stage.aStride, dataType(stage.in)));
  arguments.push_back(buffer(groups * groupBytes, dataType(stage.weight)));
  out = static_cast<char *>(buffer(totalRows * stage.outStride, dataType(stage.result)));
  arguments.push_back(out);
  if (stage.gathered) {
    auto *rowToken = static_cast<int32_t *>(buffer(totalRows * 4, DataType::F32));
    for (int64_t r = 0; rowToken && r < totalRows; ++r)
      rowToken[r] = int32_t(r * 181 % tokens); // 181 and 512 have no common divisor
    arguments.push_back(rowToken);
  }
  addOperands(stage.prologueOperands);
  addOperands(stage.epilogueOperands);
}

int64_t StageMemory::blocksFor(int64_t rows, double seconds, double gflops, double gbps) const {
  double flops = 2.0 * double(rows) * double(itemPanels * stage.columnsPerPanel() * stage.parts) * double(stage.k);
  double one = std::max(flops / (gflops * 1e9), double(itemPanels * stage.panelBytes) / (gbps * 1e9));
  return std::clamp<int64_t>(int64_t(seconds / one), 2, std::min(maxBlocks, maxTurnRows / std::max<int64_t>(rows, 1)));
}

void StageMemory::prepare(Turn &turn, int64_t rows, int64_t blocks) {
  turn.items.clear();
  for (int64_t i = 0; i < blocks; ++i) {
    int64_t panels = std::min(itemPanels, stage.panels - nextPanel);
    turn.items.push_back(
        {int32_t(nextGroup), int32_t(i * rows), int32_t(rows), int32_t(nextPanel), int32_t(panels), 0});
    turn.flops += 2.0 * double(rows) * double(panels * stage.columnsPerPanel() * stage.parts) * double(stage.k);
    turn.weightBytes += double(panels * stage.panelBytes);
    nextPanel += panels;
    if (nextPanel == stage.panels) {
      nextPanel = 0;
      nextGroup = (nextGroup + 1) % groups;
    }
  }
  turn.call.num_tokens = turn.call.sequence_tokens = tokens;
  turn.call.num_rows = blocks * rows;
  turn.call.items = turn.items.data();
  turn.call.num_items = blocks;
}

void StageMemory::poisonOutput(const Turn &turn) {
  std::memset(out, 0xff, size_t(turn.call.num_rows * stage.outStride)); // NaN in every element type
}

std::vector<char> StageMemory::outputOf(const Turn &turn) const {
  return std::vector<char>(out, out + turn.call.num_rows * stage.outStride);
}

} // namespace moec
