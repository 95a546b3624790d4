// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A kernel and its launch sizes -> its blocks, run one after another to their ends; every CUDA thread is a fibre.
//
// A thread runs natively until an instruction makes it wait. The scheduler then picks another warp at random and
// sometimes starves one for a while. Nothing polls: the thread that completes a wait wakes the waiters, so an empty
// ready list without pending asynchronous operations is a deadlock. Asynchronous copies are executed after random
// delays.

#ifndef MOEC_CODEGEN_EMULATE_CUDABLOCK_H
#define MOEC_CODEGEN_EMULATE_CUDABLOCK_H

#include "codegen/emulate/CudaFibre.h"
#include "codegen/emulate/CudaInstruction.h"
#include "codegen/emulate/CudaMemory.h"
#include "codegen/emulate/CudaShared.h"
#include "codegen/emulate/CudaTensorMap.h"

#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace moec {

// Findings of the emulator about a run: the first 8 texts that differ in more than numbers, and the total count.
class CudaFindings {
public:
  void add(std::string text);
  const std::vector<std::string> &texts() const { return kept; }
  uint64_t count() const { return total; }
  void clear();

private:
  std::vector<std::string> kept, kinds; // kinds: the texts without digits
  uint64_t total = 0;
};

// One launch. `params` as cuLaunchKernel takes them; they and the texts live until the launch ends.
struct CudaLaunch {
  const char *kernel = "";
  void (*thunk)(void **params) = nullptr;
  void **params = nullptr;
  uint32_t grid = 1, threads = 1, sharedBytes = 0;
  bool overlaps = false; // starts before the previous launch has ended; its threads wait for that themselves
  uint32_t number = 0;   // launches of the machine count from 1
};

struct CudaBarrierState;
class CudaTensorCore;

struct CudaCopy { // one cp.async
  uint32_t offset = 0, bytes = 0;
  const void *source = nullptr;
  uint64_t group = 0, sequence = 0;
  bool copied = false;
};

struct CudaThread {
  CudaFibre fibre;
  unsigned index = 0, warp = 0, lane = 0;
  bool done = false;
  bool waited = false;                  // has waited for the previous launch
  std::function<std::string()> waiting; // describes the wait; empty while the thread can run
  std::deque<CudaCopy> copies;
  uint64_t groups = 0, sequence = 0;
};

struct CudaWarp {
  uint32_t ready = 0;   // lanes that can run
  uint32_t arrived = 0; // lanes gathered at `at`
  const CudaInstruction *at = nullptr;
  const uint64_t *operands[32] = {};
  uint64_t *results[32] = {};
  uint64_t starvedUntil = 0;
};

struct CudaNamedBarrier {
  std::vector<unsigned> waiting;
  uint32_t threads = 0;
  CudaClock clock;
};

// Runs blocks of one launch at a time; one operating-system thread at a time (the arena is the process's).
class CudaBlock {
public:
  CudaBlock(uint64_t seed, CudaMemory &memory, CudaFindings &findings);
  ~CudaBlock();

  // Runs block `index` of `next`; false when a finding ended it early.
  bool run(const CudaLaunch &next, uint32_t index);
  uint64_t random(uint64_t below);
  void reseed(uint64_t seed) { generator.seed(seed); }
  void setLoopLimit(uint64_t rounds) { loopLimit = rounds; }

  // Called by compiled kernels through CudaMachine's entry points, on the fibre of the current thread.
  void execute(const CudaInstruction &instruction, uint64_t *results, const uint64_t *operands);
  void sharedAccess(const void *address, uint32_t bytes, uint32_t align, CudaAccess kind);
  void globalAccess(const void *address, uint32_t bytes, CudaAccess kind);
  void pause();
  void fault(const void *address, bool write); // on a clean stack of the current fibre
  bool inFibre() const { return current != nullptr; }
  void *stackTop() const { return current->fibre.top(); }

private:
  friend class CudaTensorCore;

  // Findings and waiting.
  void report(unsigned thread, const std::string &text);
  [[noreturn]] void stop(const std::string &text);
  void wait(std::function<std::string()> description);
  void wake(unsigned thread);
  void yieldReady();
  void checkEarlyRead(unsigned thread, const void *address, size_t bytes);
  void gridDependency(CudaOpcode opcode);
  void storeV4(const uint64_t *operands);
  uint32_t sharedOffset(uint64_t address, uint32_t bytes, uint32_t align, const char *what);

  // The scheduler (CudaBlock.cpp).
  void prepare(const CudaLaunch &next, uint32_t index);
  bool schedule();
  int pickWarp();
  void runWarp(CudaWarp &warp, unsigned first);
  void reportDeadlock();
  static void threadMain();

  // Warp instructions (CudaWarp.cpp): gather returns in the last lane to arrive, which then has the slots of all lanes;
  // scatter wakes the others.
  bool gather(const CudaInstruction &instruction, uint64_t *results, const uint64_t *operands);
  void scatter();
  void runWarpInstruction(const CudaInstruction &instruction, uint64_t *results, const uint64_t *operands);
  void shuffle(const CudaInstruction &instruction, CudaWarp &warp);

  // Barriers (CudaBarriers.cpp).
  void barrier(const CudaInstruction &instruction);
  void mbarrier(const CudaInstruction &instruction, const uint64_t *operands);
  void initMbarrier(unsigned thread, uint32_t offset, uint32_t count);
  CudaBarrierState &mbarrierAt(uint64_t address, const char *what);
  void arrive(CudaBarrierState &state, unsigned thread);
  void completeIfDone(CudaBarrierState &state);

  // Asynchronous copies (CudaAsync.cpp).
  void cpAsync(const CudaInstruction &instruction, const uint64_t *operands);
  void startCopy(CudaThread &thread, const uint64_t *operands);
  void arriveAfterCopies(CudaThread &thread, CudaBarrierState &state);
  void copyNow(CudaThread &thread, CudaCopy &copy);
  void settle(CudaThread &thread, const std::function<bool(const CudaCopy &)> &which, uint32_t epoch);
  void tmaLoad(const uint64_t *operands);
  void addToMemory(uint64_t address, float value);
  void tmaCopy(const CudaTensorMap &map, const int32_t origin[3], uint32_t offset, unsigned thread, bool early);
  void later(uint64_t most, std::function<void()> action);
  bool runEngine();

  // Matrices (CudaMatrix.cpp).
  void loadMatrices(const CudaInstruction &instruction, CudaWarp &warp);
  void storeMatrices(const CudaInstruction &instruction, CudaWarp &warp);
  void multiplyFragments(const CudaInstruction &instruction, CudaWarp &warp);

  CudaMemory &memory;
  CudaFindings &findings;
  std::mt19937_64 generator;
  CudaClocks clocks;
  CudaShared shared;
  CudaLaunch launch;
  uint32_t blockIndex = 0;
  std::vector<std::unique_ptr<CudaThread>> threads;
  std::vector<CudaWarp> warps;
  CudaThread *current = nullptr;
  unsigned live = 0;
  bool stopped = false, preempted = false;
  uint64_t tick = 0, loops = 0, loopLimit = 400u * 1000 * 1000;
  CudaNamedBarrier namedBarriers[16];
  std::map<uint32_t, std::unique_ptr<CudaBarrierState>> mbarriers; // by shared offset
  std::multimap<uint64_t, std::function<void()>> engine;           // by due tick
  std::unique_ptr<CudaTensorCore> tensorCore;
};

// Rounds of loops until pause() is due; compiled kernels count it down.
extern "C" int64_t moec_emulate_rounds;

} // namespace moec

#endif
