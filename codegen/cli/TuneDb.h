// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The verbs of `moec tunedb`: files of tuning records in -> lists, other files, a schedule, or their problems out.

#ifndef MOEC_CODEGEN_CLI_TUNEDB_H
#define MOEC_CODEGEN_CLI_TUNEDB_H

#include "Session.h"

#include "codegen/tune/TuneSources.h"

#include <string>
#include <vector>

namespace moec {

struct TuneDbFlags {
  std::vector<std::string> files;
  std::string stage, layer, machine, output, templatesDir;
  std::vector<std::string> targets; // "cpu:avx512"; empty: all
  bool json = false, force = false, dryRun = false, shipped = false;
};

// Each returns an exit code and prints its errors.
int tuneDbList(Session &session, const TuneDbFlags &flags);
int tuneDbShow(Session &session, const TuneDbFlags &flags);
int tuneDbMerge(Session &session, const TuneDbFlags &flags);
int tuneDbExport(Session &session, const TuneDbFlags &flags);
int tuneDbPrune(Session &session, const TuneDbFlags &flags);
int tuneDbVerify(Session &session, const TuneDbFlags &flags);

// The records of flags.files, with the shipped ones if asked for; warns about lines that were skipped.
int loadRecords(Session &session, const TuneDbFlags &flags, TuneSet &set);

// A warning per complaint, and how many more lines were skipped.
void warnOfLines(Session &session, const std::vector<Diagnostic> &complaints, size_t skippedLines);

} // namespace moec

#endif
