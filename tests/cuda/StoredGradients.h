// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// NAME.gradients: calls of a layer that trains, and what must come of them, for machines without the compiler, which
// alone can differentiate. Written by moec-cuda-gradients.
//
// The weights are those of RandomLayer::make with seed 1, the same on every machine. Of a large tensor some rows are
// kept, spread over all of them; of every row the exact values, as f32, and how far kernels may be off.

#ifndef MOEC_TESTS_CUDA_STOREDGRADIENTS_H
#define MOEC_TESTS_CUDA_STOREDGRADIENTS_H

#include "codegen/check/Compare.h"
#include "codegen/check/GradientOracle.h"

#include <map>
#include <string>
#include <vector>

namespace moec {

constexpr uint64_t storedWeightsSeed = 1;

struct StoredGradient {
  std::vector<double> exact; // of the rows, one behind the other
  std::vector<int64_t> rows; // ascending; empty: all
  RowSlack slack;
};

struct StoredCall {
  GradientCall call;
  std::map<std::string, StoredGradient> wanted;
};

class StoredGradients : public GradientOracle {
public:
  std::vector<std::string> inputNames;
  DataType matrices = DataType::F32;
  size_t xBytes = 0, dyBytes = 0; // of a token
  std::vector<StoredCall> calls;

  bool write(const std::string &path) const;
  bool read(const std::string &path); // false: the file is missing, cut or of another form

  const std::vector<std::string> &inputs() const override { return inputNames; }
  DataType weightType() const override { return matrices; }
  double bytes(int64_t) const override { return 0; }
  // Chooses the call of so many tokens.
  Result<> draw(const RoleTensors &, uint64_t, int64_t tokens) override;
  const GradientCall &call() const override { return now->call; }
  size_t undecided() const override { return 0; }
  bool compare(const CallGradients &got, const CallGradients *before, CheckResult &result,
               std::string &reason) override;

private:
  const StoredCall *now = nullptr;
};

} // namespace moec

#endif
