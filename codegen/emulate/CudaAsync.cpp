// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// cp.async and TMA -> copies that happen some time later, and the moments when a thread may rely on them.

#include "codegen/emulate/CudaBlock.h"

#include "codegen/emulate/CudaMbarrier.h"

#include <cstring>

namespace moec {

void CudaBlock::later(uint64_t most, std::function<void()> action) {
  engine.emplace(tick + random(most), std::move(action));
}

bool CudaBlock::runEngine() {
  bool ran = false;
  while (!engine.empty() && engine.begin()->first <= tick && !stopped) {
    auto action = std::move(engine.begin()->second);
    engine.erase(engine.begin());
    action();
    ran = true;
  }
  return ran;
}

void CudaBlock::copyNow(CudaThread &thread, CudaCopy &copy) {
  if (copy.copied)
    return;
  copy.copied = true;
  char *target = shared.at(copy.offset);
  std::memset(target, 0, 16);
  if (copy.bytes && !memory.contains(copy.source, copy.bytes)) {
    report(thread.index,
           "cp_async of " + std::to_string(copy.bytes) + " bytes at device memory " + memory.describe(copy.source));
    stopped = true;
    return;
  }
  std::memcpy(target, copy.source, copy.bytes);
}

// Copies chosen by `which` are complete: their words belong to the accesses of `epoch`.
void CudaBlock::settle(CudaThread &thread, const std::function<bool(const CudaCopy &)> &which, uint32_t epoch) {
  while (!thread.copies.empty() && which(thread.copies.front())) {
    CudaCopy &copy = thread.copies.front();
    copyNow(thread, copy);
    shared.endAsyncWrite(copy.offset, 16, epoch, /*asyncProxy=*/false);
    thread.copies.pop_front();
  }
}

// The copy happens now or when something waits for it.
void CudaBlock::startCopy(CudaThread &thread, const uint64_t *operands) {
  CudaCopy copy;
  copy.offset = sharedOffset(operands[0], 16, 16, "cp_async to");
  copy.source = reinterpret_cast<const void *>(operands[1]);
  copy.bytes = uint32_t(operands[2]);
  copy.group = thread.groups;
  copy.sequence = thread.sequence++;
  if (copy.bytes > 16)
    stop("cp_async of " + std::to_string(copy.bytes) + " bytes; 0 to 16 are possible");
  if (copy.bytes && operands[1] % 16)
    stop("cp_async from an address that is not a multiple of 16");
  checkEarlyRead(thread.index, copy.source, copy.bytes);
  shared.beginAsyncWrite(thread.index, copy.offset, 16, "cp_async writes");
  if (random(2))
    copyNow(thread, copy);
  thread.copies.push_back(copy);
}

// The thread goes on; it arrives at the mbarrier once the copies it has started so far are complete.
void CudaBlock::arriveAfterCopies(CudaThread &thread, CudaBarrierState &state) {
  uint64_t sequence = thread.sequence;
  uint32_t epoch = clocks.epoch(thread.index);
  clocks.advance(thread.index);
  later(64, [this, &thread, &state, sequence, epoch] {
    settle(thread, [&](const CudaCopy &copy) { return copy.sequence < sequence; }, epoch);
    clocks.releaseEpoch(epoch, state.arriving);
    arrive(state, thread.index);
  });
}

void CudaBlock::cpAsync(const CudaInstruction &instruction, const uint64_t *operands) {
  CudaThread &thread = *current;
  switch (instruction.opcode) {
  case CudaOpcode::CpAsync:
    startCopy(thread, operands);
    break;
  case CudaOpcode::CpAsyncCommit:
    ++thread.groups;
    break;
  case CudaOpcode::CpAsyncWait: {
    uint64_t kept = instruction.n;
    settle(thread, [&](const CudaCopy &copy) { return copy.group + kept < thread.groups; }, clocks.epoch(thread.index));
    break;
  }
  default: // cp_async_arrive
    arriveAfterCopies(thread, mbarrierAt(operands[0], "cp_async_arrive at"));
  }
  while (stopped)
    thread.fibre.leave();
}

// Element {x + i, y + j, z + k} of the tensor -> byte ((k*box_y + j)*box_x + i)*size of the box, swizzled; elements
// outside the tensor are zeros.
void CudaBlock::tmaCopy(const CudaTensorMap &map, const int32_t origin[3], uint32_t offset, unsigned thread,
                        bool early) {
  uint32_t size = map.elementBytes, rowBytes = map.box[0] * size, row = 0;
  for (uint32_t k = 0; k < map.box[2]; ++k)
    for (uint32_t j = 0; j < map.box[1]; ++j, ++row) {
      int64_t x = origin[0], y = int64_t(origin[1]) + j, z = int64_t(origin[2]) + k;
      bool inside = y >= 0 && z >= 0 && y < int64_t(map.dims[1]) && z < int64_t(map.dims[2]);
      int64_t first = std::max<int64_t>(x, 0), end = std::min<int64_t>(x + map.box[0], int64_t(map.dims[0]));
      unsigned char line[256 * 8] = {};
      if (inside && first < end) {
        uint64_t source =
            map.base + uint64_t(z) * map.strides[1] + uint64_t(y) * map.strides[0] + uint64_t(first) * size;
        auto *bytes = reinterpret_cast<const char *>(source);
        size_t count = size_t(end - first) * size;
        if (!memory.contains(bytes, count)) {
          report(thread, "tma_load_3d reads device memory " + memory.describe(bytes));
          stopped = true;
          return;
        }
        if (early && memory.storedBy(bytes, count, launch.number - 1))
          report(thread, "tma_load_3d reads device memory that the launch before stores to, before grid_wait");
        std::memcpy(line + size_t(first - x) * size, bytes, count);
      }
      for (uint32_t chunk = 0; chunk < rowBytes; chunk += 16)
        std::memcpy(shared.at(swizzleAddress(offset + row * rowBytes + chunk, map.swizzleBytes)), line + chunk, 16);
    }
}

void CudaBlock::tmaLoad(const uint64_t *operands) {
  auto *map = reinterpret_cast<const CudaTensorMap *>(operands[1]);
  if (operands[1] % 64)
    stop("tma_load_3d with a tensor map that is not 64-byte aligned");
  if (map->magic != CudaTensorMap::validMagic || map->rank != 3)
    stop("tma_load_3d with something other than a tensor map of 3 dimensions");
  CudaTensorMap copy = *map;
  uint32_t bytes = copy.boxBytes(), align = copy.swizzleBytes ? copy.swizzleBytes * 8u : 128u;
  uint32_t offset = sharedOffset(operands[0], bytes, align, "tma_load_3d to");
  CudaBarrierState &state = mbarrierAt(operands[5], "tma_load_3d completes at");
  unsigned thread = current->index;
  if (!state.fenced)
    report(thread, "tma_load_3d completes at the mbarrier at " + std::to_string(state.offset) +
                       ", whose initialisation no fence_mbar_init or fence_async followed");
  state.fenced = true;
  shared.beginAsyncWrite(thread, offset, bytes, "tma_load_3d writes");
  int32_t x = int32_t(operands[2]), y = int32_t(operands[3]), z = int32_t(operands[4]);
  bool early = !current->waited;
  later(200, [this, copy, offset, bytes, thread, early, x, y, z, &state] {
    const int32_t origin[3] = {x, y, z};
    tmaCopy(copy, origin, offset, thread, early);
    unsigned actor = clocks.engineActor(state.offset / 8);
    uint32_t epoch = clocks.epoch(actor);
    clocks.advance(actor);
    shared.endAsyncWrite(offset, bytes, epoch, /*asyncProxy=*/true);
    clocks.releaseEpoch(epoch, state.arriving);
    state.bytes -= bytes;
    completeIfDone(state);
  });
}

} // namespace moec
