// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec tune --target cuda on a machine without a GPU: candidates in the order of a model, kept as records that say
// "predicted". `compile` uses them where no measured record fits.

#ifndef MOEC_CODEGEN_CLI_TUNEPREDICT_H
#define MOEC_CODEGEN_CLI_TUNEPREDICT_H

#include "TuneConfirm.h"

namespace moec {

// Prints errors and returns their exit code. Records go to `recordsFile`.
int predictTuning(Session &session, const TuneFlags &flags, const SpecInput &input, CompileOptions options,
                  const std::string &recordsFile);

} // namespace moec

#endif
