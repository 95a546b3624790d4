// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A text -> a file for people: a spec to edit, a report to read.

#ifndef MOEC_CODEGEN_CLI_TEXTOUTPUT_H
#define MOEC_CODEGEN_CLI_TEXTOUTPUT_H

#include "Session.h"

#include <string>

namespace moec {

// Writes `text` to a new file; with `force` the file may exist. The file appears whole or stays as it was; what is not
// a regular file, such as a pipe, is written in place. A symbolic link is refused. Prints errors and returns their exit
// code.
int writeTextFile(Session &session, const std::string &path, const std::string &text, bool force);

// Makes the finished file `staging`, which lies beside `path`, the file `path`; without `force` a file that appears
// meanwhile stays. Returns errno of what failed, 0: done. `staging` is gone afterwards.
int commitStagedFile(const std::string &staging, const std::string &path, bool force);

// The error of writing a file for errno `number`: E-EXISTS or E-WRITE. Returns its exit code.
int failedToWrite(Session &session, const std::string &path, int number);

} // namespace moec

#endif
