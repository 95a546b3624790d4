// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The handwritten package on the fake CUDA driver, as a library that a program opens: tiny_cuda_package() of
// handwritten_cuda.c, and the functions below. Memory that is registered is the device's.

#include "TinyCuda.h"

using namespace moec::test;

// Never deleted: layers may end after the library's own objects.
static FakeDriver &driver() {
  static FakeDriver *instance = [] {
    auto *made = new FakeDriver;
    addTinyKernels(*made);
    return made;
  }();
  return *instance;
}

extern "C" {
const moec_cuda_driver *fake_driver(void) { return &driver().table; }
void fake_register(void *start, size_t bytes) { driver().registerMemory(start, bytes); }
void fake_forget(void *start) { driver().forgetMemory(start); }
void *fake_last_stream(void) { return driver().launches.empty() ? nullptr : driver().launches.back().stream; }
}
