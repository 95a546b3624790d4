// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// CPUID leaves of known CPUs -> what a report says of them; and this machine beside /proc/cpuinfo.

#include "codegen/Machine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <utility>

using namespace moec;

namespace {

using Leaves = std::map<std::pair<uint32_t, uint32_t>, CpuidLeaf>;

CpuidReader readerOf(Leaves leaves) {
  return [leaves](uint32_t leaf, uint32_t subleaf) {
    auto it = leaves.find({leaf, subleaf});
    return it == leaves.end() ? CpuidLeaf() : it->second;
  };
}

uint32_t word(const char *four) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; --i)
    value = value << 8 | uint8_t(four[i]);
  return value;
}

// Sapphire Rapids: family 6, model 143; AMX.
Leaves sapphireRapids() {
  Leaves leaves;
  leaves[{0, 0}] = {0x20, word("Genu"), word("ntel"), word("ineI")};
  leaves[{1, 0}] = {0x000806f8, 0, 1u << 12 | 1u << 27 | 1u << 28 | 1u << 29, 1u << 26};
  leaves[{7, 0}] = {1, 1u << 5 | 1u << 8 | 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31, 1u << 11,
                    1u << 22 | 1u << 24 | 1u << 25};
  leaves[{7, 1}] = {1u << 4 | 1u << 5, 0, 0, 0};
  leaves[{0x80000000u, 0}] = {0x80000004u, 0, 0, 0};
  leaves[{0x80000002u, 0}] = {word("   I"), word("ntel"), word("(R) "), word("  Xe")};
  leaves[{0x80000003u, 0}] = {word("on  "), 0, 0, 0};
  return leaves;
}

using Flags = std::vector<std::string>;

} // namespace

TEST(Machine, leaves_say_vendor_model_and_brand) {
  MachineFacts facts = decodeCpuid(readerOf(sapphireRapids()), ~uint64_t(0));
  EXPECT_EQ(facts.vendor, "GenuineIntel");
  EXPECT_EQ(facts.brand, "Intel(R) Xeon");
  EXPECT_EQ(facts.family, 6);
  EXPECT_EQ(facts.model, 143);
  EXPECT_EQ(facts.stepping, 8);
  EXPECT_EQ(facts.flags,
            (Flags{"sse2", "avx", "f16c", "fma", "avx2", "bmi2", "avx512f", "avx512dq", "avx512cd", "avx512bw",
                   "avx512vl", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_tile", "amx_bf16", "amx_int8"}));
}

TEST(Machine, families_above_15_are_added) {
  Leaves leaves;
  leaves[{1, 0}] = {0x00a10f11, 0, 0, 0}; // Zen 4
  MachineFacts facts = decodeCpuid(readerOf(leaves), 0);
  EXPECT_EQ(facts.family, 25);
  EXPECT_EQ(facts.model, 17);
  EXPECT_EQ(facts.stepping, 1);
  EXPECT_EQ(facts.brand, "");
  EXPECT_TRUE(facts.flags.empty());
}

TEST(Machine, registers_that_the_system_does_not_save_do_not_count) {
  EXPECT_EQ(decodeCpuid(readerOf(sapphireRapids()), 0).flags, (Flags{"sse2", "bmi2"}));
  EXPECT_EQ(decodeCpuid(readerOf(sapphireRapids()), 0x7).flags,
            (Flags{"sse2", "avx", "f16c", "fma", "avx2", "bmi2", "avx_vnni"}));
  Flags withoutTiles = decodeCpuid(readerOf(sapphireRapids()), 0xe7).flags;
  EXPECT_EQ(std::count(withoutTiles.begin(), withoutTiles.end(), "avx512_bf16"), 1);
  EXPECT_EQ(std::count(withoutTiles.begin(), withoutTiles.end(), "amx_tile"), 0);
}

// The kernel reads the same leaves.
TEST(Machine, this_machine_is_what_the_system_says) {
  MachineFacts facts = machineFacts();
  EXPECT_GE(facts.logicalCpus, 1);
  std::ifstream file("/proc/cpuinfo");
  std::map<std::string, std::string> first;
  for (std::string line; std::getline(file, line) && !line.empty();)
    if (size_t colon = line.find(':'); colon != std::string::npos && colon + 2 <= line.size())
      first[line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1)] = line.substr(colon + 2);
  if (!first.count("flags"))
    GTEST_SKIP() << "no flags in /proc/cpuinfo";
  EXPECT_EQ(facts.vendor, first["vendor_id"]);
  EXPECT_EQ(std::to_string(facts.family), first["cpu family"]);
  EXPECT_EQ(std::to_string(facts.model), first["model"]);
  std::istringstream words(first["flags"]);
  std::set<std::string> known;
  for (std::string word; words >> word;)
    known.insert(word);
  for (const std::string &flag : facts.flags)
    EXPECT_TRUE(known.count(flag)) << flag;
  for (const char *flag : {"sse2", "avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16"})
    EXPECT_EQ(known.count(flag), size_t(std::count(facts.flags.begin(), facts.flags.end(), flag))) << flag;
}
