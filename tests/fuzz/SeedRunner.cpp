// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// SeedRunner RUNS FOLDER...: a target's seeds, then RUNS changes of them from a fixed seed, the same ones in every run.
// The input that ends it is kept as crash-NAME in the current folder.

#include "FuzzTarget.h"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <unistd.h>
#include <vector>

namespace fs = std::filesystem;

namespace {

std::string running, crashFile;

void keepInput(int number) {
  int fd = open(crashFile.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd >= 0) {
    (void)!write(fd, running.data(), running.size());
    close(fd);
  }
  signal(number, SIG_DFL);
  raise(number);
}

// xorshift64*: the same numbers on every machine.
uint64_t state = 0x9e3779b97f4a7c15u;
size_t below(size_t n) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return n ? size_t(state * 2685821657736338717u) % n : 0;
}

void run(const std::string &input) {
  running = input;
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t *>(running.data()), running.size());
}

// Bytes, pieces and numbers changed, and pieces of another seed put in.
std::string changed(std::string text, const std::vector<std::string> &seeds) {
  static const char *const pieces[] = {"",     "0",   "-1", "1e400", "9223372036854775808",
                                       "null", "\"",  "{",  "}",     "[",
                                       "]",    ",",   ":",  "(",     ")",
                                       "<",    ">",   "\n", " ",     "\\",
                                       "\xff", "\x1b"};
  for (size_t edits = 1 + below(4); edits > 0; --edits) {
    size_t at = below(text.size() + 1), length = below(16);
    if (at < text.size() && below(2)) {
      text[at] = char(below(256));
    } else if (below(3)) {
      text.replace(at, std::min(length, text.size() - at), pieces[below(std::size(pieces))]);
    } else {
      const std::string &other = seeds[below(seeds.size())];
      size_t from = below(other.size() + 1);
      text.insert(at, other.substr(from, below(64)));
    }
  }
  return text;
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 3) {
    std::fprintf(stderr, "%s RUNS FOLDER...\n", argv[0]);
    return 2;
  }
  crashFile = "crash-" + fs::path(argv[0]).filename().string();
  for (int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL})
    signal(number, keepInput);
  std::vector<fs::path> paths;
  for (int i = 2; i < argc; ++i)
    for (const auto &entry : fs::directory_iterator(argv[i]))
      paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> seeds;
  for (const fs::path &path : paths) {
    std::ifstream file(path, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    run(seeds.back());
  }
  if (seeds.empty()) {
    std::fprintf(stderr, "there is no seed\n");
    return 1;
  }
  long runs = std::atol(argv[1]);
  for (long i = 0; i < runs; ++i)
    run(changed(seeds[below(seeds.size())], seeds));
  std::printf("%zu seeds and %ld changes of them\n", seeds.size(), runs);
  return 0;
}
