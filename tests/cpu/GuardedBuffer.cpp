// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The mapping behind a GuardedBuffer.

#include "GuardedBuffer.h"

#include <cstdlib>
#include <cstring>

#include <sys/mman.h>

namespace moec {

static constexpr size_t page = 4096;

GuardedBuffer::GuardedBuffer(size_t bytes, size_t alignment, Edge edge) : bytes(bytes) {
  size_t usable = (bytes + page - 1) / page * page;
  mapped = usable + 2 * page;
  void *pages = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED || (usable && mprotect(static_cast<char *>(pages) + page, usable, PROT_READ | PROT_WRITE)))
    abort(); // a test machine without a few megabytes
  mapping = static_cast<unsigned char *>(pages);
  std::memset(mapping + page, canary, usable);
  size_t offset = edge == Edge::Front ? 0 : (usable - bytes) / alignment * alignment;
  start = mapping + page + offset;
}

GuardedBuffer::~GuardedBuffer() { munmap(mapping, mapped); }

void GuardedBuffer::fill(uint32_t pattern) {
  for (size_t i = 0; i < bytes; ++i)
    start[i] = static_cast<unsigned char>(pattern >> 8 * (i % 4));
}

void GuardedBuffer::makeReadOnly() {
  if (mapped > 2 * page)
    mprotect(mapping + page, mapped - 2 * page, PROT_READ);
}

bool GuardedBuffer::canariesIntact() const {
  for (const unsigned char *p = mapping + page; p != mapping + mapped - page; ++p)
    if ((p < start || p >= start + bytes) && *p != canary)
      return false;
  return true;
}

} // namespace moec
