// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Threads started one by one until one is refused.

#include "codegen/Workers.h"

#include <system_error>
#include <thread>
#include <vector>

namespace moec {

void runOnThreads(unsigned count, llvm::function_ref<void()> work) {
  std::vector<std::thread> threads;
  threads.reserve(count);
  try {
    for (unsigned i = 1; i < count; ++i)
      threads.emplace_back(work);
  } catch (const std::system_error &) { // no more threads: those that are there share the work
  }
  work();
  for (std::thread &thread : threads)
    thread.join();
}

} // namespace moec
