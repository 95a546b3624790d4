// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Device memory with guards: each allocation is a mapping of its own and ends within 256 bytes of its upper guard.

#include "codegen/emulate/CudaMemory.h"

#include <algorithm>
#include <cstring>
#include <sys/mman.h>

namespace moec {

static constexpr size_t guardBytes = 1 << 20, pageBytes = 4096, unitBytes = 256;
static constexpr unsigned char poison = 0xFF;

static size_t roundUp(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

CudaMemory::~CudaMemory() {
  for (auto &[start, region] : regions)
    munmap(region.mapped, region.mappedBytes);
}

void *CudaMemory::allocate(size_t bytes) {
  if (bytes == 0 || bytes > size_t(1) << 46)
    return nullptr;
  size_t usable = roundUp(roundUp(bytes, unitBytes), pageBytes), total = usable + 2 * guardBytes;
  void *mapped = mmap(nullptr, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED)
    return nullptr;
  char *base = static_cast<char *>(mapped);
  if (mprotect(base + guardBytes, usable, PROT_READ | PROT_WRITE) != 0) {
    munmap(mapped, total);
    return nullptr;
  }
  char *start = base + guardBytes + usable - roundUp(bytes, unitBytes);
  std::memset(base + guardBytes, poison, usable);
  regions[start] = {base, total, bytes, {}};
  allocated += bytes;
  return start;
}

bool CudaMemory::release(void *pointer) {
  auto found = regions.find(static_cast<char *>(pointer));
  if (found == regions.end())
    return false;
  munmap(found->second.mapped, found->second.mappedBytes);
  allocated -= found->second.bytes;
  regions.erase(found);
  return true;
}

bool CudaMemory::contains(const void *pointer, size_t bytes) const {
  auto *byte = static_cast<const char *>(pointer);
  auto next = regions.upper_bound(byte);
  if (next == regions.begin())
    return false;
  auto &[start, region] = *std::prev(next);
  size_t offset = static_cast<size_t>(byte - start);
  return offset <= region.bytes && bytes <= region.bytes - offset;
}

const CudaMemory::Region *CudaMemory::wordsOf(const void *pointer, size_t bytes, size_t &first, size_t &end) const {
  if (!bytes || !contains(pointer, bytes))
    return nullptr;
  auto *byte = static_cast<const char *>(pointer);
  auto &[start, region] = *std::prev(regions.upper_bound(byte));
  first = size_t(byte - start) / 4;
  end = (size_t(byte - start) + bytes + 3) / 4;
  return &region;
}

void CudaMemory::noteStore(const void *pointer, size_t bytes, uint32_t launch) {
  size_t first = 0, end = 0;
  auto *region = const_cast<Region *>(wordsOf(pointer, bytes, first, end));
  if (!region)
    return;
  if (region->launches.empty())
    region->launches.resize((region->bytes + 3) / 4);
  std::fill(region->launches.begin() + ptrdiff_t(first), region->launches.begin() + ptrdiff_t(end), launch);
}

bool CudaMemory::storedBy(const void *pointer, size_t bytes, uint32_t launch) const {
  size_t first = 0, end = 0;
  const Region *region = wordsOf(pointer, bytes, first, end);
  if (!region || region->launches.empty())
    return false;
  auto begin = region->launches.begin();
  return std::find(begin + ptrdiff_t(first), begin + ptrdiff_t(end), launch) != begin + ptrdiff_t(end);
}

std::string CudaMemory::describe(const void *address) const {
  auto *byte = static_cast<const char *>(address);
  for (auto &[start, region] : regions) {
    if (byte < region.mapped || byte >= region.mapped + region.mappedBytes)
      continue;
    std::string size = " of an allocation of " + std::to_string(region.bytes) + " bytes";
    if (byte < start)
      return std::to_string(start - byte) + " bytes before the start" + size;
    if (byte >= start + region.bytes)
      return std::to_string(byte - start - static_cast<ptrdiff_t>(region.bytes)) + " bytes after the end" + size;
    return "byte " + std::to_string(byte - start) + size;
  }
  return byte < reinterpret_cast<const char *>(pageBytes) ? "a null pointer" : "outside every allocation";
}

std::vector<std::string> CudaMemory::overwritten() {
  std::vector<std::string> texts;
  for (auto &[start, region] : regions) {
    char *end = const_cast<char *>(start) + region.bytes;
    size_t watched = roundUp(region.bytes, unitBytes) - region.bytes;
    for (size_t i = 0; i < watched; ++i)
      if (static_cast<unsigned char>(end[i]) != poison) {
        texts.push_back("wrote device memory " + describe(end + i));
        break;
      }
    std::memset(end, poison, watched);
  }
  return texts;
}

} // namespace moec
