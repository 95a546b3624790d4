// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A package in this process -> its weights packed, ready for timed calls, and the timed calls of every T.

#ifndef MOEC_CODEGEN_BENCH_BENCHEDLAYER_H
#define MOEC_CODEGEN_BENCH_BENCHEDLAYER_H

#include "BenchPass.h"
#include "BenchReport.h"
#include "BenchStages.h"
#include "BenchWorkload.h"
#include "TrainingMemory.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace moec {

struct BenchOptions {
  std::string skew = "uniform";
  std::string pass;            // "forward", "backward", "both"; empty: both of a layer that trains, else forward
  int threads = 1, rounds = 0; // rounds 0: until enough are accepted
  int64_t distinct = 0;        // experts with storage of their own; 0: as many as fit
  bool warm = false, stages = false;
};

// What a benchmark must know of a package. The pointers must outlive what is made of it.
struct BenchPackage {
  const moec_package *package = nullptr;
  const PlanTables *plan = nullptr, *backward = nullptr; // backward: null if the layer does not train
  const BenchFacts *facts = nullptr;
  std::string name, moecVersion, packageHash; // packageHash: of its library
};

// Which calls of a layer the options ask for. E-UNSUPPORTED: it does not train. E-USAGE: experts cannot share storage,
// because the gradients of each are written.
Result<std::vector<BenchPass>> benchPasses(const BenchOptions &options, bool trains);

// What one call of each pass must do.
struct PassWork {
  CallWork forward, backward;
  const CallWork &of(BenchPass pass) const { return pass == BenchPass::Backward ? backward : forward; }
};

// It must not move once its weights are packed. The errors of its functions are E-INTERNAL, E-MACHINE and E-MEMORY.
class BenchedLayer {
public:
  // `distinct`: experts with storage of their own; 0: all. benchPasses must accept the options.
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
  Result<std::vector<PassWork>> route(const BenchInputs &inputs, int64_t tokens);

  // One call of T tokens, in microseconds; of warm options the second of two. The inputs of the last route() hold. A
  // backward call reads what the last forward call that saves has saved, which must be of the same x.
  Result<double> timeCall(BenchPass pass, int64_t tokens, const void *x, void *y);
  // The same without a time.
  Result<> call(BenchPass pass, int64_t tokens, const void *x, void *y);

  const moec_layer_info &info() const { return layer.info(); }
  const BenchFacts &facts() const { return *of.facts; }
  const PlanTables &planOf(BenchPass pass) const { return pass == BenchPass::Backward ? *of.backward : *of.plan; }
  const std::vector<BenchPass> &passes() const { return timed; }
  const BenchOptions &options() const { return chosen; }
  std::vector<StepTime> takeSteps(BenchPass pass); // of the calls since the last one

private:
  Result<> train(const BenchInputs &inputs, int64_t tokens);
  DataType gradientType() const { return of.facts->matrixType(); } // of matrices

  BenchPackage of;
  BenchOptions chosen;
  std::vector<BenchPass> timed;
  std::unique_ptr<AliasedWeights> storage; // null: every expert has its own
  StageClock clock;
  moec_probe watch;
  int64_t distinct; // experts with storage of their own; 0: all
  LayerRun layer;
  std::unique_ptr<TrainingMemory> training; // of the last route() of a layer whose backward pass is timed
  bool shares = false;
};

// How many inputs of T tokens successive calls take in turn.
int numVariants(int64_t tokens);

// Experts with storage of their own for one layer: what the options say, or as many as fit.
// All have it where backward calls are timed.
int64_t chooseDistinct(const BenchOptions &options, const BenchPackage &of);

// Bytes of memory that weights, inputs and the largest call of a layer will take.
double benchMemory(const BenchOptions &options, const BenchPackage &of, const std::vector<int64_t> &tokens,
                   int64_t distinct);

// E-MEMORY or E-MACHINE (MemoryNeed.h) if that is more than there is.
Result<> checkBenchMemory(const BenchOptions &options, const BenchPackage &of, const std::vector<int64_t> &tokens,
                          int64_t distinct);

// W-SHARED if experts share storage and nobody asked for it.
std::optional<Diagnostic> sharedExpertsWarning(const BenchOptions &options, const PlanTables &plan, int64_t distinct);

// Times calls of each T of `tokens` on a layer whose weights are packed, between probes, and fills `run`: the layer's
// passes alternate. `progress` is called after each T and pass; it may be empty.
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
