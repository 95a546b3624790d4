// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sizes -> device memory of the emulator: host pages between guard regions, so that an overrun is a fault with a name.
//
//   | 1 MiB no access | allocation, 256-byte aligned | 0..255 bytes watched | 1 MiB no access |
//
// Fresh memory is 0xFF in every byte (NaN in every float type, -1 in every integer type).

#ifndef MOEC_CODEGEN_EMULATE_CUDAMEMORY_H
#define MOEC_CODEGEN_EMULATE_CUDAMEMORY_H

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace moec {

// Owns every allocation. One thread at a time.
class CudaMemory {
public:
  CudaMemory() = default;
  CudaMemory(const CudaMemory &) = delete;
  CudaMemory &operator=(const CudaMemory &) = delete;
  ~CudaMemory();

  void *allocate(size_t bytes); // null if the system has no memory or bytes is 0
  bool release(void *pointer);  // false unless `pointer` is the start of an allocation
  bool contains(const void *pointer, size_t bytes) const;
  size_t allocatedBytes() const { return allocated; }

  // Records the number (at least 1) of the launch that last stored to each 4-byte word. Ignores memory outside
  // allocations.
  void noteStore(const void *pointer, size_t bytes, uint32_t launch);
  bool storedBy(const void *pointer, size_t bytes, uint32_t launch) const; // any of the words

  // Where an address is, for messages: "16 bytes after the end of an allocation of 1024 bytes".
  std::string describe(const void *address) const;

  // One text per allocation whose watched bytes were overwritten since the last call.
  std::vector<std::string> overwritten();

private:
  struct Region;
  // The region that contains [pointer, pointer + bytes), and its words in that range; null if no region contains all.
  const Region *wordsOf(const void *pointer, size_t bytes, size_t &first, size_t &end) const;
  struct Region {
    char *mapped = nullptr;
    size_t mappedBytes = 0, bytes = 0;
    std::vector<uint32_t> launches; // of each word's last store; empty before the first
  };
  std::map<const char *, Region> regions; // by start
  size_t allocated = 0;
};

} // namespace moec

#endif
