// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The verbs of `moec`, one file each. A verb adds its flags to the command line and returns the function to run after
// parsing.

#ifndef MOEC_CODEGEN_CLI_VERBS_H
#define MOEC_CODEGEN_CLI_VERBS_H

#include "Session.h"

#include <functional>

namespace CLI {
class App;
}

namespace moec {

using VerbBody = std::function<int(Session &)>; // returns the exit code

// Each function adds one subcommand to `app` and returns it; `body` is called if the user chose it.
struct Verb {
  CLI::App *command;
  VerbBody body;
};

Verb addInit(CLI::App &app);
Verb addImport(CLI::App &app);
Verb addCheck(CLI::App &app);
Verb addPack(CLI::App &app);
Verb addCompile(CLI::App &app);
Verb addExplain(CLI::App &app);
Verb addVerify(CLI::App &app);
Verb addBench(CLI::App &app);
Verb addTune(CLI::App &app);
Verb addTuneDb(CLI::App &app);
Verb addCompare(CLI::App &app);
Verb addReport(CLI::App &app);
Verb addTargets(CLI::App &app);
Verb addDoctor(CLI::App &app);
Verb addSchema(CLI::App &app);
Verb addVersion(CLI::App &app);

} // namespace moec

#endif
