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
static struct sigaction earlierSegv, earlierBus;
static void *faultAddress;
static bool faultWrite;

static void landing() { active->fault(faultAddress, faultWrite); }

static void handleFault(int signal, siginfo_t *info, void *context) {
  auto *state = static_cast<ucontext_t *>(context);
  if (!active || !active->inFibre()) {
    sigaction(SIGSEGV, &earlierSegv, nullptr);
    sigaction(SIGBUS, &earlierBus, nullptr);
    return; // the instruction faults again, under the earlier handler
  }
  faultAddress = info->si_addr;
  uintptr_t stack = reinterpret_cast<uintptr_t>(active->stackTop()) - 64;
#if defined(__x86_64__)
  faultWrite = (state->uc_mcontext.gregs[REG_ERR] & 2) != 0;
  state->uc_mcontext.gregs[REG_RSP] = static_cast<greg_t>(stack - 8);
  state->uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(&landing);
#elif defined(__aarch64__)
  faultWrite = false;
  state->uc_mcontext.sp = stack;
  state->uc_mcontext.pc = reinterpret_cast<uintptr_t>(&landing);
#else
  (void)stack;
  sigaction(SIGSEGV, &earlierSegv, nullptr);
#endif
}

namespace {
// The handlers and an alternate stack, for the time of one launch.
class FaultGuard {
public:
  FaultGuard() {
    stack_t alternate = {};
    alternate.ss_sp = stack.data();
    alternate.ss_size = stack.size();
    sigaltstack(&alternate, &earlierStack);
    struct sigaction action = {};
    action.sa_sigaction = handleFault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &earlierSegv);
    sigaction(SIGBUS, &action, &earlierBus);
  }
  ~FaultGuard() {
    sigaction(SIGSEGV, &earlierSegv, nullptr);
    sigaction(SIGBUS, &earlierBus, nullptr);
    sigaltstack(&earlierStack, nullptr);
  }

private:
  std::vector<char> stack = std::vector<char>(64 * 1024);
  stack_t earlierStack = {};
};
} // namespace

bool CudaMachine::launch(CudaLaunch launch) {
  static std::mutex oneAtATime;
  std::lock_guard<std::mutex> lock(oneAtATime);
  uint64_t before = findings.count();
  launch.number = ++launches;
  std::vector<uint32_t> order(launch.grid);
  std::iota(order.begin(), order.end(), 0u);
  for (size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[block.random(i)]);
  FaultGuard guard;
  active = &block;
  for (uint32_t index : order)
    if (!block.run(launch, index))
      break;
  active = nullptr;
  for (const std::string &text : memory.overwritten())
    findings.add("kernel " + std::string(launch.kernel) + ": " + text);
  return findings.count() == before;
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
