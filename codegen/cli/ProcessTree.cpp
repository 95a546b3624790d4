// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Children by /proc. Each round finds those that the last one's deaths have handed over.

#include "ProcessTree.h"

#include <algorithm>
#include <cctype>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace moec {

// The parent in /proc/PID/stat: "PID (NAME) STATE PARENT ..."; the name may hold anything.
static pid_t parentOf(const std::string &process) {
  std::ifstream file("/proc/" + process + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  size_t name = text.rfind(')');
  return name == std::string::npos || name + 4 > text.size() ? 0 : pid_t(std::atoi(text.c_str() + name + 4));
}

static std::vector<pid_t> childrenOfThis() {
  std::vector<pid_t> found;
  std::string self = std::to_string(getpid());
  std::ifstream list("/proc/self/task/" + self + "/children");
  if (list) {
    for (pid_t child; list >> child;)
      found.push_back(child);
    return found;
  }
  // A kernel without that file.
  std::error_code code;
  for (std::filesystem::directory_iterator it("/proc", code), end; !code && it != end; it.increment(code)) {
    std::string name = it->path().filename().string();
    if (std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c); }) &&
        parentOf(name) == getpid())
      found.push_back(pid_t(std::atoi(name.c_str())));
  }
  return found;
}

ProcessTree::ProcessTree() : others(childrenOfThis()) { prctl(PR_SET_CHILD_SUBREAPER, 1); }

void ProcessTree::endOrphans() {
  for (int round = 0; round < 200; ++round) {
    bool any = false;
    for (pid_t child : childrenOfThis()) {
      if (std::find(others.begin(), others.end(), child) != others.end())
        continue;
      any = true;
      kill(child, SIGKILL);
      waitpid(child, nullptr, WNOHANG);
    }
    if (!any)
      return;
    timespec tick = {0, 5000000};
    nanosleep(&tick, nullptr);
  }
}

} // namespace moec
