// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// CPUID leaves in -> vendor, model, brand and flags out.

#include "codegen/Machine.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace moec {

namespace {
enum class Register { Eax, Ebx, Ecx, Edx };

// Bits of XCR0 that the system must set before a program may use these registers.
enum SavedState : uint64_t { AnyState = 0, SavedYmm = 0x6, SavedZmm = 0xe6, SavedTiles = 0x60000 };

struct Flag {
  const char *name; // as /proc/cpuinfo spells it
  uint32_t leaf, subleaf;
  Register in;
  int bit;
  uint64_t needs;
};
} // namespace

static constexpr Flag flagTable[] = {
    {"sse2", 1, 0, Register::Edx, 26, AnyState},        {"avx", 1, 0, Register::Ecx, 28, SavedYmm},
    {"f16c", 1, 0, Register::Ecx, 29, SavedYmm},        {"fma", 1, 0, Register::Ecx, 12, SavedYmm},
    {"avx2", 7, 0, Register::Ebx, 5, SavedYmm},         {"bmi2", 7, 0, Register::Ebx, 8, AnyState},
    {"avx512f", 7, 0, Register::Ebx, 16, SavedZmm},     {"avx512dq", 7, 0, Register::Ebx, 17, SavedZmm},
    {"avx512cd", 7, 0, Register::Ebx, 28, SavedZmm},    {"avx512bw", 7, 0, Register::Ebx, 30, SavedZmm},
    {"avx512vl", 7, 0, Register::Ebx, 31, SavedZmm},    {"avx512_bf16", 7, 1, Register::Eax, 5, SavedZmm},
    {"avx512_vnni", 7, 0, Register::Ecx, 11, SavedZmm}, {"avx_vnni", 7, 1, Register::Eax, 4, SavedYmm},
    {"amx_tile", 7, 0, Register::Edx, 24, SavedTiles},  {"amx_bf16", 7, 0, Register::Edx, 22, SavedTiles},
    {"amx_int8", 7, 0, Register::Edx, 25, SavedTiles},
};

static uint32_t valueOf(const CpuidLeaf &leaf, Register in) {
  switch (in) {
  case Register::Eax:
    return leaf.eax;
  case Register::Ebx:
    return leaf.ebx;
  case Register::Ecx:
    return leaf.ecx;
  case Register::Edx:
    return leaf.edx;
  }
  return 0;
}

static void append(std::string &text, uint32_t fourBytes) {
  char bytes[4];
  std::memcpy(bytes, &fourBytes, sizeof bytes);
  text.append(bytes, sizeof bytes);
}

// Without NULs, and with single blanks only between words: vendors pad brand strings on either side.
static std::string trimmed(const std::string &text) {
  std::string out;
  for (char c : text) {
    if (c == '\0')
      break;
    if (c != ' ' || (!out.empty() && out.back() != ' '))
      out += c;
  }
  if (!out.empty() && out.back() == ' ')
    out.pop_back();
  return out;
}

MachineFacts decodeCpuid(const CpuidReader &read, uint64_t xcr0) {
  MachineFacts facts;
  CpuidLeaf zero = read(0, 0), one = read(1, 0);
  for (uint32_t part : {zero.ebx, zero.edx, zero.ecx})
    append(facts.vendor, part);
  facts.vendor = trimmed(facts.vendor);
  facts.stepping = int(one.eax & 0xf);
  facts.model = int(one.eax >> 4 & 0xf);
  facts.family = int(one.eax >> 8 & 0xf);
  if (facts.family == 6 || facts.family == 15)
    facts.model += int(one.eax >> 16 & 0xf) << 4;
  if (facts.family == 15)
    facts.family += int(one.eax >> 20 & 0xff);
  if (read(0x80000000u, 0).eax >= 0x80000004u)
    for (uint32_t leaf = 0x80000002u; leaf <= 0x80000004u; ++leaf) {
      CpuidLeaf part = read(leaf, 0);
      for (uint32_t value : {part.eax, part.ebx, part.ecx, part.edx})
        append(facts.brand, value);
    }
  facts.brand = trimmed(facts.brand);
  for (const Flag &flag : flagTable)
    if ((valueOf(read(flag.leaf, flag.subleaf), flag.in) >> flag.bit & 1) && (xcr0 & flag.needs) == flag.needs)
      facts.flags.emplace_back(flag.name);
  return facts;
}

#if defined(__x86_64__)
static CpuidLeaf readCpuid(uint32_t leaf, uint32_t subleaf) {
  CpuidLeaf out;
  if (!__get_cpuid_count(leaf, subleaf, &out.eax, &out.ebx, &out.ecx, &out.edx))
    return {};
  return out;
}

static uint64_t readXcr0() {
  if (!(readCpuid(1, 0).ecx >> 27 & 1)) // OSXSAVE: the instruction below exists
    return 0;
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t(high) << 32 | low;
}
#endif

MachineFacts machineFacts() {
  MachineFacts facts;
#if defined(__x86_64__)
  facts = decodeCpuid(readCpuid, readXcr0());
#endif
  facts.logicalCpus = int(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  return facts;
}

std::string utcDate() {
  std::time_t now = std::time(nullptr);
  std::tm parts = {};
  gmtime_r(&now, &parts);
  char text[32];
  return std::string(text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts));
}

} // namespace moec
