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
  if (has_fenced)
    std::fill(fenced.begin(), fenced.end(), 0);
  has_fenced = false;
}

void CudaClock::merge(const CudaClock &other) {
  known.resize(std::max(known.size(), other.known.size()));
  joinInto(known.data(), other.known.data(), other.known.size());
  if (!other.has_fenced)
    return;
  fenced.resize(std::max(fenced.size(), other.fenced.size()));
  joinInto(fenced.data(), other.fenced.data(), other.fenced.size());
  has_fenced = true;
}

void CudaClocks::reset(unsigned num_threads) {
  num_threads_ = num_threads;
  num_actors_ = num_threads + num_engines + (num_threads + 31) / 32;
  now_.assign(num_actors_, 1);
  floor_.assign(num_actors_, 0);
  fenced_floor_.assign(num_actors_, 0);
  known_.resize(std::size_t(num_threads) * num_actors_);
  fenced_.resize(std::size_t(num_threads) * num_actors_);
  dirty_.assign(num_threads, 0);
  fenced_dirty_.assign(num_threads, 0);
}

void CudaClocks::advance(unsigned actor) {
  // A clock that no longer fits stays: later accesses then look ordered, which hides races but invents none.
  if (now_[actor] < (1 << clock_bits) - 1)
    ++now_[actor];
}

int32_t *CudaClocks::knownRow(unsigned thread) {
  int32_t *values = known_.data() + row(thread);
  if (!dirty_[thread])
    std::memset(values, 0, num_actors_ * sizeof(int32_t));
  dirty_[thread] = 1;
  return values;
}

int32_t *CudaClocks::fencedRow(unsigned thread) {
  int32_t *values = fenced_.data() + row(thread);
  if (!fenced_dirty_[thread])
    std::memset(values, 0, num_actors_ * sizeof(int32_t));
  fenced_dirty_[thread] = 1;
  return values;
}

void CudaClocks::release(unsigned thread, CudaClock &into) {
  into.known.resize(num_actors_);
  if (dirty_[thread])
    joinInto(into.known.data(), known_.data() + row(thread), num_actors_);
  into.known[thread] = now_[thread];
  if (fenced_dirty_[thread]) {
    into.fenced.resize(num_actors_);
    joinInto(into.fenced.data(), fenced_.data() + row(thread), num_actors_);
    into.has_fenced = true;
  }
  advance(thread);
}

void CudaClocks::acquire(unsigned thread, const CudaClock &from) {
  joinInto(knownRow(thread), from.known.data(), from.known.size());
  if (from.has_fenced)
    joinInto(fencedRow(thread), from.fenced.data(), from.fenced.size());
}

void CudaClocks::releaseEpoch(uint32_t epoch, CudaClock &into) const {
  into.known.resize(num_actors_);
  int32_t &clock = into.known[actorOf(epoch)];
  clock = std::max(clock, int32_t(epoch & ((1u << clock_bits) - 1)));
}

void CudaClocks::learn(unsigned thread, uint32_t epoch) {
  int32_t &clock = knownRow(thread)[actorOf(epoch)];
  clock = std::max(clock, int32_t(epoch & ((1u << clock_bits) - 1)));
}

void CudaClocks::fence(unsigned thread) {
  int32_t *fenced = fencedRow(thread);
  joinInto(fenced, floor_.data(), num_actors_);
  if (dirty_[thread])
    joinInto(fenced, known_.data() + row(thread), num_actors_);
  fenced[thread] = now_[thread];
  advance(thread);
}

void CudaClocks::barrierOfBlock() {
  for (unsigned thread = 0; thread < num_threads_; ++thread) {
    if (dirty_[thread])
      for (unsigned actor = num_threads_; actor < num_actors_; ++actor)
        floor_[actor] = std::max(floor_[actor], known_[row(thread) + actor]);
    if (fenced_dirty_[thread])
      joinInto(fenced_floor_.data(), fenced_.data() + row(thread), num_actors_);
    dirty_[thread] = fenced_dirty_[thread] = 0;
  }
  for (unsigned thread = 0; thread < num_threads_; ++thread) {
    floor_[thread] = now_[thread];
    advance(thread);
  }
}

} // namespace moec
