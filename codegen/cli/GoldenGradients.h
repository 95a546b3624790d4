// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A golden case that stores gradients, and a layer compiled for it -> whether the layer computes them.

#ifndef MOEC_CODEGEN_CLI_GOLDENGRADIENTS_H
#define MOEC_CODEGEN_CLI_GOLDENGRADIENTS_H

#include "codegen/check/GoldenCase.h"
#include "codegen/check/GradientRun.h"
#include "codegen/gradcheck/SpecGradients.h"

#include <memory>
#include <string>

namespace moec {

class GoldenGradients {
public:
  // `golden.spec` has a backward pass; the case must outlive this object.
  static Result<std::unique_ptr<GoldenGradients>> make(const GoldenCase &golden, const std::string &templatesDir);

  // On a layer whose weights are packed. False: `reason`.
  Result<bool> run(LayerRun &layer, int threads, const PrepareThreads &prepare, CheckResult &result,
                   std::string &reason);

private:
  explicit GoldenGradients(const GoldenCase &golden) : golden(golden) {}
  bool compareStored(const CallGradients &got, std::string &reason) const;

  const GoldenCase &golden;
  MemoryWeights weights; // read by the inputs of the reference
  std::unique_ptr<SpecGradients> oracle;
};

} // namespace moec

#endif
