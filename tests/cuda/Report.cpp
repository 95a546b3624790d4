// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A line that cannot be written ends the process: results that are lost are worse than a run that stops.

#include "Report.h"

#include "CheckedPackage.h"
#include "WatchedDriver.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <unistd.h>

namespace moec {

[[noreturn]] static void refuse(const char *what) {
  std::fprintf(stderr, "moec-cuda-check: %s cannot be written: %s\n", what, std::strerror(errno));
  _exit(cannotWrite);
}

static void writeLine(const std::string &line) {
  if (std::fputs((line + "\n").c_str(), stdout) < 0 || std::fflush(stdout))
    refuse("a line of the results");
}

std::vector<std::string> Report::casesIn(const std::string &folder, const std::string &extension) {
  std::vector<std::string> stems = stemsIn(folder, extension), chosen;
  empty = stems.empty();
  for (size_t i = 0; i < stems.size(); ++i) {
    bool named =
        options.names.empty() || std::find(options.names.begin(), options.names.end(), stems[i]) != options.names.end();
    if (named && i % options.shares == options.share && stems[i] > options.after)
      chosen.push_back(stems[i]);
  }
  return chosen;
}

void Report::begin(const std::string &name) {
  watchCase(kind + " " + name);
  if (options.begunFile.empty())
    return;
  std::FILE *file = std::fopen(options.begunFile.c_str(), "w");
  if (!file || std::fprintf(file, "%s\n", name.c_str()) < 0 || std::fclose(file))
    refuse(options.begunFile.c_str());
}

void Report::noteKernels(const std::string &name) const {
  if (options.kernelsFile.empty())
    return;
  std::FILE *file = std::fopen(options.kernelsFile.c_str(), "a");
  bool good = file != nullptr;
  std::string lines;
  for (const std::string &kernel : kernelsOfCase())
    lines += kind + "/" + name + " " + kernel + "\n";
  good = good && std::fputs(lines.c_str(), file) >= 0;
  if (!good || std::fclose(file))
    refuse(options.kernelsFile.c_str());
}

void Report::add(const char *verdict, size_t &count, const std::string &name, const std::string &text) {
  ++count;
  if (&count == &passed)
    noteKernels(name);
  writeLine(std::string(verdict) + " " + kind + " " + name + ": " + text);
}

void Report::say(const std::string &line) { writeLine(line); }

int Report::summary() const {
  writeLine(kind + ": " + std::to_string(passed + failed + skipped) + " checks, " + std::to_string(passed) +
            " passed, " + std::to_string(failed) + " failed, " + std::to_string(skipped) + " skipped");
  return failed || empty ? 1 : 0;
}

} // namespace moec
