// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A package in this process and what it is compared to -> what happened on each of its instruction sets or devices.
//
// Every call runs twice for each number of threads, on a poisoned workspace and into poisoned outputs: all runs must
// give the same bits, and these the oracle's values.

#ifndef MOEC_CODEGEN_CHECK_VERIFYRUN_H
#define MOEC_CODEGEN_CHECK_VERIFYRUN_H

#include "codegen/check/GradientOracle.h"
#include "codegen/check/LayerOracle.h"
#include "codegen/check/LayerRun.h"
#include "codegen/check/RoutingStats.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace moec {

struct VerifyOptions {
  std::vector<int64_t> tokens;
  int seeds = 1, threads = 3;          // sets of random weights; threads 1..N must give equal bits
  uint64_t seed = 1;                   // of the first set of weights
  bool tf32 = false;                   // kernels may round f32 operands, ...
  bool unordered = false;              // ... and add rows in any order
  bool emulated = false;               // for names: "avx512-emulated"
  GradientOracle *gradients = nullptr; // what gradients are compared to, on CPUs; null: they are not computed

  int64_t mostTokens() const; // of one call
};

// Rows of gradients, not of y.
struct GradientResult : CheckResult {
  size_t decided = 0, undecided = 0; // tokens; of the latter rounding decides, and their gradients are not compared
};

// What happened on one instruction set or device.
struct IsaResult : OracleResult {
  std::string name;
  size_t cases = 0, failed = 0;
  GradientResult gradients;
  std::string firstFailure;
};

// A spec's layer is compared with the float64 reference. `functions`: texts of its activations that are not built in.
class SpecOracle : public LayerOracle {
public:
  SpecOracle(const LayerSpec &spec, std::map<std::string, std::string> functions)
      : spec(spec), functions(std::move(functions)) {}
  int64_t hidden() const override { return spec.hidden; }
  DataType activation() const override { return spec.dtype.activation; }
  double weightBytes() const override;
  bool drawWeights(uint64_t seed, bool tf32, bool unordered) override;
  const RoleTensors &weights() const override { return layer.tensors; }
  void drawInputs(int64_t tokens, uint64_t seed) override;
  const CallInputs &inputs() const override { return given; }
  bool compare(const void *x, const CallOutputs &out, OracleResult &result, std::string &reason) override;

private:
  const LayerSpec &spec;
  std::map<std::string, std::string> functions;
  RandomLayer layer;
  CallInputs given;
  ReferenceInputs oracle;
};

// Names of the activations of a layer for which the oracle needs the text of a function file.
std::vector<std::string> functionsToRead(const LayerSpec &spec);

// Bytes of memory that weights as drawn and x will take; a package adds its packed weights and the workspace.
double verifyMemory(const LayerOracle &oracle, const VerifyOptions &options);

// Every instruction set in `isaMask`, the highest first: results are appended, and `skip` is told those that this
// machine lacks. `routing`, which may be null, counts the calls on the first one. An error: nothing could be run, or a
// shortage of memory or of threads (E-MEMORY, E-RESOURCE, E-MACHINE) ended it, which says nothing about the kernels.
using SkipNote = std::function<void(const std::string &name, const std::string &why)>;
Result<> verifyCpu(LayerOracle &oracle, const moec_package *package, uint32_t isaMask, const VerifyOptions &options,
                   RoutingStats *routing, const SkipNote &skip, std::vector<IsaResult> &results);

// The same on a device, real or emulated. A package that promises no bits (determinism 0) is compared both times.
Result<> verifyDevice(LayerOracle &oracle, const moec_package *package, const DeviceContext &context,
                      const VerifyOptions &options, RoutingStats *routing, std::vector<IsaResult> &results);

} // namespace moec

#endif
