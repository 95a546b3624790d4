// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A folder of recorded routings -> their statistics.
//
//   *.safetensors  each one record of T tokens:
//     ids      [T,K]  I32 or I64   experts 0..E-1, then zero experts; -1: none
//     weights  [T,K]  F32          optional; a choice of weight 0 counts as dropped
//     logits   [T,n]  F32          optional
//     labels   [T]    I32 or I64   optional; from 0
//   labels.json    optional: a list of the labels' names; or, in a file's metadata, "labels": the same list as text
//
// K is the layer's. F16, BF16 and F64 are read as F32. Files are untrusted: everything in them is checked.

#ifndef MOEC_CODEGEN_CLI_ROUTINGFOLDER_H
#define MOEC_CODEGEN_CLI_ROUTINGFOLDER_H

#include "Session.h"

#include "codegen/check/RoutingStats.h"

#include <string>
#include <vector>

namespace moec {

// `stats` must be made for the layer's experts; `choices` is its K. Prints errors and returns their exit code.
int readRoutings(Session &session, const std::string &folder, int64_t choices, RoutingStats &stats,
                 std::vector<std::string> &labelNames);

} // namespace moec

#endif
