// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Fibre switches: on x86-64 the six callee-saved registers and the stack pointer (about 3 ns), elsewhere ucontext.

#include "codegen/emulate/CudaFibre.h"

#include <sys/mman.h>

#if defined(__x86_64__)
extern "C" void moec_fibre_switch(void **save, void *load);

asm(R"(
    .text
    .globl moec_fibre_switch
    .hidden moec_fibre_switch
    .type moec_fibre_switch, @function
moec_fibre_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size moec_fibre_switch, .-moec_fibre_switch
)");
#endif

namespace moec {

static constexpr size_t guardBytes = 64 * 1024;

CudaFibre::~CudaFibre() {
  if (memory)
    munmap(memory, guardBytes + stackBytes);
}

bool CudaFibre::reserve(unsigned index) {
  if (memory)
    return true;
  void *mapped = mmap(nullptr, guardBytes + stackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED)
    return false;
  memory = static_cast<char *>(mapped);
  mprotect(memory, guardBytes, PROT_NONE);
  stackTop = memory + guardBytes + stackBytes - (index % 64) * 320;
  stackTop -= reinterpret_cast<uintptr_t>(stackTop) % 64;
  return true;
}

bool CudaFibre::ownsAddress(const void *address) const {
  auto *byte = static_cast<const char *>(address);
  return memory && byte >= memory && byte < memory + guardBytes + stackBytes;
}

#if defined(__x86_64__)

void CudaFibre::start(void (*entry)()) {
  // What moec_fibre_switch pops: r15 r14 r13 r12 rbx rbp, then the address it returns to; above it a zero where the
  // ABI wants the caller's address, so that the stack is 8 modulo 16 at the function's first instruction.
  void **slots = reinterpret_cast<void **>(stackTop - 64);
  for (int i = 0; i < 8; ++i)
    slots[i] = nullptr;
  slots[6] = reinterpret_cast<void *>(entry);
  inside = slots;
}

void CudaFibre::enter() { moec_fibre_switch(&outside, inside); }
void CudaFibre::leave() { moec_fibre_switch(&inside, outside); }

#else

void CudaFibre::start(void (*entry)()) {
  getcontext(&inside);
  inside.uc_stack.ss_sp = memory + guardBytes;
  inside.uc_stack.ss_size = static_cast<size_t>(stackTop - (memory + guardBytes));
  inside.uc_link = &outside;
  makecontext(&inside, entry, 0);
}

void CudaFibre::enter() { swapcontext(&outside, &inside); }
void CudaFibre::leave() { swapcontext(&inside, &outside); }

#endif

} // namespace moec
