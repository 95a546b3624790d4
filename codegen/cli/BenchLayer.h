// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The layer that a benchmark names -> compiled, linked into this process, weights packed, ready for timed calls.

#ifndef MOEC_CODEGEN_CLI_BENCHLAYER_H
#define MOEC_CODEGEN_CLI_BENCHLAYER_H

#include "CompileFlags.h"
#include "TextLayer.h"

#include "codegen/bench/BenchContext.h"
#include "codegen/bench/BenchStages.h"
#include "codegen/bench/BenchWorkload.h"
#include "codegen/emulate/PackageOnDisk.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace moec {

struct BenchFlags {
  CompileFlags compile;
  std::string spec, tokens = "1,32,512", skew = "uniform", format = "md";
  // The second layer of a comparison: a spec or a package folder, a schedule, records. All empty: there is none.
  std::string against, scheduleB;
  std::optional<std::string> tuningB; // "" or "none": heuristics alone

  bool comparesTwo() const { return !against.empty() || !scheduleB.empty() || tuningB; }
  int threads = 1, rounds = 0;
  int64_t distinct = 0; // 0: as many as fit
  bool json = false, warm = false, ceilings = false, stages = false;
};

// A layer before it runs.
struct BenchSubject {
  SpecInput input;
  std::unique_ptr<TextLayer> text; // null unless `input` is a .mlir file
  BenchFacts facts;
  bool knowsFacts = true;                    // false: a package that was made from a .mlir file
  std::unique_ptr<CompiledPackage> compiled; // null: it is a package on disk
  std::unique_ptr<PackageOnDisk> package;    // or null
  std::vector<int64_t> tokens;               // of --tokens

  const CompiledPackage &code() const { return package ? package->compiled : *compiled; }
  const LaunchPlan &plan() const { return code().plan; }
};

// Loads and compiles `spec`. Prints errors and returns their exit code.
int loadSubject(Session &session, const BenchFlags &flags, const CompileFlags &compileFlags, const std::string &spec,
                BenchSubject &out);

// Opens the package in `folder` instead. Its inputs follow from the spec in it.
int loadPackage(Session &session, const BenchFlags &flags, const std::string &folder, BenchSubject &out);

// Bytes of memory that weights, inputs and the largest call of a subject will take; `distinct` as below.
double benchMemory(const BenchSubject &subject, const BenchFlags &flags, int64_t distinct);

// A subject that runs. It must not move once its weights are packed; the subject must outlive it.
class BenchedLayer {
public:
  // `distinct`: experts with storage of their own; 0: all. The errors of these functions are E-INTERNAL, E-MACHINE and
  // E-MEMORY.
  static Result<std::unique_ptr<BenchedLayer>> load(const BenchSubject &subject, const BenchFlags &flags,
                                                    int64_t distinct);

  // Packs weights for `skew`; the unpacked ones live only meanwhile.
  Result<> pack(const BenchFlags &flags);
  // Uses the weights of `other`, which must outlive this object, if they serve; otherwise packs.
  Result<> packOrShare(const BenchFlags &flags, const BenchedLayer &other);

  bool sharesWeights() const { return shares; } // those of another layer

  // What figures of this layer depend on.
  Result<> describe(const BenchFlags &flags, BenchContext &context) const;

  // The first call of each variant, which also says where its tokens go, and whether its results are numbers at all.
  Result<std::vector<CallWork>> route(const BenchInputs &inputs, int64_t tokens);

  // One call of T tokens, in microseconds; with `warm` the second of two. The inputs of the last route() hold.
  Result<double> timeCall(int64_t tokens, const void *x, void *y, bool warm);

  const moec_layer_info &info() const { return layer.info(); }
  std::vector<StepTime> takeSteps() { return clock.take(); } // of the calls since the last one

private:
  BenchedLayer(const BenchSubject &subject, std::unique_ptr<LoadedPackage> package, const BenchFlags &flags,
               int64_t distinct);

  const BenchSubject &subject;
  std::unique_ptr<LoadedPackage> package;
  std::unique_ptr<AliasedWeights> storage; // null: every expert has its own
  StageClock clock;
  moec_probe watch;
  int64_t distinct; // experts with storage of their own; 0: all
  LayerRun layer;
  bool shares = false;
};

// Tells the user that experts share storage, if they do.
void warnOfSharedExperts(Session &session, const BenchFlags &flags, const BenchSubject &subject, int64_t distinct);

// How many inputs of T tokens successive calls take in turn.
int numVariants(int64_t tokens);

} // namespace moec

#endif
