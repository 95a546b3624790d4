// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A size -> memory of exactly that size between two pages that nobody may touch.
//
//     | no access | canary ... | bytes | ... canary | no access |
//
// The bytes stand as near to one of the two pages as their alignment allows; canaries fill the rest of the page.

#ifndef MOEC_TESTS_CPU_GUARDEDBUFFER_H
#define MOEC_TESTS_CPU_GUARDEDBUFFER_H

#include <cstddef>
#include <cstdint>

namespace moec {

enum class Edge { Front, Back }; // which guard page the bytes lean on

class GuardedBuffer {
public:
  // alignment: a power of two up to 4096. The contents are canaries until written.
  GuardedBuffer(size_t bytes, size_t alignment, Edge edge);
  ~GuardedBuffer();
  GuardedBuffer(const GuardedBuffer &) = delete;
  GuardedBuffer &operator=(const GuardedBuffer &) = delete;

  void *data() const { return start; }
  size_t size() const { return bytes; }
  template <class T> T *as() const { return reinterpret_cast<T *>(start); }
  void fill(uint32_t pattern); // repeated from the first byte on
  void makeReadOnly();         // a write faults from here on
  bool canariesIntact() const; // nobody wrote beside the bytes

private:
  static constexpr unsigned char canary = 0xA5;
  unsigned char *mapping = nullptr, *start = nullptr;
  size_t mapped = 0, bytes;
};

} // namespace moec

#endif
