// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// This machine's CUDA driver -> the same table, which knows what runs: a kernel that faults or never ends is named, and
// ends the process.
//
//     launch ─▶ pending kernels ─▶ a call that waits (synchronise, copy, fill, free) ─▶ none pending
//                                  │
//                                  ├─ the device's error:  "FAIL CASE: fault: KERNEL ...: CUDA_ERROR_..."
//                                  │                        exit deviceFault
//                                  └─ longer than allowed: "FAIL CASE: hang: KERNEL ...", exit deviceHang
//
// A copy that no kernel is pending for may take as long as it likes.
//
// A fault leaves a context of which every later call fails, so the process ends and its caller starts a fresh one.

#ifndef MOEC_TESTS_CUDA_WATCHEDDRIVER_H
#define MOEC_TESTS_CUDA_WATCHEDDRIVER_H

#include "runtime/cuda/cuda_driver.h"

#include <functional>
#include <string>
#include <vector>

namespace moec {

// Exit codes of a process that a kernel ended; the runner starts a fresh one behind the case.
constexpr int deviceFault = 20, deviceHang = 21;

struct WatchOptions {
  bool eachLaunch = true; // every launch waits for its kernel, so that the one that fails is known for certain
  long seconds = 10;      // what a wait may take
};

// One launch; the grid and the block have one dimension.
struct LaunchedKernel {
  std::string name;
  unsigned grid = 0, block = 0, shared = 0;
  void *function = nullptr;
  std::string text() const; // "kernel NAME grid 4 block 128 shared 8192"; the name of a graph, whose block is 0
};

// Null with `error`: there is no driver. One table per process.
const moec_cuda_driver *watchedDriver(const WatchOptions &options, std::string &error);

// What lines of faults and hangs begin with, "golden mixtral-f32"; forgets the kernels of the case before.
void watchCase(const std::string &name);

// A graph of captured launches was launched: something is pending again.
void watchGraph();

// The distinct names of the kernels launched since the last watchCase, in the order of their first launch.
std::vector<std::string> kernelsOfCase();

// Called instead of a launch, with the launch as a function; null: launches are plain again.
using AroundLaunch = std::function<int(const LaunchedKernel &kernel, void *stream, const std::function<int()> &launch)>;
void aroundLaunches(AroundLaunch around);

// No launch waits while one lives: streams are captured, or shall overlap.
class UnwatchedLaunches {
public:
  UnwatchedLaunches();
  ~UnwatchedLaunches();
  UnwatchedLaunches(const UnwatchedLaunches &) = delete;
  UnwatchedLaunches &operator=(const UnwatchedLaunches &) = delete;

private:
  bool before;
};

} // namespace moec

#endif
