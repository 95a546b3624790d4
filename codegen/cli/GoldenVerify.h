// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A folder of golden vectors -> every case compiled, run on every instruction set of this machine, and compared.

#ifndef MOEC_CODEGEN_CLI_GOLDENVERIFY_H
#define MOEC_CODEGEN_CLI_GOLDENVERIFY_H

#include "Session.h"

#include "codegen/pipeline/Pipeline.h"

#include <string>

namespace moec {

// One line per case on stdout ("pass NAME ..."), then `N cases, P passed, F failed, S skipped`. Returns 0 when no
// case failed, 1 when one did, 8 when the folder cannot be read. The folder is only read. `gradients`: of cases that
// store gradients, those too; others are skipped.
int verifyGolden(Session &session, const std::string &folder, const CompileOptions &options, bool gradients);

} // namespace moec

#endif
