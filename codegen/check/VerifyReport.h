// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What happened on instruction sets and devices -> a table for people, members of a JSON object, and counts.

#ifndef MOEC_CODEGEN_CHECK_VERIFYREPORT_H
#define MOEC_CODEGEN_CHECK_VERIFYREPORT_H

#include "codegen/check/VerifyRun.h"

#include "dsl/text/JsonWriter.h"

#include <string>
#include <vector>

namespace moec {

struct VerifyCounts {
  size_t cases = 0, failed = 0, skipped = 0; // a skipped machine counts with the cases of the others
  size_t passed() const { return cases - failed - skipped; }
};
VerifyCounts countsOf(const std::vector<IsaResult> &results, size_t skippedMachines);

// A row per machine under a head, and the sum.
std::string verifyTable(const std::vector<IsaResult> &results, size_t skippedMachines);

// The same as members of an open object. `math` and `determinism` are the package's.
void writeVerifyMembers(JsonWriter &json, const std::vector<IsaResult> &results, size_t skippedMachines,
                        const std::string &math, const std::string &determinism);

} // namespace moec

#endif
