// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The advice reaches the whole 2 MiB pages of a range and nothing outside; it never changes bytes or errno.

extern "C" {
#include "runtime/weights/huge_pages.h"
}

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <string>
#include <sys/mman.h>

namespace {

constexpr uintptr_t hugePage = uintptr_t(2) << 20;

// "hg" among the flags that /proc/self/smaps states for the mapping of `address`.
bool isAdvised(uintptr_t address) {
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    char dash = 0;
    if (std::istringstream head(line); head >> std::hex >> begin >> dash >> end && dash == '-')
      inside = begin <= address && address < end;
    else if (inside && line.rfind("VmFlags:", 0) == 0)
      return (line + " ").find(" hg ") != std::string::npos;
  }
  return false;
}

class HugePages : public testing::Test {
protected:
  HugePages() {
    void *mapped = mmap(nullptr, 8 * hugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(mapped, MAP_FAILED);
    memory = static_cast<char *>(mapped);
    first = (uintptr_t(mapped) + hugePage - 1) / hugePage * hugePage;
  }
  ~HugePages() override { munmap(memory, 8 * hugePage); }
  // False on kernels that are built without huge pages.
  bool hasHugePages() {
    return madvise(memory, 4096, MADV_HUGEPAGE) == 0 && madvise(memory, 4096, MADV_NOHUGEPAGE) == 0;
  }

  char *memory = nullptr;
  uintptr_t first = 0; // of the mapping's pages of 2 MiB
};

} // namespace

TEST_F(HugePages, whole_pages_of_a_range_are_advised) {
  if (!hasHugePages())
    GTEST_SKIP() << "this kernel has no huge pages";
  uintptr_t begin = first + 2 * hugePage - 64, end = first + 5 * hugePage + 64;
  std::memset(reinterpret_cast<void *>(begin), 7, 128);
  errno = 5;
  moec_advise_huge_pages(reinterpret_cast<void *>(begin), end - begin);
  EXPECT_EQ(errno, 5);
  EXPECT_FALSE(isAdvised(begin));
  EXPECT_TRUE(isAdvised(begin + 64));
  EXPECT_TRUE(isAdvised(end - 64 - 1));
  EXPECT_FALSE(isAdvised(end - 1));
  EXPECT_EQ(*reinterpret_cast<char *>(begin + 127), 7);
}

TEST_F(HugePages, a_range_without_a_whole_page_is_left_alone) {
  moec_advise_huge_pages(reinterpret_cast<void *>(first + 64), hugePage);
  EXPECT_FALSE(isAdvised(first + 64));
  moec_advise_huge_pages(nullptr, 0);
}
