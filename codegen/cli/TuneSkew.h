// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// --skew of `moec tune` -> how often tokens choose each expert.

#ifndef MOEC_CODEGEN_CLI_TUNESKEW_H
#define MOEC_CODEGEN_CLI_TUNESKEW_H

#include "Session.h"

#include "codegen/search/RowClasses.h"

#include <string>
#include <vector>

namespace moec {

// "uniform", "zipf", or a file: a JSON list of counts, one per expert of a routed stage. E-FILE: it cannot be read;
// E-USAGE: it says something else, or the layer has no such number of experts.
int readSkew(Session &session, const std::string &skew, const std::vector<MatmulStage> &stages, TuneRouting &out);

} // namespace moec

#endif
