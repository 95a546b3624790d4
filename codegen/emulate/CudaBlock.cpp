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

static constexpr int64_t rounds_per_turn = 4096;
static CudaBlock *running = nullptr; // for threadMain, which takes no argument

void CudaFindings::add(std::string text) {
  ++count_;
  if (texts_.size() == 8)
    return;
  std::string kind;
  std::copy_if(text.begin(), text.end(), std::back_inserter(kind), [](char c) { return c < '0' || c > '9'; });
  if (std::find(kinds_.begin(), kinds_.end(), kind) != kinds_.end())
    return;
  kinds_.push_back(std::move(kind));
  texts_.push_back(std::move(text));
}

void CudaFindings::clear() {
  texts_.clear();
  kinds_.clear();
  count_ = 0;
}

CudaBlock::CudaBlock(uint64_t seed, CudaMemory &memory, CudaFindings &findings)
    : memory_(memory), findings_(findings), random_(seed),
      shared_(clocks_, [this](unsigned thread, std::string text) { report(thread, text); }),
      tensor_core_(std::make_unique<CudaTensorCore>(*this)) {}

CudaBlock::~CudaBlock() = default;

uint64_t CudaBlock::random(uint64_t below) { return below ? random_() % below : 0; }

void CudaBlock::report(unsigned thread, const std::string &text) {
  findings_.add("kernel " + std::string(launch_.kernel) + ", block " + std::to_string(block_index_) + ", thread " +
                std::to_string(thread) + ": " + text);
}

void CudaBlock::stop(const std::string &text) {
  report(current_->index, text);
  stopped_ = true;
  for (;;)
    current_->fibre.leave();
}

void CudaBlock::wait(std::function<std::string()> description) {
  CudaThread *thread = current_;
  thread->waiting = std::move(description);
  warps_[thread->warp].ready &= ~(1u << thread->lane);
  thread->fibre.leave();
}

void CudaBlock::wake(unsigned index) {
  CudaThread &thread = *threads_[index];
  thread.waiting = nullptr;
  warps_[thread.warp].ready |= 1u << thread.lane;
}

void CudaBlock::yieldReady() {
  preempted_ = true;
  current_->fibre.leave();
}

void CudaBlock::pause() {
  moec_emulate_rounds = rounds_per_turn;
  loops_ += rounds_per_turn;
  if (loops_ > loop_limit_)
    stop("the block's loops ran " + std::to_string(loop_limit_) + " rounds without an end");
  yieldReady();
}

void CudaBlock::threadMain() {
  CudaBlock *block = running;
  block->launch_.thunk(block->launch_.params);
  block->current_->done = true;
  CudaThread *thread = block->current_;
  block->warps_[thread->warp].ready &= ~(1u << thread->lane);
  --block->live_;
  for (;;)
    thread->fibre.leave();
}

void CudaBlock::prepare(const CudaLaunch &launch, uint32_t block_index) {
  launch_ = launch;
  block_index_ = block_index;
  stopped_ = preempted_ = false;
  tick_ = loops_ = 0;
  current_ = nullptr;
  engine_.clear();
  mbarriers_.clear();
  for (CudaNamedBarrier &barrier : named_)
    barrier = CudaNamedBarrier();
  clocks_.reset(launch.threads);
  shared_.reset(launch.shared_bytes);
  warps_.assign((launch.threads + 31) / 32, CudaWarp());
  tensor_core_->reset((launch.threads + 127) / 128);
  while (threads_.size() < launch.threads)
    threads_.push_back(std::make_unique<CudaThread>());
  for (unsigned i = 0; i < launch.threads; ++i) {
    CudaThread &thread = *threads_[i];
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
      stopped_ = true;
      return;
    }
    thread.fibre.start(threadMain);
    warps_[i / 32].ready |= 1u << (i % 32);
  }
  live_ = launch.threads;
}

bool CudaBlock::run(const CudaLaunch &launch, uint32_t block_index) {
  prepare(launch, block_index);
  running = this;
  bool completed = !stopped_ && schedule();
  running = nullptr;
  current_ = nullptr;
  if (completed && !engine_.empty())
    report(0, "the block ended while " + std::to_string(engine_.size()) + " asynchronous operations were under way");
  engine_.clear();
  return completed;
}

int CudaBlock::pickWarp() {
  unsigned ready[32], starved[32], num_ready = 0, num_starved = 0;
  for (unsigned i = 0; i < warps_.size(); ++i)
    if (warps_[i].ready)
      (warps_[i].starved_until > tick_ ? starved[num_starved++] : ready[num_ready++]) = i;
  if (random(16) == 0)
    warps_[random(warps_.size())].starved_until = tick_ + random(64);
  if (num_ready)
    return int(ready[random(num_ready)]);
  return num_starved ? int(starved[random(num_starved)]) : -1;
}

void CudaBlock::runWarp(CudaWarp &warp, unsigned first) {
  unsigned turn = unsigned(random(32));
  preempted_ = false;
  for (unsigned i = 0; i < 32 && !stopped_ && !preempted_; ++i) {
    unsigned lane = (turn + i) % 32;
    if (!(warp.ready >> lane & 1u))
      continue;
    current_ = threads_[first + lane].get();
    moec_emulate_rounds = rounds_per_turn;
    current_->fibre.enter();
    current_ = nullptr;
  }
}

bool CudaBlock::schedule() {
  while (live_ && !stopped_) {
    ++tick_;
    runEngine();
    if (stopped_)
      break;
    int picked = pickWarp();
    if (picked >= 0) {
      runWarp(warps_[picked], unsigned(picked) * 32);
    } else if (!engine_.empty()) {
      tick_ = std::max(tick_, engine_.begin()->first);
    } else {
      reportDeadlock();
      return false;
    }
  }
  return !stopped_;
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
  for (unsigned i = 0; i < launch_.threads; ++i) {
    if (threads_[i]->done)
      ++returned;
    else if (threads_[i]->waiting)
      waits[threads_[i]->waiting()].push_back(i);
  }
  std::string text = "kernel " + std::string(launch_.kernel) + ", block " + std::to_string(block_index_) + ": deadlock";
  for (auto &[what, threads] : waits)
    text += "; threads " + rangesOf(threads) + " wait at " + what;
  if (returned)
    text += "; " + std::to_string(returned) + " threads returned";
  findings_.add(text);
}

// An address as an inline-asm operand has it, 64 bits or its low 32 -> the offset; a finding ends the block.
uint32_t CudaBlock::sharedOffset(uint64_t address, uint32_t bytes, uint32_t align, const char *what) {
  uint64_t arena = reinterpret_cast<uint64_t>(cudaSharedArena());
  int64_t offset = address >> 32 ? int64_t(address - arena) : int64_t(int32_t(address));
  if (offset < 0 || !shared_.within(uint64_t(offset), bytes))
    stop(std::string(what) + " " + std::to_string(bytes) + " bytes at shared offset " + std::to_string(offset) +
         ", outside the block's " + std::to_string(shared_.bytes()) + " bytes");
  if (offset % align)
    stop(std::string(what) + " shared offset " + std::to_string(offset) + ", which is not a multiple of " +
         std::to_string(align));
  return uint32_t(offset);
}

void CudaBlock::sharedAccess(const void *address, uint32_t bytes, uint32_t align, CudaAccess kind) {
  const char *what = kind == CudaAccess::Read ? "reads" : kind == CudaAccess::Write ? "writes" : "atomically updates";
  uint32_t offset = sharedOffset(reinterpret_cast<uint64_t>(address), bytes, align, what);
  shared_.access(current_->index, offset, bytes, kind, what);
}

// Before its wait a thread may read what no one writes any more, and store nothing.
void CudaBlock::globalAccess(const void *address, uint32_t bytes, CudaAccess kind) {
  if (kind == CudaAccess::Read)
    return checkEarlyRead(current_->index, address, bytes);
  if (!current_->waited)
    report(current_->index, "stores to device memory before grid_wait");
  memory_.noteStore(address, bytes, launch_.number);
}

void CudaBlock::checkEarlyRead(unsigned thread, const void *address, size_t bytes) {
  if (!threads_[thread]->waited && memory_.storedBy(address, bytes, launch_.number - 1))
    report(thread, "reads device memory that the launch before stores to, before grid_wait");
}

// What a launch reads before its own wait relies on the launch before having waited for its predecessor first.
void CudaBlock::gridDependency(CudaOpcode opcode) {
  if (opcode == CudaOpcode::GridWait)
    current_->waited = true;
  else if (!current_->waited)
    report(current_->index, "grid_launch before grid_wait");
}

void CudaBlock::fault(const void *address, bool write) {
  bool overflow = current_->fibre.ownsAddress(address);
  stop(overflow ? std::string("the thread's stack overflowed")
                : (write ? "writes device memory " : "reads device memory ") + memory_.describe(address));
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
    results[0] = current_->index;
    return;
  case CudaOpcode::Ctaid:
    results[0] = block_index_;
    return;
  case CudaOpcode::Nctaid:
    results[0] = launch_.grid;
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
    if (reinterpret_cast<const CudaTensorMap *>(operands[0])->magic != CudaTensorMap::valid_magic)
      stop("tma_prefetch of something other than a tensor map");
    return;
  case CudaOpcode::Wgmma:
  case CudaOpcode::WgmmaFence:
  case CudaOpcode::WgmmaCommit:
    return tensor_core_->execute(instruction, results, operands);
  case CudaOpcode::GridWait:
  case CudaOpcode::GridLaunch:
    return gridDependency(instruction.opcode);
  case CudaOpcode::FenceAsyncGlobal:
    return;
  case CudaOpcode::StoreV4:
    if (operands[0] % 16)
      stop("store_v4 to an address that is not a multiple of 16");
    globalAccess(reinterpret_cast<const void *>(operands[0]), 16, CudaAccess::Write);
    for (unsigned i = 0; i < 4; ++i)
      reinterpret_cast<uint32_t *>(operands[0])[i] = uint32_t(operands[i + 1]);
    return;
  case CudaOpcode::RedAddF32:
    return addToMemory(operands[0] + instruction.n, floatOfBits(uint32_t(operands[1])));
  default:
    return runWarpInstruction(instruction, results, operands);
  }
}

} // namespace moec
