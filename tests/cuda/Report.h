// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Cases of a folder in -> one line each on stdout, written when it is known; what ran, for the runner.
//
//     pass KIND NAME: text        FAIL KIND NAME: text        skip KIND NAME: why

#ifndef MOEC_TESTS_CUDA_REPORT_H
#define MOEC_TESTS_CUDA_REPORT_H

#include <cstddef>
#include <string>
#include <vector>

namespace moec {

// Which cases of a folder this process runs, and where it says so.
struct CaseOptions {
  std::vector<std::string> names; // these; empty: all
  std::string after;              // those behind this one in the order of names: what a process that ended left over
  size_t share = 0, shares = 1;   // of the cases in order, every shares-th from `share` on
  std::string begunFile;          // holds the name of the case under way
  std::string kernelsFile;        // gets "KIND/NAME KERNEL" for every kernel of a case that passed
};

class Report {
public:
  Report(std::string kind, const CaseOptions &options) : kind(std::move(kind)), options(options) {}

  // Stems of FOLDER/*EXTENSION that this process runs, in order.
  std::vector<std::string> casesIn(const std::string &folder, const std::string &extension);

  void begin(const std::string &name); // said before a case, which may end the process
  void pass(const std::string &name, const std::string &text) { add("pass", passed, name, text); }
  void fail(const std::string &name, const std::string &text) { add("FAIL", failed, name, text); }
  void skip(const std::string &name, const std::string &why) { add("skip", skipped, name, why); }
  void say(const std::string &line); // any other line

  // Prints "KIND: N checks, ..."; 0: none failed, and the folder has cases.
  int summary() const;

private:
  void add(const char *verdict, size_t &count, const std::string &name, const std::string &text);
  void noteKernels(const std::string &name) const;

  std::string kind;
  CaseOptions options;
  size_t passed = 0, failed = 0, skipped = 0;
  bool empty = false; // the folder has no case
};

// Exit code where stdout or another file of results cannot be written.
constexpr int cannotWrite = 8;

} // namespace moec

#endif
