// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A size -> memory of exactly that size, every byte 0xff, where one byte more is noticed.

#ifndef MOEC_TESTS_SANITIZED_EXACTBUFFER_H
#define MOEC_TESTS_SANITIZED_EXACTBUFFER_H

#include "tests/cpu/GuardedBuffer.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace moec {

// Heap: a block of its own, with the address sanitizer's red zones around it. The others: between guard pages, which
// stop instructions that no sanitizer looks at, leaning on the page behind or before it.
enum class Place { Heap, GuardBack, GuardFront };

class ExactBuffer {
public:
  ExactBuffer(size_t bytes, size_t alignment, Place place = Place::Heap) : bytes(bytes) {
    if (place != Place::Heap) {
      guarded = std::make_unique<GuardedBuffer>(bytes, alignment, place == Place::GuardBack ? Edge::Back : Edge::Front);
      block = guarded->data();
    } else if (posix_memalign(&block, std::max(alignment, sizeof(void *)), bytes) != 0) {
      // Not aligned_alloc: its size must be a multiple of the alignment, and the bytes that fill up would hide errors.
      std::abort();
    }
    std::memset(block, 0xff, bytes);
  }
  ~ExactBuffer() {
    if (!guarded)
      std::free(block);
  }
  ExactBuffer(const ExactBuffer &) = delete;
  ExactBuffer &operator=(const ExactBuffer &) = delete;

  void *data() const { return block; }
  size_t size() const { return bytes; }
  template <class T> T *as() const { return static_cast<T *>(block); }
  bool canariesIntact() const { return !guarded || guarded->canariesIntact(); }

private:
  std::unique_ptr<GuardedBuffer> guarded;
  void *block = nullptr;
  size_t bytes;
};

} // namespace moec

#endif
