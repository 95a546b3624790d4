// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A function and a stack -> a thread of execution that the emulator enters and leaves by hand.

#ifndef MOEC_CODEGEN_EMULATE_CUDAFIBRE_H
#define MOEC_CODEGEN_EMULATE_CUDAFIBRE_H

#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace moec {

// One stack with a guard page below it. Not copyable; the memory lives as long as the fibre. A fibre belongs to the
// operating-system thread that enters it.
class CudaFibre {
public:
  static constexpr size_t stackBytes = 256 * 1024;

  CudaFibre() = default;
  CudaFibre(const CudaFibre &) = delete;
  CudaFibre &operator=(const CudaFibre &) = delete;
  ~CudaFibre();

  // Gets a stack, once; `index` staggers stack tops over cache sets. False when the system has no memory.
  bool reserve(unsigned index);

  // The next enter() starts `entry` on an empty stack. `entry` never returns; it leaves for the last time instead.
  void start(void (*entry)());

  // Runs the fibre until it leaves. Called from the scheduler's stack.
  void enter();

  // Back to where enter() was called. Called on the fibre's stack.
  void leave();

  bool ownsAddress(const void *address) const; // in the stack or its guard page
  void *top() const { return stackTop; }

private:
  char *memory = nullptr;
  char *stackTop = nullptr;
#if defined(__x86_64__)
  void *inside = nullptr, *outside = nullptr;
#else
  ucontext_t inside, outside;
#endif
};

} // namespace moec

#endif
