// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The arguments of a matmul kernel, filled with small numbers.

#include "codegen/search/StageMemory.h"

#include <algorithm>
#include <cstring>
#include <sys/mman.h>

namespace moec {

static constexpr size_t pageBytes = 4096;

void *StageMemory::buffer(const StageArgument &argument) {
  memory.emplace_back(size_t(argument.bytes + 4096));
  void *data = memory.back().data();
  if (!data) {
    good = false;
    return nullptr;
  }
  // Left untouched, so that each process that writes it gets pages of its own, large ones where the system has them.
  if (argument.fill == StageArgument::Output) {
    outBuffer = memory.size() - 1;
    return out = static_cast<char *>(data);
  }
  int64_t size = moec_dtype_bytes(uint32_t(argument.type)), count = argument.bytes / size;
  // One run of random numbers, repeated: drawing gigabytes would take longer than timing them. Its length is prime, so
  // that no two rows, panels or groups are equal and a kernel that reads the wrong one is found.
  int64_t drawn = std::min<int64_t>(count, 65521);
  fillNormal(data, argument.type, drawn, 0, 0.5, argument.seed);
  for (int64_t done = drawn; done < count; done += std::min(drawn, count - done))
    std::memcpy(static_cast<char *>(data) + done * size, data, size_t(std::min(drawn, count - done) * size));
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

// The next panels that no recent turn used. Every item has itemPanels: what is left of a group is passed over, or turns
// that are compared with each other would differ in their work.
void StageMemory::advance(int64_t panels) {
  nextPanel += panels;
  if (nextPanel + layout.itemPanels <= stage.panels)
    return;
  nextPanel = 0;
  nextGroup = (nextGroup + 1) % layout.groups;
}

void StageMemory::prepare(Turn &turn, int64_t rows, int64_t blocks) {
  turn = {};
  for (int64_t i = 0; i < blocks; ++i) {
    add(turn, nextGroup, i * rows, rows, nextPanel, layout.itemPanels);
    advance(layout.itemPanels);
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

static size_t wholePages(size_t bytes) { return (bytes + pageBytes - 1) / pageBytes * pageBytes; }

void StageMemory::protectInputs() const {
  for (size_t i = 0; i < memory.size(); ++i)
    if (i != outBuffer)
      mprotect(memory[i].data(), wholePages(memory[i].size()), PROT_READ);
}

void StageMemory::protectOutputAfter(const Turn &turn) const {
  size_t end = wholePages(memory[outBuffer].size());
  size_t mine = wholePages(size_t((turn.call.num_rows + guardRows) * stage.outStride));
  mprotect(out, std::min(mine, end), PROT_READ | PROT_WRITE);
  if (mine < end)
    mprotect(out + mine, end - mine, PROT_READ);
}

std::string StageMemory::ownerOf(uint64_t address) const {
  for (size_t i = 0; i < memory.size(); ++i) {
    auto begin = uint64_t(reinterpret_cast<uintptr_t>(memory[i].data()));
    if (address >= begin && address - begin < wholePages(memory[i].size()))
      return i == outBuffer ? "the output after its rows" : "its input";
  }
  return "";
}

} // namespace moec
