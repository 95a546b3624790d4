// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weight regions of a plan -> which of their pages are real.

#include "AliasedWeights.h"

#include "codegen/MemoryNeed.h"

#include <algorithm>
#include <sys/mman.h>
#include <unistd.h>

namespace moec {

static constexpr size_t pageBytes = 4096, scratchBytes = size_t(32) << 20;

// Maps [begin, begin + bytes) onto the first `block` bytes of `fd` again and again.
static bool mapRepeated(char *begin, size_t bytes, int fd, size_t block) {
  for (size_t at = 0; at < bytes; at += block)
    if (mmap(begin + at, std::min(block, bytes - at), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
        MAP_FAILED)
      return false;
  return true;
}

static int scratchFile(size_t bytes) {
  int fd = memfd_create("moec-bench", MFD_CLOEXEC);
  if (fd >= 0 && ftruncate(fd, off_t(bytes)) != 0) {
    close(fd);
    fd = -1;
  }
  return fd;
}

RepeatedPages::RepeatedPages(size_t size, size_t blockBytes)
    : bytes((size + pageBytes - 1) / pageBytes * pageBytes), block(std::min(blockBytes, bytes)) {
  void *range = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  int fd = range == MAP_FAILED ? -1 : scratchFile(block);
  if (fd >= 0 && mapRepeated(static_cast<char *>(range), bytes, fd, block))
    pointer = range;
  else if (range != MAP_FAILED)
    munmap(range, bytes);
  if (fd >= 0)
    close(fd);
}

RepeatedPages::~RepeatedPages() {
  if (pointer)
    munmap(pointer, bytes);
}

static bool isPerExpert(const moec_weight &weight, uint32_t experts) {
  return weight.groups > 1 && weight.groups == experts && weight.layout == MOEC_LAYOUT_PANELS &&
         weight.derived == MOEC_DERIVED_NONE;
}

AliasedWeights::AliasedWeights(const PlanTables &plan, int64_t distinct) : memory(plan.packedBytes()) {
  int fd = memory.data() ? scratchFile(scratchBytes) : -1;
  good = fd >= 0;
  for (const moec_weight &weight : plan.packedWeights()) {
    if (!good || !isPerExpert(weight, plan.header.num_experts))
      continue;
    uint64_t kept = weight.bytes / weight.groups * uint64_t(distinct);
    size_t begin = (weight.offset + kept + pageBytes - 1) / pageBytes * pageBytes,
           end = (weight.offset + weight.bytes) / pageBytes * pageBytes;
    if (begin < end)
      good = mapRepeated(static_cast<char *>(memory.data()) + begin, end - begin, fd, scratchBytes);
  }
  if (fd >= 0)
    close(fd);
}

bool samePackedWeights(const PlanTables &a, const PlanTables &b) {
  return std::equal(std::begin(a.header.spec_hash), std::end(a.header.spec_hash), std::begin(b.header.spec_hash)) &&
         a.packedBytes() == b.packedBytes() &&
         std::equal(a.packedWeights().begin(), a.packedWeights().end(), b.packedWeights().begin(),
                    b.packedWeights().end(), [](const moec_weight &x, const moec_weight &y) {
                      return x.offset == y.offset && x.bytes == y.bytes && x.layout == y.layout && x.dtype == y.dtype &&
                             x.groups == y.groups;
                    });
}

double packedBytes(const PlanTables &plan, int64_t distinct) {
  double bytes = double(plan.packedBytes());
  for (const moec_weight &weight : plan.packedWeights())
    if (distinct && isPerExpert(weight, plan.header.num_experts))
      bytes -= double(weight.bytes) * (1 - double(distinct) / double(weight.groups));
  return bytes;
}

int64_t distinctExperts(const PlanTables &plan, int64_t otherBytes, int64_t layers) {
  int64_t available = availableMemory(), perExpert = 0;
  for (const moec_weight &weight : plan.packedWeights())
    if (isPerExpert(weight, plan.header.num_experts))
      perExpert += int64_t(weight.bytes / weight.groups);
  if (!available || !perExpert || int64_t(plan.packedBytes()) + otherBytes <= available / 10 * 6)
    return 0;
  constexpr int64_t enough = int64_t(4) << 30; // a hundred times a large cache
  int64_t distinct = std::min(enough, available / 10 * 3 / layers) / perExpert;
  return std::clamp<int64_t>(distinct, 1, plan.header.num_experts);
}

} // namespace moec
