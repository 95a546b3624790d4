// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A package in this process -> its weights packed, ready for timed calls, and the timed calls of every T.

#ifndef MOEC_CODEGEN_BENCH_BENCHEDLAYER_H
#define MOEC_CODEGEN_BENCH_BENCHEDLAYER_H

#include "BenchReport.h"
#include "BenchStages.h"
#include "BenchWorkload.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace moec {

struct BenchOptions {
  std::string skew = "uniform";
  int threads = 1, rounds = 0; // rounds 0: until enough are accepted
  int64_t distinct = 0;        // experts with storage of their own; 0: as many as fit
  bool warm = false, stages = false;
};

// What a benchmark must know of a package. The pointers must outlive what is made of it.
struct BenchPackage {
  const moec_package *package = nullptr;
  const PlanTables *plan = nullptr;
  const BenchFacts *facts = nullptr;
  std::string name, moecVersion, packageHash; // packageHash: of its library
};

// It must not move once its weights are packed. The errors of its functions are E-INTERNAL, E-MACHINE and E-MEMORY.
class BenchedLayer {
public:
  // `distinct`: experts with storage of their own; 0: all.
  BenchedLayer(BenchPackage of, const BenchOptions &options, int64_t distinct);
  BenchedLayer(const BenchedLayer &) = delete;
  BenchedLayer &operator=(const BenchedLayer &) = delete;

  // Packs weights for the routing of the options; the unpacked ones live only meanwhile.
  Result<> pack();
  // Uses the weights of `other`, which must outlive this object, if they serve; otherwise packs.
  Result<> packOrShare(const BenchedLayer &other);

  bool sharesWeights() const { return shares; } // those of another layer

  // What figures of this layer depend on.
  void describe(BenchContext &context) const;

  // The first call of each variant, which also says where its tokens go, and whether its results are numbers at all.
  Result<std::vector<CallWork>> route(const BenchInputs &inputs, int64_t tokens);

  // One call of T tokens, in microseconds; of warm options the second of two. The inputs of the last route() hold.
  Result<double> timeCall(int64_t tokens, const void *x, void *y);

  const moec_layer_info &info() const { return layer.info(); }
  const BenchFacts &facts() const { return *of.facts; }
  const PlanTables &plan() const { return *of.plan; }
  const BenchOptions &options() const { return chosen; }
  std::vector<StepTime> takeSteps() { return clock.take(); } // of the calls since the last one

private:
  BenchPackage of;
  BenchOptions chosen;
  std::unique_ptr<AliasedWeights> storage; // null: every expert has its own
  StageClock clock;
  moec_probe watch;
  int64_t distinct; // experts with storage of their own; 0: all
  LayerRun layer;
  bool shares = false;
};

// How many inputs of T tokens successive calls take in turn.
int numVariants(int64_t tokens);

// Experts with storage of their own for one layer: what the options say, or as many as fit.
int64_t chooseDistinct(const BenchOptions &options, const PlanTables &plan, const BenchFacts &facts);

// Bytes of memory that weights, inputs and the largest call of a layer will take.
double benchMemory(const BenchOptions &options, const PlanTables &plan, const BenchFacts &facts,
                   const std::vector<int64_t> &tokens, int64_t distinct);

// W-SHARED if experts share storage and nobody asked for it.
std::optional<Diagnostic> sharedExpertsWarning(const BenchOptions &options, const PlanTables &plan, int64_t distinct);

// Times calls of each T of `tokens` on a layer whose weights are packed, between probes, and fills `run`. `progress` is
// called after each T; it may be empty.
using BenchProgress = std::function<void(const BenchSeries &series, const ProbeResult &best)>;
Result<> benchCalls(BenchedLayer &layer, const std::vector<int64_t> &tokens, const BenchProgress &progress,
                    BenchRun &run);

// "  T = 32         37441.0 us   83.1 % of the bound, 15 of 15 rounds accepted"
std::string progressText(const BenchSeries &series, const ProbeResult &best);

// W-SPREAD and W-CEILING: figures that are not reported, and why.
std::vector<Diagnostic> withheldWarnings(const BenchRun &run);

// The ceilings alone, for scripts that measure something else beside them. The error is E-MEMORY.
Result<std::string> ceilingsText(int threads, bool json);

} // namespace moec

#endif
