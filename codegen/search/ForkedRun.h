// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Work that may crash or never return -> how it ended. The work runs in a child process on a copy of this process's
// memory, so nothing that it writes reaches the caller, except what it writes to a SharedArray.
//
// The child ends with this process, however that ends, writes no core file and never flushes the caller's streams.

#ifndef MOEC_CODEGEN_SEARCH_FORKEDRUN_H
#define MOEC_CODEGEN_SEARCH_FORKEDRUN_H

#include "dsl/text/Result.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>

namespace moec {

void *sharedPages(size_t bytes); // zero-filled, the same memory in a forked child; null: no memory
void freeSharedPages(void *pages, size_t bytes);

// Values that parent and child share; zero bits must be a value of T.
template <class T> class SharedArray {
  static_assert(std::is_trivially_destructible_v<T>);

public:
  explicit SharedArray(size_t count) : count(count), values(static_cast<T *>(sharedPages(bytes()))) {}
  ~SharedArray() { freeSharedPages(values, bytes()); }
  SharedArray(const SharedArray &) = delete;
  SharedArray &operator=(const SharedArray &) = delete;

  bool ready() const { return values != nullptr; }
  size_t size() const { return count; }
  T &operator[](size_t i) const { return values[i]; }

private:
  size_t bytes() const { return count * sizeof(T) + 1; }

  size_t count;
  T *values;
};

// The call that the child is in. In shared memory.
struct WatchedCall {
  std::atomic<uint64_t> number;  // odd: a call runs
  std::atomic<double> seconds;   // that it may take
  std::atomic<uint64_t> address; // of a failed memory access that the page's protection forbids; 0: there was none

  void begin(double limit) {
    seconds = limit;
    ++number;
  }
  void end() { ++number; }
};

struct ForkedEnd {
  enum How { Returned, Crashed, Stuck };
  How how = Returned;
  int signal = 0;     // Crashed
  double seconds = 0; // Stuck: how long the call was waited for

  std::string text() const; // "ended with SIGSEGV", "did not return within 1 s"; "": it returned
};

// Runs `work` in a child and waits for it. Time during which this process was stopped does not count. E-MEMORY: no
// process can be started, its memory does not suffice, or the system killed it; E-INTERRUPTED: a signal that a person
// sends ended it.
Result<ForkedEnd> runForked(WatchedCall &watched, const std::function<void()> &work);

} // namespace moec

#endif
