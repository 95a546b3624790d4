// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The fake CUDA driver and the hand-written package as a library, for tests that are not written in C++.

#include "TinyCuda.h"

using namespace moec::test;

// The only driver of the program; its table outlives every layer.
static FakeDriver &driver() {
  static FakeDriver *only = [] {
    auto *made = new FakeDriver;
    addTinyKernels(*made);
    return made;
  }();
  return *only;
}

extern "C" {
__attribute__((visibility("default"))) const moec_package *fake_package(void);
__attribute__((visibility("default"))) const void *fake_driver(void);
__attribute__((visibility("default"))) void fake_device_memory(void *start, size_t bytes);
__attribute__((visibility("default"))) int fake_launches(const void *stream);

const moec_package *fake_package(void) { return tiny_cuda_package(); }
const void *fake_driver(void) { return &driver().table; }
void fake_device_memory(void *start, size_t bytes) { driver().registerMemory(start, bytes); }

// How many kernels were put on the stream.
int fake_launches(const void *stream) {
  int count = 0;
  for (const FakeLaunch &launch : driver().launches)
    count += launch.stream == stream;
  return count;
}
}
