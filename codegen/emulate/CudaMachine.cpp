// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A launch with signal handlers around it: a fault on a fibre continues in CudaBlock::fault on that fibre's emptied
// stack, which reports it and leaves for good; a fault elsewhere goes to whoever handled it before.

#include "codegen/emulate/CudaMachine.h"

#include <algorithm>
#include <csignal>
#include <mutex>
#include <numeric>
#include <sys/ucontext.h>

namespace moec {

static CudaBlock *active = nullptr;
static struct sigaction earlier_segv, earlier_bus;
static void *fault_address;
static bool fault_write;

static void landing() { active->fault(fault_address, fault_write); }

static void handleFault(int signal, siginfo_t *info, void *context) {
  auto *state = static_cast<ucontext_t *>(context);
  if (!active || !active->inFibre()) {
    sigaction(SIGSEGV, &earlier_segv, nullptr);
    sigaction(SIGBUS, &earlier_bus, nullptr);
    return; // the instruction faults again, under the earlier handler
  }
  fault_address = info->si_addr;
  uintptr_t stack = reinterpret_cast<uintptr_t>(active->stackTop()) - 64;
#if defined(__x86_64__)
  fault_write = (state->uc_mcontext.gregs[REG_ERR] & 2) != 0;
  state->uc_mcontext.gregs[REG_RSP] = static_cast<greg_t>(stack - 8);
  state->uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(&landing);
#elif defined(__aarch64__)
  fault_write = false;
  state->uc_mcontext.sp = stack;
  state->uc_mcontext.pc = reinterpret_cast<uintptr_t>(&landing);
#else
  (void)stack;
  sigaction(SIGSEGV, &earlier_segv, nullptr);
#endif
}

namespace {
// The handlers and an alternate stack, for the time of one launch.
class FaultGuard {
public:
  FaultGuard() {
    stack_t alternate = {};
    alternate.ss_sp = stack_.data();
    alternate.ss_size = stack_.size();
    sigaltstack(&alternate, &earlier_stack_);
    struct sigaction action = {};
    action.sa_sigaction = handleFault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &earlier_segv);
    sigaction(SIGBUS, &action, &earlier_bus);
  }
  ~FaultGuard() {
    sigaction(SIGSEGV, &earlier_segv, nullptr);
    sigaction(SIGBUS, &earlier_bus, nullptr);
    sigaltstack(&earlier_stack_, nullptr);
  }

private:
  std::vector<char> stack_ = std::vector<char>(64 * 1024);
  stack_t earlier_stack_ = {};
};
} // namespace

bool CudaMachine::launch(CudaLaunch launch) {
  static std::mutex one_at_a_time;
  std::lock_guard<std::mutex> lock(one_at_a_time);
  uint64_t before = findings_.count();
  launch.number = ++launches_;
  std::vector<uint32_t> order(launch.grid);
  std::iota(order.begin(), order.end(), 0u);
  for (size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[block_.random(i)]);
  FaultGuard guard;
  active = &block_;
  for (uint32_t block : order)
    if (!block_.run(launch, block))
      break;
  active = nullptr;
  for (const std::string &text : memory_.overwritten())
    findings_.add("kernel " + std::string(launch.kernel) + ": " + text);
  return findings_.count() == before;
}

} // namespace moec

void moec_emulate(const void *instruction, uint64_t *results, const uint64_t *operands) {
  moec::active->execute(*static_cast<const moec::CudaInstruction *>(instruction), results, operands);
}
void moec_emulate_shared_load(const void *address, uint32_t bytes, uint32_t align) {
  moec::active->sharedAccess(address, bytes, align, moec::CudaAccess::Read);
}
void moec_emulate_shared_store(const void *address, uint32_t bytes, uint32_t align) {
  moec::active->sharedAccess(address, bytes, align, moec::CudaAccess::Write);
}
void moec_emulate_shared_atomic(const void *address, uint32_t bytes, uint32_t align) {
  moec::active->sharedAccess(address, bytes, align, moec::CudaAccess::Atomic);
}
void moec_emulate_global_load(const void *address, uint32_t bytes, uint32_t align) {
  moec::active->globalAccess(address, bytes, moec::CudaAccess::Read);
}
void moec_emulate_global_store(const void *address, uint32_t bytes, uint32_t align) {
  moec::active->globalAccess(address, bytes, moec::CudaAccess::Write);
}
void moec_emulate_pause() { moec::active->pause(); }
