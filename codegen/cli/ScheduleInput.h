// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The file of --schedule -> its text, after every error was said at its line of that file.

#ifndef MOEC_CODEGEN_CLI_SCHEDULEINPUT_H
#define MOEC_CODEGEN_CLI_SCHEDULEINPUT_H

#include "Session.h"

#include "codegen/pipeline/Pipeline.h"

#include <string>

namespace moec {

// Reads options.scheduleName into options.scheduleText. Errors of the text are said and 3 or 8 returned.
int loadSchedule(Session &session, CompileOptions &options);

// A schedule that loadSchedule read, against the layer: every stage of it must be built for its instruction set, and
// every entry legal. Returns 3 after saying what is not; 0 also where the layer itself cannot be planned, which is the
// compilation's to say. Nothing happens without a schedule.
int checkSchedule(Session &session, const CompileInput &input, const CompileOptions &options);

} // namespace moec

#endif
