// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The gates, kernel by kernel.

#include "codegen/cuda/CudaGates.h"

#include "llvm/ADT/SmallVector.h"

#include <set>

namespace moec {

static void checkCost(const CudaPlannedLaunch &planned, const CudaArchFacts &arch, std::vector<std::string> &findings) {
  const moec_cuda_launch &launch = planned.launch;
  auto say = [&](const std::string &text) { findings.push_back("kernel " + planned.symbol + ": " + text); };
  if (launch.spill_bytes)
    say(std::to_string(launch.spill_bytes) + " bytes of spills, expected none");
  if (launch.local_bytes)
    say(std::to_string(launch.local_bytes) + " bytes of local memory, expected none");
  // the register file is handed out to warps in units of 8 registers a thread
  uint64_t registers = uint64_t((launch.registers + 7) / 8 * 8) * launch.block_threads;
  if (registers > 65536)
    say(std::to_string(launch.registers) + " registers of " + std::to_string(launch.block_threads) +
        " threads, expected at most 65536 together");
  if (launch.shared_bytes > arch.maxSharedBytes)
    say(std::to_string(launch.shared_bytes) + " bytes of shared memory, expected at most " +
        std::to_string(arch.maxSharedBytes));
}

static void checkLoads(llvm::StringRef ptx, std::vector<std::string> &findings) {
  llvm::SmallVector<llvm::StringRef> lines;
  ptx.split(lines, '\n');
  std::string kernel;
  for (llvm::StringRef line : lines) {
    if (line.contains(".entry "))
      kernel = line.split(".entry ").second.take_until([](char c) { return c == '('; }).trim().str();
    if (line.contains("ld.global.nc"))
      findings.push_back("kernel " + kernel + ": '" + line.trim().str() + "', expected no ld.global.nc");
  }
}

std::vector<std::string> cudaGateFindings(const CudaTargetPlan &plan, CudaArch arch, llvm::StringRef ptx,
                                          const std::vector<std::string> &messages) {
  std::vector<std::string> findings;
  std::set<std::string> seen;
  for (const CudaPlannedLaunch &launch : plan.launches)
    if (seen.insert(launch.symbol).second)
      checkCost(launch, cudaArchFacts(arch), findings);
  for (const std::string &message : messages)
    findings.push_back("ptxas for " + cudaArchFacts(arch).name.str() + ": " + message);
  checkLoads(ptx, findings);
  return findings;
}

} // namespace moec
