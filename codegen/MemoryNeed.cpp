// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// /proc/meminfo, the control group of version 2, and RLIMIT_AS.

#include "codegen/MemoryNeed.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sys/resource.h>
#include <unistd.h>

namespace moec {

static constexpr int64_t unlimited = INT64_MAX;

// The number that a file begins with; -1 if it begins with a word ("max") or cannot be read.
static int64_t numberIn(const std::string &path) {
  std::ifstream file(path);
  int64_t number;
  return file >> number ? number : -1;
}

// What the process's group and those above it leave. In a container its own group is the root of /sys/fs/cgroup.
static int64_t leftByGroups() {
  std::ifstream file("/proc/self/cgroup");
  std::string line, group;
  while (std::getline(file, line))
    if (line.rfind("0::", 0) == 0)
      group = line.substr(3);
  int64_t left = unlimited;
  while (true) {
    std::string folder = "/sys/fs/cgroup" + group;
    int64_t most = numberIn(folder + "/memory.max"), used = numberIn(folder + "/memory.current");
    if (most >= 0 && used >= 0)
      left = std::min(left, std::max<int64_t>(0, most - used));
    if (group.empty())
      return left;
    group.resize(std::min(group.size() - 1, group.rfind('/')));
  }
}

int64_t availableMemory() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("MemAvailable:", 0) == 0)
      return std::min<int64_t>(std::atoll(line.c_str() + 13) * 1024, leftByGroups());
  return 0;
}

static int64_t addressSpaceLeft() {
  rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return unlimited;
  int64_t used = std::max<int64_t>(0, numberIn("/proc/self/statm")) * sysconf(_SC_PAGESIZE);
  return std::max<int64_t>(0, int64_t(limit.rlim_cur) - used);
}

static std::string gibText(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GiB", bytes / double(int64_t(1) << 30));
  return text;
}

Result<> checkMemory(double bytes, const std::string &what) {
  std::string needs = what + " needs about " + gibText(bytes) + " of memory for weights and a call, ";
  int64_t space = addressSpaceLeft(), memory = availableMemory();
  if (bytes > double(space))
    return Diagnostic::error("E-MEMORY", needs + "the limit of address space leaves " + gibText(double(space)),
                             "raise --memory-limit or ulimit -v, or use a smaller layer or fewer --tokens");
  if (memory && bytes > double(memory))
    return Diagnostic::error("E-MACHINE", needs + "this machine has " + gibText(double(memory)) + " available",
                             "use a smaller layer, fewer experts or fewer --tokens");
  return {};
}

} // namespace moec
