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
  bool has_fenced = false;

  void clear();
  void merge(const CudaClock &other);
};

class CudaClocks {
public:
  static constexpr unsigned clock_bits = 21, num_engines = 16;

  // Everything is forgotten; clocks start at 1 and epoch 0 means "no access".
  void reset(unsigned num_threads);

  unsigned engineActor(unsigned lane) const { return num_threads_ + lane % num_engines; }
  unsigned tensorActor(unsigned warp) const { return num_threads_ + num_engines + warp; }
  bool isThread(uint32_t epoch) const { return actorOf(epoch) < num_threads_; }
  static unsigned actorOf(uint32_t epoch) { return epoch >> clock_bits; }

  uint32_t epoch(unsigned actor) const { return actor << clock_bits | uint32_t(now_[actor]); }
  void advance(unsigned actor); // later accesses of the actor are not covered by what was released before

  bool ordered(unsigned thread, uint32_t epoch) const {
    unsigned actor = actorOf(epoch);
    int32_t clock = int32_t(epoch & ((1u << clock_bits) - 1));
    return actor == thread || clock <= floor_[actor] || (dirty_[thread] && clock <= known_[row(thread) + actor]);
  }
  bool visibleToAsyncProxy(unsigned thread, uint32_t epoch) const {
    unsigned actor = actorOf(epoch);
    int32_t clock = int32_t(epoch & ((1u << clock_bits) - 1));
    return clock <= fenced_floor_[actor] || (fenced_dirty_[thread] && clock <= fenced_[row(thread) + actor]);
  }

  void release(unsigned thread, CudaClock &into);
  void acquire(unsigned thread, const CudaClock &from);
  void releaseEpoch(uint32_t epoch, CudaClock &into) const; // that one access and what its actor did before it
  void learn(unsigned thread, uint32_t epoch);              // the thread is ordered after that access
  void fence(unsigned thread);
  void barrierOfBlock();

private:
  std::size_t row(unsigned thread) const { return std::size_t(thread) * num_actors_; }
  int32_t *knownRow(unsigned thread);
  int32_t *fencedRow(unsigned thread);

  unsigned num_threads_ = 0, num_actors_ = 0;
  std::vector<int32_t> now_, floor_, fenced_floor_, known_, fenced_;
  std::vector<uint8_t> dirty_, fenced_dirty_; // a row is meaningful only when its flag is set
};

} // namespace moec

#endif
