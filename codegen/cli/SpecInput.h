// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The SPEC argument of a verb -> a checked LayerSpec with the places of its keys, or the text of a .mlir file.

#ifndef MOEC_CODEGEN_CLI_SPECINPUT_H
#define MOEC_CODEGEN_CLI_SPECINPUT_H

#include "Session.h"

#include "codegen/pipeline/Pipeline.h"

#include "dsl/LayerSpec.h"
#include "dsl/spec/SpecReader.h"

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace moec {

struct SpecInput {
  bool isMoeText = false;
  std::string fileName, text; // text: of a .mlir file, or of the spec
  LayerSpec spec;             // valid unless isMoeText
  SpecSource source;

  CompileInput compileInput() const;
};

// The flags of every verb that reads a spec.
struct SpecFlags {
  std::string templatesDir; // overlay folder; may be empty
  std::string reports;      // "all", "none" or names, in place of the spec's `reports`; empty: the spec's
};

void addSpecFlags(CLI::App &verb, SpecFlags &flags); // `flags` must outlive the parse

// `argument` is a JSON file, a .mlir file, or a preset's name if no such file exists. Prints errors and returns their
// exit code (2, 3, 4 or 8); errors of the spec go to `collected` if it is given.
int loadSpec(Session &session, const std::string &argument, const SpecFlags &flags, SpecInput &out,
             DiagnosticList *collected = nullptr);

// --name: gives the layer of a spec another name; "" keeps its own. Prints errors and returns their exit code.
int renameSpec(Session &session, SpecInput &input, const std::string &name);

// Adds the errors of a compilation to `list`: those with a path at their key of the spec, those with a place in the
// input there, all others at the input as a whole. Returns the exit code.
int addCompileErrors(const SpecInput &input, const std::vector<Diagnostic> &errors, DiagnosticList &list);

// Prints them in that form and returns the exit code.
int reportCompileErrors(Session &session, const SpecInput &input, const std::vector<Diagnostic> &errors);

// "128 experts, top-8, H 2048, I 768, bf16": the first line of compile and explain.
std::string specSummary(const LayerSpec &spec);

} // namespace moec

#endif
