// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The flags of every compiling verb -> CompileOptions; and one compilation that prints its progress and errors.

#ifndef MOEC_CODEGEN_CLI_COMPILEFLAGS_H
#define MOEC_CODEGEN_CLI_COMPILEFLAGS_H

#include "Session.h"
#include "SpecInput.h"

#include "codegen/check/LayerRun.h"
#include "codegen/pipeline/Pipeline.h"

#include <memory>
#include <string>
#include <vector>

namespace moec {

struct CompileFlags : SpecFlags {
  std::vector<std::string> targets = {"cpu"};
  int64_t maxTokens = 8192;
  std::string workspaceLimit; // "64MiB"; empty: none
  std::string scheduleFile, math = "exact", determinism = "run";
  std::vector<std::string> tuning; // files of records; "none": heuristics alone. Besides the project's and shipped ones
  bool allowBits = false;
  unsigned jobs = 2;
};

void addCompileFlags(CLI::App &verb, CompileFlags &flags); // `flags` must outlive the parse

// Flags -> options; progress goes to session.err unless quiet. Prints errors and returns their exit code.
int compileOptions(Session &session, const CompileFlags &flags, CompileOptions &options);

// One compilation; null: errors were printed and `exit` is their code.
std::unique_ptr<CompiledPackage> compile(Session &session, const SpecInput &input, const CompileOptions &options,
                                         int &exit);

// A package is compiled already: refuses flags that say how. Prints the error and returns its exit code.
int refuseCompileFlags(Session &session, const std::string &package, const CompileFlags &flags);

// Splits `options` by device: the CPU instruction sets, and each CUDA architecture separately if kernels are emulated.
std::vector<CompileOptions> splitByDevice(const CompileOptions &options);

// The counts of --tokens. Prints errors and returns their exit code.
int tokenCounts(Session &session, const std::string &text, int64_t maxTokens, std::vector<int64_t> &out);

// "386.0 MiB": bytes for people.
std::string sizeText(int64_t bytes);

} // namespace moec

#endif
