// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The verbs of moec-run: flags -> results on stdout, messages on stderr, an exit code.

#ifndef MOEC_CODEGEN_RUN_RUNVERBS_H
#define MOEC_CODEGEN_RUN_RUNVERBS_H

#include "codegen/bench/BenchedLayer.h"

#include "dsl/text/Diagnostic.h"

#include <cstdint>
#include <string>

namespace moec {

struct RunInspectFlags {
  std::string package;
  bool json = false;
};

struct RunVerifyFlags {
  std::string package, tokens = "0-17,31-33,64";
  int seeds = 1, threads = 3;
  uint64_t seed = 1;
  bool json = false;
};

struct RunBenchFlags : BenchOptions {
  std::string package, tokens = "1,32,512", format = "md";
  bool json = false, ceilings = false;
};

int runInspect(const RunInspectFlags &flags);
int runVerify(const RunVerifyFlags &flags);
int runBench(const RunBenchFlags &flags);

// Prints it on stderr and returns the exit code of its code; of a warning 0.
int say(const Diagnostic &message);

} // namespace moec

#endif
