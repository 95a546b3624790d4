// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Headers of shared objects that the dynamic linker must not see; plans of packages in this process.

#include "codegen/package/LoadedLibrary.h"
#include "codegen/package/PlanTables.h"

#include "runtime/moec.h"

#include <gtest/gtest.h>

#include <cstring>
#include <elf.h>
#include <random>

using namespace moec;

extern "C" const moec_package *tiny_package(void);

namespace {

std::string sharedObject() {
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = ET_DYN;
  header.e_phoff = sizeof header;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 1;
  Elf64_Phdr segment = {};
  segment.p_offset = sizeof header;
  segment.p_filesz = sizeof segment;
  std::string bytes(sizeof header + sizeof segment, '\0');
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + sizeof header, &segment, sizeof segment);
  return bytes;
}

TEST(LoadedLibrary, segments_lie_in_the_file) {
  std::string bytes = sharedObject();
  EXPECT_TRUE(checkSharedObject(bytes));
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(checkSharedObject(std::string_view(bytes).substr(0, size))) << size;
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; ++i) { // never reads beyond the end
    std::string changed = bytes;
    uint64_t value = random();
    std::memcpy(changed.data() + random() % (changed.size() - 8), &value, 1 + random() % 8);
    (void)checkSharedObject(changed);
  }
  bytes[EI_CLASS] = ELFCLASS32;
  EXPECT_EQ(checkSharedObject(bytes).error().message,
            "its shared library cannot be read: it is not a shared object of 64 bits");
}

TEST(LoadedLibrary, what_is_not_there_is_said) {
  Result<std::unique_ptr<LoadedLibrary>> opened = LoadedLibrary::open("/nowhere/libx.so", "x");
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, "E-TOOL");
  EXPECT_NE(opened.error().message.find("/nowhere/libx.so"), std::string::npos);
}

TEST(PlanTables, are_those_of_the_package) {
  Result<PlanTables> plan = readPlan(tiny_package());
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->steps.size(), plan->header.steps.count);
  EXPECT_FALSE(plan->text(plan->header.name).empty());
  EXPECT_EQ(plan->text(uint32_t(plan->strings.size())), "");
  EXPECT_EQ(isaTexts(plan->header.isa_mask).front(), "baseline");
  EXPECT_EQ(identityText(plan->header).substr(0, 16), "0102030405060708");
  size_t matmuls = 0;
  for (const moec_step &step : plan->steps) {
    const moec_weight *weight = plan->weightOf(step);
    EXPECT_EQ(weight != nullptr, std::string(stepKindText(step)) == "matmul");
    matmuls += weight != nullptr;
  }
  EXPECT_GT(matmuls, 0u);
}

TEST(PlanTables, of_a_package_that_contradicts_itself_are_refused) {
  moec_package broken = *tiny_package();
  broken.plan_bytes = 16;
  Result<PlanTables> plan = readPlan(&broken);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, "E-PACKAGE");
}

} // namespace
