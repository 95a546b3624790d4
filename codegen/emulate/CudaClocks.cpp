// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Vector clocks: joins are element-wise maxima, written so that compilers vectorise them.

#include "codegen/emulate/CudaClocks.h"

#include <algorithm>
#include <cstring>

namespace moec {

static void joinInto(int32_t *into, const int32_t *from, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    into[i] = into[i] < from[i] ? from[i] : into[i];
}

void CudaClock::clear() {
  std::fill(known.begin(), known.end(), 0);
  if (hasFenced)
    std::fill(fenced.begin(), fenced.end(), 0);
  hasFenced = false;
}

void CudaClock::merge(const CudaClock &other) {
  known.resize(std::max(known.size(), other.known.size()));
  joinInto(known.data(), other.known.data(), other.known.size());
  if (!other.hasFenced)
    return;
  fenced.resize(std::max(fenced.size(), other.fenced.size()));
  joinInto(fenced.data(), other.fenced.data(), other.fenced.size());
  hasFenced = true;
}

void CudaClocks::reset(unsigned threads) {
  numThreads = threads;
  numActors = threads + numEngines + (threads + 31) / 32;
  now.assign(numActors, 1);
  floor.assign(numActors, 0);
  fencedFloor.assign(numActors, 0);
  known.resize(std::size_t(threads) * numActors);
  fenced.resize(std::size_t(threads) * numActors);
  dirty.assign(threads, 0);
  fencedDirty.assign(threads, 0);
}

void CudaClocks::advance(unsigned actor) {
  // A clock that no longer fits stays: later accesses then look ordered, which hides races but invents none.
  if (now[actor] < (1 << clockBits) - 1)
    ++now[actor];
}

int32_t *CudaClocks::knownRow(unsigned thread) {
  int32_t *values = known.data() + row(thread);
  if (!dirty[thread])
    std::memset(values, 0, numActors * sizeof(int32_t));
  dirty[thread] = 1;
  return values;
}

int32_t *CudaClocks::fencedRow(unsigned thread) {
  int32_t *values = fenced.data() + row(thread);
  if (!fencedDirty[thread])
    std::memset(values, 0, numActors * sizeof(int32_t));
  fencedDirty[thread] = 1;
  return values;
}

void CudaClocks::release(unsigned thread, CudaClock &into) {
  into.known.resize(numActors);
  if (dirty[thread])
    joinInto(into.known.data(), known.data() + row(thread), numActors);
  into.known[thread] = now[thread];
  if (fencedDirty[thread]) {
    into.fenced.resize(numActors);
    joinInto(into.fenced.data(), fenced.data() + row(thread), numActors);
    into.hasFenced = true;
  }
  advance(thread);
}

void CudaClocks::acquire(unsigned thread, const CudaClock &from) {
  joinInto(knownRow(thread), from.known.data(), from.known.size());
  if (from.hasFenced)
    joinInto(fencedRow(thread), from.fenced.data(), from.fenced.size());
}

void CudaClocks::releaseEpoch(uint32_t epoch, CudaClock &into) const {
  into.known.resize(numActors);
  int32_t &clock = into.known[actorOf(epoch)];
  clock = std::max(clock, int32_t(epoch & ((1u << clockBits) - 1)));
}

void CudaClocks::learn(unsigned thread, uint32_t epoch) {
  int32_t &clock = knownRow(thread)[actorOf(epoch)];
  clock = std::max(clock, int32_t(epoch & ((1u << clockBits) - 1)));
}

void CudaClocks::fence(unsigned thread) {
  int32_t *visible = fencedRow(thread);
  joinInto(visible, floor.data(), numActors);
  if (dirty[thread])
    joinInto(visible, known.data() + row(thread), numActors);
  visible[thread] = now[thread];
  advance(thread);
}

void CudaClocks::barrierOfBlock() {
  for (unsigned thread = 0; thread < numThreads; ++thread) {
    if (dirty[thread])
      for (unsigned actor = numThreads; actor < numActors; ++actor)
        floor[actor] = std::max(floor[actor], known[row(thread) + actor]);
    if (fencedDirty[thread])
      joinInto(fencedFloor.data(), fenced.data() + row(thread), numActors);
    dirty[thread] = fencedDirty[thread] = 0;
  }
  for (unsigned thread = 0; thread < numThreads; ++thread) {
    floor[thread] = now[thread];
    advance(thread);
  }
}

} // namespace moec
