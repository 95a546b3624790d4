// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// This machine, now -> what a measured figure must say about it: whose CPU, which model, which instructions, when.
//
// Flags have the names of /proc/cpuinfo. Listed are those that moec's kernels and ceilings may use: sse2 avx f16c fma
// avx2 bmi2 avx512f avx512dq avx512cd avx512bw avx512vl avx512_bf16 avx512_vnni avx_vnni amx_tile amx_bf16 amx_int8.
// An instruction whose registers the system does not save is not listed.

#ifndef MOEC_CODEGEN_MACHINE_H
#define MOEC_CODEGEN_MACHINE_H

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace moec {

struct MachineFacts {
  std::string vendor, brand; // "AuthenticAMD", "AMD EPYC 9354P 32-Core Processor"; empty: unknown
  int family = 0, model = 0, stepping = 0;
  std::vector<std::string> flags;
  int logicalCpus = 0; // online
};

struct CpuidLeaf {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};
// A leaf that the CPU does not have reads as zeros.
using CpuidReader = std::function<CpuidLeaf(uint32_t leaf, uint32_t subleaf)>;

// What the leaves say; `xcr0` has the register states that the system saves. logicalCpus stays 0.
MachineFacts decodeCpuid(const CpuidReader &read, uint64_t xcr0);

// Of this machine. Where the CPU is not an x86-64, only logicalCpus is known.
MachineFacts machineFacts();

// The present time in UTC, ISO 8601: "2026-11-23T14:05:59Z".
std::string utcDate();

} // namespace moec

#endif
