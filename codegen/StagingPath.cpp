// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Names of staging files: 32 bits of the system's random source, or of clock and process id where it has none.

#include "codegen/StagingPath.h"

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <sys/random.h>
#include <unistd.h>

namespace moec {

static constexpr size_t maxNameBytes = 255; // NAME_MAX of every usual file system

static uint32_t randomNumber() {
  uint32_t number;
  if (getrandom(&number, sizeof number, GRND_NONBLOCK) == ssize_t(sizeof number))
    return number;
  static std::atomic<uint32_t> calls{0};
  timespec now = {};
  clock_gettime(CLOCK_REALTIME, &now);
  return (uint32_t(now.tv_nsec) ^ uint32_t(now.tv_sec) << 16 ^ uint32_t(getpid()) << 8) + calls++ * 2654435761u;
}

std::string stagingPathOf(const std::string &path) {
  char suffix[16];
  int length = std::snprintf(suffix, sizeof suffix, ".tmp-%08x", unsigned(randomNumber()));
  size_t slash = path.rfind('/'), begin = slash == std::string::npos ? 0 : slash + 1;
  std::string name = path.substr(begin);
  if (name.size() + size_t(length) > maxNameBytes) {
    name.resize(maxNameBytes - size_t(length));
    while (!name.empty() && (name.back() & 0xc0) == 0x80) // not within a character of UTF-8
      name.pop_back();
    if (!name.empty() && (name.back() & 0x80))
      name.pop_back();
  }
  return path.substr(0, begin) + name + suffix;
}

} // namespace moec
