// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Statistics of routing -> tables for people, JSON, and warnings.

#ifndef MOEC_CODEGEN_CLI_ROUTINGREPORT_H
#define MOEC_CODEGEN_CLI_ROUTINGREPORT_H

#include "Session.h"

#include "codegen/check/RoutingStats.h"

#include "dsl/text/JsonWriter.h"

#include <string>
#include <vector>

namespace moec {

// Prints the use of each expert, then the balance, then the experts of each label if tokens have labels.
void printRouting(llvm::raw_ostream &os, const RoutingStats &stats, const std::vector<std::string> &labelNames);

// The same as members of an open object.
void writeRouting(JsonWriter &os, const RoutingStats &stats, const std::vector<std::string> &labelNames);

// Every warning on stderr.
void warnOfRouting(Session &session, const RoutingStats &stats);

} // namespace moec

#endif
