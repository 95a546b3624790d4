// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The arguments of a matmul kernel, filled with small numbers.

#include "codegen/search/StageMemory.h"

#include <algorithm>
#include <cstring>

namespace moec {

void *StageMemory::buffer(const StageArgument &argument) {
  memory.emplace_back(size_t(argument.bytes + 4096));
  void *data = memory.back().data();
  if (!data) {
    good = false;
    return nullptr;
  }
  int64_t size = moec_dtype_bytes(uint32_t(argument.type)), count = argument.bytes / size;
  // One run of random numbers, repeated: drawing gigabytes would take longer than timing them. Its length is prime, so
  // that no two rows, panels or groups are equal and a kernel that reads the wrong one is found.
  int64_t drawn = std::min<int64_t>(count, 65521);
  fillNormal(data, argument.type, drawn, 0, 0.5, argument.seed);
  for (int64_t done = drawn; done < count; done += std::min(drawn, count - done))
    std::memcpy(static_cast<char *>(data) + done * size, data, size_t(std::min(drawn, count - done) * size));
  if (argument.fill == StageArgument::Output)
    out = static_cast<char *>(data);
  if (argument.fill == StageArgument::RowToken)
    for (int64_t r = 0; r < layout.totalRows; ++r)
      static_cast<int32_t *>(data)[r] = int32_t(r * 181 % stageTokens); // 181 and 512 have no common divisor
  return data;
}

StageMemory::StageMemory(const MatmulStage &stage, int64_t maxRows, int64_t weightBytes)
    : stage(stage), layout(stageLayout(stage, maxRows, weightBytes)), good(true) {
  for (const StageArgument &argument : listArgs(layout.arguments))
    arguments.push_back(buffer(argument));
}

int64_t StageMemory::blocksFor(int64_t rows, double seconds, double gflops, double gbps) const {
  double flops =
      2.0 * double(rows) * double(layout.itemPanels * stage.columnsPerPanel() * stage.parts) * double(stage.k);
  double one = std::max(flops / (gflops * 1e9), double(layout.itemPanels * stage.panelBytes) / (gbps * 1e9));
  int64_t most = std::min(maxStageBlocks, (layout.totalRows - guardRows) / std::max<int64_t>(rows, 1));
  return std::clamp<int64_t>(int64_t(seconds / one), 2, std::max<int64_t>(most, 2));
}

void StageMemory::add(Turn &turn, int64_t group, int64_t row, int64_t rows, int64_t panel, int64_t panels) const {
  turn.items.push_back({int32_t(group), int32_t(row), int32_t(rows), int32_t(panel), int32_t(panels), 0});
  turn.flops += 2.0 * double(rows) * double(panels * stage.columnsPerPanel() * stage.parts) * double(stage.k);
  turn.weightBytes += double(panels * stage.panelBytes);
}

void StageMemory::finish(Turn &turn, int64_t rows) const {
  turn.call.num_tokens = turn.call.sequence_tokens = stageTokens;
  turn.call.num_rows = rows;
  turn.call.items = turn.items.data();
  turn.call.num_items = int64_t(turn.items.size());
}

// The next panels that no recent turn used.
void StageMemory::advance(int64_t panels) {
  nextPanel += panels;
  if (nextPanel < stage.panels)
    return;
  nextPanel = 0;
  nextGroup = (nextGroup + 1) % layout.groups;
}

void StageMemory::prepare(Turn &turn, int64_t rows, int64_t blocks) {
  turn = {};
  for (int64_t i = 0; i < blocks; ++i) {
    int64_t panels = std::min(layout.itemPanels, stage.panels - nextPanel);
    add(turn, nextGroup, i * rows, rows, nextPanel, panels);
    advance(panels);
  }
  finish(turn, blocks * rows);
}

void StageMemory::prepareCheck(Turn &turn, int64_t rows) {
  turn = {};
  int64_t panels = std::min<int64_t>(stage.panels, 2);
  add(turn, nextGroup, 0, rows, 0, panels);
  add(turn, (nextGroup + 1) % layout.groups, rows, rows, stage.panels - panels, panels);
  finish(turn, 2 * rows);
  advance(stage.panels);
}

void StageMemory::split(Turn &turn, int64_t maxRows) {
  std::vector<moec_item> parts;
  for (const moec_item &item : turn.items)
    for (int64_t done = 0; done < item.rows; done += maxRows) {
      parts.push_back(item);
      parts.back().row0 = int32_t(item.row0 + done);
      parts.back().rows = int32_t(std::min<int64_t>(maxRows, item.rows - done));
    }
  turn.items = std::move(parts);
  turn.call.items = turn.items.data();
  turn.call.num_items = int64_t(turn.items.size());
}

void StageMemory::poisonOutput(const Turn &turn) {
  std::memset(out, 0xff, size_t((turn.call.num_rows + guardRows) * stage.outStride)); // NaN in every element type
}

std::vector<char> StageMemory::outputOf(const Turn &turn) const {
  return std::vector<char>(out, out + (turn.call.num_rows + guardRows) * stage.outStride);
}

} // namespace moec
