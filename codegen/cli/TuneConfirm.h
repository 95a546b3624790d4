// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// New records -> whole calls of the tuned layer beside the untuned one, and the reference's word on the tuned one.

#ifndef MOEC_CODEGEN_CLI_TUNECONFIRM_H
#define MOEC_CODEGEN_CLI_TUNECONFIRM_H

#include "CompileFlags.h"

#include <string>

namespace moec {

struct TuneFlags {
  CompileFlags compile;
  std::string spec, tokens = "1,8,32,128,512", budget = "10m", output, stage, skew = "uniform", prepare, gpu;
  bool confirm = true, json = false;
};

// Prints a row per T and the cases that verify ran; with --json it verifies and prints nothing. Calls are compared
// under uniform routing if `flags.skew` is a histogram. Returns 1 if verify failed.
int confirmTuning(Session &session, const TuneFlags &flags, const std::string &records);

} // namespace moec

#endif
