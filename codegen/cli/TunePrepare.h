// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec tune --prepare DIR: a layer -> a folder whose program `run` measures the layer's candidates on a machine without
// the compiler. The folder appears whole or not at all.

#ifndef MOEC_CODEGEN_CLI_TUNEPREPARE_H
#define MOEC_CODEGEN_CLI_TUNEPREPARE_H

#include "TuneConfirm.h"

namespace moec {

// Prints errors and returns their exit code.
int prepareTuning(Session &session, const TuneFlags &flags, const SpecInput &input, CompileOptions options);

} // namespace moec

#endif
