// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The file of --schedule -> its text; errors are printed with their lines in that file.

#ifndef MOEC_CODEGEN_CLI_SCHEDULEINPUT_H
#define MOEC_CODEGEN_CLI_SCHEDULEINPUT_H

#include "Session.h"

#include "codegen/pipeline/Pipeline.h"

#include <string>

namespace moec {

// Reads options.scheduleName into options.scheduleText. Prints errors of the text and returns 3 or 8.
int loadSchedule(Session &session, CompileOptions &options);

// Checks a schedule that loadSchedule read against the layer: the layer must have every stage for the instruction set
// named, and every entry must be legal. Prints violations and returns 3. Returns 0 without a schedule, and also if the
// layer itself cannot be planned, because the compilation reports that.
int checkSchedule(Session &session, const CompileInput &input, const CompileOptions &options);

} // namespace moec

#endif
