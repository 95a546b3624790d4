// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Synchronisation events of one block -> which earlier accesses are ordered before a thread's next one.
//
// Vector clocks. Actors are the threads, 16 lanes of the TMA engine (one per mbarrier slot modulo 16), and the tensor
// core of each warp. An epoch names one access: actor and that actor's clock. Thread t is ordered after epoch (u, c)
// when
//
//     u == t  or  c <= floor[u]  or  c <= known[t][u]
//
// `floor` is what every thread has known since the last barrier of the whole block, so that such a barrier costs O(n).
// `fenced` is the same relation for "visible to the asynchronous proxy": fence.proxy.async of thread t makes
// fenced[t] = known[t], and every synchronisation hands it on like `known`.

#ifndef MOEC_CODEGEN_EMULATE_CUDACLOCKS_H
#define MOEC_CODEGEN_EMULATE_CUDACLOCKS_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moec {

// What an arrival leaves at a synchronisation object and a wait takes from it.
struct CudaClock {
  std::vector<int32_t> known, fenced;
  bool hasFenced = false;

  void clear();
  void merge(const CudaClock &other);
};

class CudaClocks {
public:
  static constexpr unsigned clockBits = 21, numEngines = 16;

  // Everything is forgotten; clocks start at 1 and epoch 0 means "no access".
  void reset(unsigned threads);

  unsigned engineActor(unsigned lane) const { return numThreads + lane % numEngines; }
  unsigned tensorActor(unsigned warp) const { return numThreads + numEngines + warp; }
  bool isThread(uint32_t epoch) const { return actorOf(epoch) < numThreads; }
  static unsigned actorOf(uint32_t epoch) { return epoch >> clockBits; }

  uint32_t epoch(unsigned actor) const { return actor << clockBits | uint32_t(now[actor]); }
  void advance(unsigned actor); // later accesses of the actor are not covered by what was released before

  bool ordered(unsigned thread, uint32_t epoch) const {
    unsigned actor = actorOf(epoch);
    int32_t clock = int32_t(epoch & ((1u << clockBits) - 1));
    return actor == thread || clock <= floor[actor] || (dirty[thread] && clock <= known[row(thread) + actor]);
  }
  bool visibleToAsyncProxy(unsigned thread, uint32_t epoch) const {
    unsigned actor = actorOf(epoch);
    int32_t clock = int32_t(epoch & ((1u << clockBits) - 1));
    return clock <= fencedFloor[actor] || (fencedDirty[thread] && clock <= fenced[row(thread) + actor]);
  }

  void release(unsigned thread, CudaClock &into);
  void acquire(unsigned thread, const CudaClock &from);
  void releaseEpoch(uint32_t epoch, CudaClock &into) const; // that one access and what its actor did before it
  void learn(unsigned thread, uint32_t epoch);              // the thread is ordered after that access
  void fence(unsigned thread);
  void barrierOfBlock();

private:
  std::size_t row(unsigned thread) const { return std::size_t(thread) * numActors; }
  int32_t *knownRow(unsigned thread);
  int32_t *fencedRow(unsigned thread);

  unsigned numThreads = 0, numActors = 0;
  std::vector<int32_t> now, floor, fencedFloor, known, fenced;
  std::vector<uint8_t> dirty, fencedDirty; // a row is meaningful only when its flag is set
};

} // namespace moec

#endif
