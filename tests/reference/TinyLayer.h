// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text of a spec -> a layer with parameters in memory that tests set by role and run through the oracle.

#ifndef MOEC_TESTS_REFERENCE_TINYLAYER_H
#define MOEC_TESTS_REFERENCE_TINYLAYER_H

#include "dsl/reference/Reference.h"
#include "dsl/spec/SpecReader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace moec {

class TinyLayer {
public:
  // Parameters start as draws from N(0, 0.5²), the same for every layer of the same roles.
  explicit TinyLayer(const std::string &json) {
    SpecSource source;
    DiagnosticList diagnostics;
    ReadOptions options;
    options.activations = {"twice"};
    auto read = readSpec(json, "test.json", options, source, diagnostics);
    if (!read) {
      ADD_FAILURE() << render(diagnostics, false);
      return;
    }
    spec = *read;
    std::mt19937 random(7);
    std::normal_distribution<float> normal(0, 0.5f);
    for (Role role : tensorsOf(spec)) {
      int64_t size = 1;
      for (int64_t &extent : role.shape) {
        extent = extent < 0 ? 5 : extent;
        size *= extent;
      }
      std::vector<float> &values = tensors[role.name];
      for (int64_t i = 0; i < size; ++i)
        values.push_back(normal(random));
      roles[role.name] = role;
    }
    inputs.training = false;
  }

  void set(const std::string &role, std::vector<float> values) {
    ASSERT_EQ(values.size(), tensors.at(role).size()) << role;
    tensors[role] = std::move(values);
  }
  void fill(const std::string &role, float value) { tensors.at(role).assign(tensors.at(role).size(), value); }
  void setX(std::vector<double> values) {
    inputs.numTokens = int64_t(values.size()) / std::max<int64_t>(spec.hidden, 1);
    inputs.x = {{inputs.numTokens, spec.hidden}, std::move(values)};
  }
  void randomX(int64_t numTokens, unsigned seed = 1) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, 1);
    std::vector<double> values;
    for (int64_t i = 0; i < numTokens * spec.hidden; ++i)
      values.push_back(normal(random));
    setX(std::move(values));
  }
  void setExtra(const std::string &name, std::vector<double> values) {
    inputs.extra[name] = {{int64_t(values.size())}, std::move(values)};
  }

  // False: `error` is set.
  bool tryRun() {
    weights = MemoryWeights();
    for (const auto &[name, role] : roles)
      weights.add(role, DataType::F32, tensors[name].data());
    inputs.weights = &weights;
    Result<ReferenceOutputs> ran = runReference(spec, inputs);
    error = ran ? "" : ran.error().placedMessage();
    out = ran ? std::move(*ran) : ReferenceOutputs();
    return bool(ran);
  }
  const ReferenceOutputs &run() {
    EXPECT_TRUE(tryRun()) << error;
    return out;
  }

  LayerSpec spec;
  std::map<std::string, Role> roles;
  std::map<std::string, std::vector<float>> tensors;
  ReferenceInputs inputs;
  ReferenceOutputs out;
  MemoryWeights weights;
  std::string error;
};

using Ids = std::vector<int64_t>;

// Router of H = E rows of the identity: logits are x itself.
inline std::vector<float> identityMatrix(int64_t n) {
  std::vector<float> values(n * n, 0.0f);
  for (int64_t i = 0; i < n; ++i)
    values[i * n + i] = 1;
  return values;
}

} // namespace moec

#endif
