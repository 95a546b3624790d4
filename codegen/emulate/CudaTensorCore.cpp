// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// wgmma.mma_async m64nNk16, A and B in shared memory, by the PTX ISA's descriptors and fragments.
//
//   D register i of lane l in warp w:  row 16w + l/4 + 8*(i/2 % 2),  column 8*(i/4) + 2*(l%4) + i%2
//
//   descriptor bits  0-13 start/16   16-29 leading offset/16   32-45 stride offset/16   49-51 base offset   62-63
//   swizzle piece of row r, k byte b (a multiple of 16), swizzle of S bytes:
//       start + (r/8)*stride + (r%8)*S + b,  bits permuted as swizzleAddress      S = 32, 64, 128
//       start + (r/8)*stride + (r%8)*16 + (b/16)*leading                          no swizzle
//   piece of depth k, rows 8c .. 8c+7, of an operand that is depth first, u = S/16:
//       start + (c/u)*leading + (k/8)*stride + (k%8)*S + (c%u)*16,  bits permuted as swizzleAddress

#include "codegen/emulate/CudaTensorCore.h"

#include "codegen/emulate/CudaFloats.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>

namespace moec {

static constexpr uint32_t depth = 16, rowsOfA = 64;

// A quiet NaN: 7 bits of generation, never 0, 3 of warpgroup, 4 of slot, 7 of register. Neither poisoned memory (all
// ones) nor the NaN that arithmetic makes of no NaN (0xFFC00000) looks like one.
static uint32_t tokenOf(unsigned group, unsigned slot, uint32_t generation, unsigned reg) {
  return 0xFFC00000u | (generation % 127 + 1) << 14 | (group & 7u) << 11 | (slot & 15u) << 7 | (reg & 127u);
}
static bool isToken(uint32_t bits) { return (bits & 0xFFE00000u) == 0xFFC00000u && (bits >> 14 & 127u) != 0; }
static unsigned slotOf(uint32_t token) { return token >> 7 & 15u; }

void CudaTensorCore::reset(unsigned numWarpgroups) {
  warpgroups.clear();
  for (unsigned i = 0; i < numWarpgroups; ++i)
    warpgroups.push_back(nullptr);
}

uint32_t CudaTensorCore::Operand::at(uint32_t line, uint32_t piece) const {
  if (swizzle == 0)
    return start + line / 8 * stride + line % 8 * 16 + piece * leading;
  uint32_t across = depthFirst ? swizzle / 16 : 2; // pieces of a line that lie together
  return swizzleAddress(start + line / 8 * stride + line % 8 * swizzle + piece / across * leading + piece % across * 16,
                        swizzle);
}

std::vector<uint32_t> CudaTensorCore::Operand::pieces(uint32_t first, uint32_t count) const {
  std::vector<uint32_t> places;
  for (uint32_t i = 0; i < 2 * count; ++i)
    places.push_back(depthFirst ? at(i % depth, first / 8 + i / depth) : at(first + i / 2, i % 2));
  return places;
}

void CudaTensorCore::Operand::load(const CudaShared &shared, CudaElement type, uint32_t rows, float *to,
                                   uint32_t rowStep, uint32_t depthStep) const {
  for (auto [i, place] : llvm::enumerate(pieces(0, rows))) {
    uint16_t bits[8];
    std::memcpy(bits, shared.at(place), 16);
    uint32_t n = uint32_t(i);
    for (uint32_t j = 0; j < 8; ++j) {
      uint32_t row = depthFirst ? n / depth * 8 + j : n / 2, k = depthFirst ? n % depth : n % 2 * 8 + j;
      to[row * rowStep + k * depthStep] = elementToFloat(bits[j], type);
    }
  }
}

CudaTensorCore::Operand CudaTensorCore::decode(uint64_t descriptor, const char *name, uint32_t rows, bool depthFirst) {
  static const uint32_t swizzles[4] = {0, 128, 64, 32};
  Operand operand;
  operand.start = uint32_t(descriptor & 0x3FFF) * 16;
  operand.leading = uint32_t(descriptor >> 16 & 0x3FFF) * 16;
  operand.stride = uint32_t(descriptor >> 32 & 0x3FFF) * 16;
  operand.swizzle = swizzles[descriptor >> 62];
  operand.depthFirst = depthFirst;
  uint64_t unused = descriptor & ~(0x3FFFull | 0x3FFFull << 16 | 0x3FFFull << 32 | 3ull << 62);
  if (unused)
    block.stop(std::string("wgmma descriptor of ") + name + ": base offset and reserved bits are 0 here");
  if (depthFirst && !operand.swizzle)
    block.stop(std::string("wgmma descriptor of ") + name + ": a matrix that is depth first has a swizzle here");
  uint32_t span = operand.swizzle * 8;
  if (span && operand.start % span >= operand.swizzle)
    block.stop(std::string("wgmma descriptor of ") + name + ": start " + std::to_string(operand.start) +
               " is not in the first row of a pattern of " + std::to_string(span) + " bytes");
  for (uint32_t place : {operand.pieces(0, 8).front(), operand.pieces(rows - 8, 8).back()})
    block.sharedOffset(place, 16, 16, "wgmma reads");
  return operand;
}

void CudaTensorCore::chooseAccumulator(Warpgroup &group, Issue &issue, const uint64_t *operands) {
  uint32_t first = uint32_t(operands[0]);
  uint32_t n = issue.instruction->n;
  issue.fresh = !issue.scale || !isToken(first);
  if (!issue.fresh) {
    issue.slot = slotOf(first);
    if (group.accumulators[issue.slot].n == n)
      return;
    block.stop("wgmma takes accumulators of a wgmma with another n, still in flight");
  }
  issue.slot = group.nextSlot++ % numSlots;
  Accumulator &accumulator = group.accumulators[issue.slot];
  ++accumulator.generation;
  accumulator.n = n;
  accumulator.values.assign(size_t(rowsOfA) * n, 0.0f);
  std::fill(accumulator.last, accumulator.last + 4, 0);
}

CudaTensorCore::Issue &CudaTensorCore::issueOf(Warpgroup &group, Lane &lane, const CudaInstruction &instruction,
                                               const uint64_t *operands) {
  const uint64_t *tail = operands + instruction.n / 2; // two descriptors, scale_d
  bool scale = (tail[2] & 1) != 0;
  uint64_t number = lane.issued++ - group.first;
  if (number == group.issues.size()) {
    Issue issue;
    issue.instruction = &instruction;
    issue.descriptors[0] = tail[0];
    issue.descriptors[1] = tail[1];
    issue.scale = scale;
    issue.a = decode(tail[0], "A", rowsOfA, instruction.depthFirst[0]);
    issue.b = decode(tail[1], "B", instruction.n, instruction.depthFirst[1]);
    chooseAccumulator(group, issue, operands);
    group.issues.push_back(issue);
  }
  Issue &issue = group.issues[number];
  if (issue.instruction != &instruction || issue.descriptors[0] != tail[0] || issue.descriptors[1] != tail[1] ||
      issue.scale != scale)
    block.stop("the warpgroup disagrees: \"" + instruction.text + "\" against \"" + issue.instruction->text +
               "\" of another thread, or other descriptors");
  return issue;
}

void CudaTensorCore::takeRegisters(Warpgroup &group, unsigned groupIndex, Issue &issue, Lane &lane,
                                   const uint64_t *operands) {
  Accumulator &accumulator = group.accumulators[issue.slot];
  unsigned thread = block.current->index % 128, n = accumulator.n;
  unsigned row = thread / 32 * 16 + thread % 32 / 4, column = thread % 4 * 2;
  if (issue.fresh && !lane.fenced)
    block.report(block.current->index, "wgmma with accumulators that no wgmma_fence ordered before");
  for (unsigned i = 0; i < n / 2 && issue.scale; ++i) {
    uint32_t bits = uint32_t(operands[i]);
    if (issue.fresh)
      accumulator.values[(row + 8 * (i / 2 % 2)) * n + column + i / 4 * 8 + i % 2] = floatOfBits(bits);
    if (issue.fresh ? isToken(bits) : bits != tokenOf(groupIndex, issue.slot, accumulator.generation, i))
      block.stop("wgmma adds to register " + std::to_string(i) + ", which another wgmma in flight owns");
  }
}

void CudaTensorCore::issue(const CudaInstruction &instruction, uint64_t *results, const uint64_t *operands) {
  unsigned index = block.current->index, groupIndex = index / 128, warp = index / 32 % 4;
  Warpgroup &group = *warpgroups[groupIndex];
  Lane &lane = group.lanes[index % 128];
  uint64_t number = lane.issued;
  Issue &issue = issueOf(group, lane, instruction, operands);
  takeRegisters(group, groupIndex, issue, lane, operands);
  Accumulator &accumulator = group.accumulators[issue.slot];
  for (unsigned i = 0; i < instruction.n / 2; ++i)
    results[i] = tokenOf(groupIndex, issue.slot, accumulator.generation, i);
  accumulator.last[warp] = number + 1;
  issue.lanes[warp] |= 1u << (index % 32);
  if (issue.lanes[warp] != ~0u)
    return;
  read(issue, warp, /*begin=*/true, index);
  for (uint32_t lanes : issue.lanes)
    if (lanes != ~0u)
      return;
  compute(group, issue);
  ++group.executed;
  for (unsigned thread : group.waiting)
    block.wake(thread);
  group.waiting.clear();
}

// Of A a warp reads its own 16 rows, of B all.
void CudaTensorCore::read(const Issue &issue, unsigned warp, bool begin, unsigned threadOrActor) {
  auto all = [&](const std::vector<uint32_t> &places) {
    for (uint32_t place : places) {
      if (begin)
        block.shared.beginTensorRead(threadOrActor, place, 16);
      else
        block.shared.endTensorRead(threadOrActor, place, 16);
    }
  };
  all(issue.a.pieces(16 * warp, 16));
  all(issue.b.pieces(0, issue.instruction->n));
}

void CudaTensorCore::compute(Warpgroup &group, const Issue &issue) {
  float a[rowsOfA * depth], b[depth * 256];
  uint32_t n = issue.instruction->n;
  CudaElement type = issue.instruction->type;
  issue.a.load(block.shared, type, rowsOfA, a, depth, 1);
  issue.b.load(block.shared, type, n, b, 1, n);
  Accumulator &accumulator = group.accumulators[issue.slot];
  if (!issue.scale)
    std::fill(accumulator.values.begin(), accumulator.values.end(), 0.0f);
  multiplyTile(accumulator.values.data(), a, b, rowsOfA, n, depth);
}

void CudaTensorCore::execute(const CudaInstruction &instruction, uint64_t *results, const uint64_t *operands) {
  unsigned index = block.current->index;
  if (block.launch.threads % 128)
    block.stop("\"" + instruction.text + "\" in a block of " + std::to_string(block.launch.threads) +
               " threads, which is not a multiple of 128");
  std::unique_ptr<Warpgroup> &group = warpgroups[index / 128];
  if (!group)
    group = std::make_unique<Warpgroup>();
  Lane &lane = group->lanes[index % 128];
  if (instruction.opcode == CudaOpcode::Wgmma)
    return issue(instruction, results, operands);
  if (instruction.opcode == CudaOpcode::WgmmaCommit) {
    lane.groups.push_back(lane.issued);
    return;
  }
  lane.fenced = true;
  std::copy(operands, operands + instruction.regs, results);
}

void CudaTensorCore::retire(Warpgroup &group, unsigned warp, uint64_t target) {
  unsigned firstThread = block.current->index / 32 * 32;
  unsigned actor = block.clocks.tensorActor(firstThread / 32);
  for (; group.retired[warp] < target; ++group.retired[warp])
    read(group.issues[group.retired[warp] - group.first], warp, /*begin=*/false, actor);
  uint32_t epoch = block.clocks.epoch(actor);
  for (unsigned lane = 0; lane < 32; ++lane)
    block.clocks.learn(firstThread + lane, epoch);
  block.clocks.advance(actor);
  uint64_t all = *std::min_element(group.retired, group.retired + 4);
  for (; group.first < all; ++group.first)
    group.issues.pop_front();
}

void CudaTensorCore::waitGroup(const CudaInstruction &instruction, CudaWarp &warp) {
  unsigned index = block.current->index, warpIndex = index / 32 % 4;
  if (block.launch.threads % 128)
    block.stop("\"" + instruction.text + "\" in a block whose threads are not a multiple of 128");
  if (!warpgroups[index / 128])
    warpgroups[index / 128] = std::make_unique<Warpgroup>();
  Warpgroup &group = *warpgroups[index / 128];
  std::vector<uint64_t> &commits = group.lanes[index % 128].groups;
  uint64_t target = commits.size() > instruction.n ? commits[commits.size() - 1 - instruction.n] : 0;
  while (group.executed < target) {
    group.waiting.push_back(index);
    block.wait([&group, &instruction, target] {
      return "\"" + instruction.text + "\" (" + std::to_string(group.executed) + " of " + std::to_string(target) +
             " instructions issued by the whole warpgroup)";
    });
  }
  if (target > group.retired[warpIndex])
    retire(group, warpIndex, target);
  for (unsigned lane = 0; lane < 32; ++lane) {
    unsigned thread = warpIndex * 32 + lane, row = warpIndex * 16 + lane / 4;
    group.lanes[thread].fenced = false;
    for (unsigned i = 0; i < instruction.regs; ++i) {
      uint32_t bits = uint32_t(warp.operands[lane][i]);
      if (isToken(bits)) {
        Accumulator &from = group.accumulators[slotOf(bits)];
        unsigned reg = bits & 127u;
        if (from.last[warpIndex] <= target && bits == tokenOf(index / 128, slotOf(bits), from.generation, reg))
          bits = bitsOfFloat(from.values[(row + 8 * (reg / 2 % 2)) * from.n + lane % 4 * 2 + reg / 4 * 8 + reg % 2]);
      }
      warp.results[lane][i] = bits;
    }
  }
}

} // namespace moec
