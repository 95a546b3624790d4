// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The layer that a benchmark names -> compiled, linked into this process, weights packed, ready for timed calls.

#ifndef MOEC_CODEGEN_CLI_BENCHLAYER_H
#define MOEC_CODEGEN_CLI_BENCHLAYER_H

#include "CompileFlags.h"
#include "TextLayer.h"

#include "codegen/bench/BenchContext.h"
#include "codegen/bench/BenchedLayer.h"
#include "codegen/emulate/PackageOnDisk.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace moec {

struct BenchFlags : BenchOptions {
  CompileFlags compile;
  std::string spec, tokens = "1,32,512", format = "md";
  // The second layer of a comparison: a spec or a package folder, a schedule, records. All empty: there is none.
  std::string against, scheduleB;
  std::optional<std::string> tuningB; // "" or "none": heuristics alone

  bool comparesTwo() const { return !against.empty() || !scheduleB.empty() || tuningB; }
  bool json = false, ceilings = false;
};

// A layer before it runs.
struct BenchSubject {
  SpecInput input;
  std::unique_ptr<TextLayer> text; // null unless `input` is a .mlir file
  BenchFacts facts;
  std::unique_ptr<CompiledPackage> compiled; // null: it is a package on disk
  std::unique_ptr<PackageOnDisk> package;    // or null
  std::vector<int64_t> tokens;               // of --tokens

  const CompiledPackage &code() const { return package ? package->compiled : *compiled; }
  const LaunchPlan &plan() const { return code().plan; }
  bool trains() const { return code().backward != nullptr; }
  BenchPackage tables() const; // without the loaded package and its hash
};

// Loads and compiles `spec`. Prints errors and returns their exit code.
int loadSubject(Session &session, const BenchFlags &flags, const CompileFlags &compileFlags, const std::string &spec,
                BenchSubject &out);

// Either that, or opens the package that `argument` names. Its inputs follow from the layer in it.
int loadAny(Session &session, const BenchFlags &flags, const CompileFlags &compileFlags, const std::string &argument,
            BenchSubject &out);

// A subject in this process. The subject must outlive it.
struct LoadedSubject {
  std::unique_ptr<LoadedPackage> package;
  std::unique_ptr<BenchedLayer> layer;

  // Its weights are not packed yet. The errors are E-INTERNAL and those of openPackage.
  static Result<LoadedSubject> load(const BenchSubject &subject, const BenchFlags &flags, int64_t distinct);
};

void warnAll(Session &session, const std::vector<Diagnostic> &warnings);

} // namespace moec

#endif
