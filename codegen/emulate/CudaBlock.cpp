// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The scheduler of a block: random warps, starvation, engine events, deadlock reports; and the dispatch of
// instructions.

#include "codegen/emulate/CudaBlock.h"

#include "codegen/emulate/CudaFloats.h"
#include "codegen/emulate/CudaMbarrier.h"
#include "codegen/emulate/CudaTensorCore.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

extern "C" {
int64_t moec_emulate_rounds = 0;
}

namespace moec {

static constexpr int64_t roundsPerTurn = 4096;
static CudaBlock *running = nullptr; // for threadMain, which takes no argument

void CudaFindings::add(std::string text) {
  ++total;
  if (kept.size() == 8)
    return;
  std::string kind;
  std::copy_if(text.begin(), text.end(), std::back_inserter(kind), [](char c) { return c < '0' || c > '9'; });
  if (std::find(kinds.begin(), kinds.end(), kind) != kinds.end())
    return;
  kinds.push_back(std::move(kind));
  kept.push_back(std::move(text));
}

void CudaFindings::clear() {
  kept.clear();
  kinds.clear();
  total = 0;
}

CudaBlock::CudaBlock(uint64_t seed, CudaMemory &memory, CudaFindings &findings)
    : memory(memory), findings(findings), generator(seed),
      shared(clocks, [this](unsigned thread, std::string text) { report(thread, text); }),
      tensorCore(std::make_unique<CudaTensorCore>(*this)) {}

CudaBlock::~CudaBlock() = default;

uint64_t CudaBlock::random(uint64_t below) { return below ? generator() % below : 0; }

void CudaBlock::report(unsigned thread, const std::string &text) {
  findings.add("kernel " + std::string(launch.kernel) + ", block " + std::to_string(blockIndex) + ", thread " +
               std::to_string(thread) + ": " + text);
}

void CudaBlock::stop(const std::string &text) {
  report(current->index, text);
  stopped = true;
  for (;;)
    current->fibre.leave();
}

void CudaBlock::wait(std::function<std::string()> description) {
  CudaThread *thread = current;
  thread->waiting = std::move(description);
  warps[thread->warp].ready &= ~(1u << thread->lane);
  thread->fibre.leave();
}

void CudaBlock::wake(unsigned index) {
  CudaThread &thread = *threads[index];
  thread.waiting = nullptr;
  warps[thread.warp].ready |= 1u << thread.lane;
}

void CudaBlock::yieldReady() {
  preempted = true;
  current->fibre.leave();
}

void CudaBlock::pause() {
  moec_emulate_rounds = roundsPerTurn;
  loops += roundsPerTurn;
  if (loops > loopLimit)
    stop("the block's loops ran " + std::to_string(loopLimit) + " rounds without an end");
  yieldReady();
}

void CudaBlock::threadMain() {
  CudaBlock *block = running;
  block->launch.thunk(block->launch.params);
  block->current->done = true;
  CudaThread *thread = block->current;
  block->warps[thread->warp].ready &= ~(1u << thread->lane);
  --block->live;
  for (;;)
    thread->fibre.leave();
}

void CudaBlock::prepare(const CudaLaunch &next, uint32_t index) {
  launch = next;
  blockIndex = index;
  stopped = preempted = false;
  tick = loops = 0;
  current = nullptr;
  engine.clear();
  mbarriers.clear();
  for (CudaNamedBarrier &barrier : namedBarriers)
    barrier = CudaNamedBarrier();
  clocks.reset(launch.threads);
  shared.reset(launch.sharedBytes);
  warps.assign((launch.threads + 31) / 32, CudaWarp());
  tensorCore->reset((launch.threads + 127) / 128);
  while (threads.size() < launch.threads)
    threads.push_back(std::make_unique<CudaThread>());
  for (unsigned i = 0; i < launch.threads; ++i) {
    CudaThread &thread = *threads[i];
    thread.index = i;
    thread.warp = i / 32;
    thread.lane = i % 32;
    thread.done = false;
    thread.waited = !launch.overlaps;
    thread.waiting = nullptr;
    thread.copies.clear();
    thread.groups = thread.sequence = 0;
    if (!thread.fibre.reserve(i)) {
      report(i, "no memory for the thread's stack");
      stopped = true;
      return;
    }
    thread.fibre.start(threadMain);
    warps[i / 32].ready |= 1u << (i % 32);
  }
  live = launch.threads;
}

bool CudaBlock::run(const CudaLaunch &next, uint32_t index) {
  prepare(next, index);
  running = this;
  bool completed = !stopped && schedule();
  running = nullptr;
  current = nullptr;
  if (completed && !engine.empty())
    report(0, "the block ended while " + std::to_string(engine.size()) + " asynchronous operations were under way");
  engine.clear();
  return completed;
}

int CudaBlock::pickWarp() {
  unsigned ready[32], starved[32], numReady = 0, numStarved = 0;
  for (unsigned i = 0; i < warps.size(); ++i)
    if (warps[i].ready && warps[i].starvedUntil > tick)
      starved[numStarved++] = i;
    else if (warps[i].ready)
      ready[numReady++] = i;
  if (random(16) == 0)
    warps[random(warps.size())].starvedUntil = tick + random(64);
  if (numReady)
    return int(ready[random(numReady)]);
  return numStarved ? int(starved[random(numStarved)]) : -1;
}

void CudaBlock::runWarp(CudaWarp &warp, unsigned first) {
  unsigned turn = unsigned(random(32));
  preempted = false;
  for (unsigned i = 0; i < 32 && !stopped && !preempted; ++i) {
    unsigned lane = (turn + i) % 32;
    if (!(warp.ready >> lane & 1u))
      continue;
    current = threads[first + lane].get();
    moec_emulate_rounds = roundsPerTurn;
    current->fibre.enter();
    current = nullptr;
  }
}

bool CudaBlock::schedule() {
  while (live && !stopped) {
    ++tick;
    runEngine();
    if (stopped)
      break;
    int picked = pickWarp();
    if (picked >= 0) {
      runWarp(warps[picked], unsigned(picked) * 32);
    } else if (!engine.empty()) {
      tick = std::max(tick, engine.begin()->first);
    } else {
      reportDeadlock();
      return false;
    }
  }
  return !stopped;
}

// "0-31, 64" of ascending numbers.
static std::string rangesOf(const std::vector<unsigned> &numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size();) {
    size_t end = i + 1;
    while (end < numbers.size() && numbers[end] == numbers[end - 1] + 1)
      ++end;
    text += (text.empty() ? "" : ", ") + std::to_string(numbers[i]);
    if (end - i > 1)
      text += "-" + std::to_string(numbers[end - 1]);
    i = end;
  }
  return text;
}

void CudaBlock::reportDeadlock() {
  std::map<std::string, std::vector<unsigned>> waits;
  unsigned returned = 0;
  for (unsigned i = 0; i < launch.threads; ++i) {
    if (threads[i]->done)
      ++returned;
    else if (threads[i]->waiting)
      waits[threads[i]->waiting()].push_back(i);
  }
  std::string text = "kernel " + std::string(launch.kernel) + ", block " + std::to_string(blockIndex) + ": deadlock";
  for (auto &[what, waiting] : waits)
    text += "; threads " + rangesOf(waiting) + " wait at " + what;
  if (returned)
    text += "; " + std::to_string(returned) + " threads returned";
  findings.add(text);
}

// An address as an inline-asm operand has it, 64 bits or its low 32 -> the offset; a finding ends the block.
uint32_t CudaBlock::sharedOffset(uint64_t address, uint32_t bytes, uint32_t align, const char *what) {
  uint64_t arena = reinterpret_cast<uint64_t>(cudaSharedArena());
  int64_t offset = address >> 32 ? int64_t(address - arena) : int64_t(int32_t(address));
  if (offset < 0 || !shared.within(uint64_t(offset), bytes))
    stop(std::string(what) + " " + std::to_string(bytes) + " bytes at shared offset " + std::to_string(offset) +
         ", outside the block's " + std::to_string(shared.bytes()) + " bytes");
  if (offset % align)
    stop(std::string(what) + " shared offset " + std::to_string(offset) + ", which is not a multiple of " +
         std::to_string(align));
  return uint32_t(offset);
}

void CudaBlock::sharedAccess(const void *address, uint32_t bytes, uint32_t align, CudaAccess kind) {
  const char *what = kind == CudaAccess::Read ? "reads" : kind == CudaAccess::Write ? "writes" : "atomically updates";
  uint32_t offset = sharedOffset(reinterpret_cast<uint64_t>(address), bytes, align, what);
  shared.access(current->index, offset, bytes, kind, what);
}

// Before its wait a thread may read what no one writes any more, and store nothing.
void CudaBlock::globalAccess(const void *address, uint32_t bytes, CudaAccess kind) {
  if (kind == CudaAccess::Read)
    return checkEarlyRead(current->index, address, bytes);
  if (!current->waited)
    report(current->index, "stores to device memory before grid_wait");
  memory.noteStore(address, bytes, launch.number);
}

void CudaBlock::checkEarlyRead(unsigned thread, const void *address, size_t bytes) {
  if (!threads[thread]->waited && memory.storedBy(address, bytes, launch.number - 1))
    report(thread, "reads device memory that the launch before stores to, before grid_wait");
}

// What a launch reads before its own wait relies on the launch before having waited for its predecessor first.
void CudaBlock::gridDependency(CudaOpcode opcode) {
  if (opcode == CudaOpcode::GridWait)
    current->waited = true;
  else if (!current->waited)
    report(current->index, "grid_launch before grid_wait");
}

void CudaBlock::fault(const void *address, bool write) {
  bool overflow = current->fibre.ownsAddress(address);
  stop(overflow ? std::string("the thread's stack overflowed")
                : (write ? "writes device memory " : "reads device memory ") + memory.describe(address));
}

void CudaBlock::storeV4(const uint64_t *operands) {
  if (operands[0] % 16)
    stop("store_v4 to an address that is not a multiple of 16");
  auto *to = reinterpret_cast<uint32_t *>(operands[0]);
  globalAccess(to, 16, CudaAccess::Write);
  for (unsigned i = 0; i < 4; ++i)
    to[i] = uint32_t(operands[i + 1]);
}

// One addition after the other, in the order in which threads come by; subnormals are zeros of their sign.
void CudaBlock::addToMemory(uint64_t address, float value) {
  if (address % 4)
    stop("red_add_f32 to an address that is not a multiple of 4");
  globalAccess(reinterpret_cast<const void *>(address), 4, CudaAccess::Atomic);
  auto flushed = [](float x) { return std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0f, x) : x; };
  float *to = reinterpret_cast<float *>(address);
  *to = flushed(flushed(*to) + flushed(value));
}

void CudaBlock::execute(const CudaInstruction &instruction, uint64_t *results, const uint64_t *operands) {
  switch (instruction.opcode) {
  case CudaOpcode::Tid:
    results[0] = current->index;
    return;
  case CudaOpcode::Ctaid:
    results[0] = blockIndex;
    return;
  case CudaOpcode::Nctaid:
    results[0] = launch.grid;
    return;
  case CudaOpcode::Barrier:
    return barrier(instruction);
  case CudaOpcode::CpAsync:
  case CudaOpcode::CpAsyncCommit:
  case CudaOpcode::CpAsyncWait:
  case CudaOpcode::CpAsyncArrive:
    return cpAsync(instruction, operands);
  case CudaOpcode::MbarInit:
  case CudaOpcode::MbarArrive:
  case CudaOpcode::MbarExpect:
  case CudaOpcode::MbarWait:
  case CudaOpcode::FenceMbarInit:
  case CudaOpcode::FenceAsync:
    return mbarrier(instruction, operands);
  case CudaOpcode::TmaLoad3d:
    return tmaLoad(operands);
  case CudaOpcode::TmaPrefetch:
    if (reinterpret_cast<const CudaTensorMap *>(operands[0])->magic != CudaTensorMap::validMagic)
      stop("tma_prefetch of something other than a tensor map");
    return;
  case CudaOpcode::Wgmma:
  case CudaOpcode::WgmmaFence:
  case CudaOpcode::WgmmaCommit:
    return tensorCore->execute(instruction, results, operands);
  case CudaOpcode::GridWait:
  case CudaOpcode::GridLaunch:
    return gridDependency(instruction.opcode);
  case CudaOpcode::FenceAsyncGlobal:
    return;
  case CudaOpcode::StoreV4:
    return storeV4(operands);
  case CudaOpcode::RedAddF32:
    return addToMemory(operands[0] + instruction.n, floatOfBits(uint32_t(operands[1])));
  default:
    return runWarpInstruction(instruction, results, operands);
  }
}

} // namespace moec
