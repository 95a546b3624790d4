// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The clocks that measure calls and kernels.

#ifndef MOEC_CODEGEN_BENCH_CLOCKS_H
#define MOEC_CODEGEN_BENCH_CLOCKS_H

#include <chrono>
#include <ctime>

namespace moec {

// Seconds of a clock that never goes back; only differences mean something.
inline double wallSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Microseconds that this thread has run: other work on the machine does not lengthen them, except by the memory and
// caches that it uses as well.
inline double threadUs() {
  timespec spent = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return double(spent.tv_sec) * 1e6 + double(spent.tv_nsec) * 1e-3;
}

} // namespace moec

#endif
