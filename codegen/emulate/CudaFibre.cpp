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

static constexpr size_t guard_bytes = 64 * 1024;

CudaFibre::~CudaFibre() {
  if (memory_)
    munmap(memory_, guard_bytes + stack_bytes);
}

bool CudaFibre::reserve(unsigned index) {
  if (memory_)
    return true;
  void *memory = mmap(nullptr, guard_bytes + stack_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    return false;
  memory_ = static_cast<char *>(memory);
  mprotect(memory_, guard_bytes, PROT_NONE);
  top_ = memory_ + guard_bytes + stack_bytes - (index % 64) * 320;
  top_ -= reinterpret_cast<uintptr_t>(top_) % 64;
  return true;
}

bool CudaFibre::ownsAddress(const void *address) const {
  auto *byte = static_cast<const char *>(address);
  return memory_ && byte >= memory_ && byte < memory_ + guard_bytes + stack_bytes;
}

#if defined(__x86_64__)

void CudaFibre::start(void (*entry)()) {
  // What moec_fibre_switch pops: r15 r14 r13 r12 rbx rbp, then the address it returns to; above it a zero where the
  // ABI wants the caller's address, so that the stack is 8 modulo 16 at the function's first instruction.
  void **slots = reinterpret_cast<void **>(top_ - 64);
  for (int i = 0; i < 8; ++i)
    slots[i] = nullptr;
  slots[6] = reinterpret_cast<void *>(entry);
  inside_ = slots;
}

void CudaFibre::enter() { moec_fibre_switch(&outside_, inside_); }
void CudaFibre::leave() { moec_fibre_switch(&inside_, outside_); }

#else

void CudaFibre::start(void (*entry)()) {
  getcontext(&inside_);
  inside_.uc_stack.ss_sp = memory_ + guard_bytes;
  inside_.uc_stack.ss_size = static_cast<size_t>(top_ - (memory_ + guard_bytes));
  inside_.uc_link = &outside_;
  makecontext(&inside_, entry, 0);
}

void CudaFibre::enter() { swapcontext(&outside_, &inside_); }
void CudaFibre::leave() { swapcontext(&inside_, &outside_); }

#endif

} // namespace moec
