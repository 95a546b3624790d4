// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The hand-written package through moec.hpp.

#ifndef MOEC_TESTS_BINDINGS_CPPLAYER_H
#define MOEC_TESTS_BINDINGS_CPPLAYER_H

#include "TinyLayer.h"

#include <moec.hpp>

#include <gtest/gtest.h>

namespace moec {
namespace test {

inline std::vector<Tensor> tensorsOf(const TinyWeights &source) {
  return {{"router.weight", source.router},
          {"experts.gate", source.gate},
          {"experts.up", source.up},
          {"experts.down", source.down}};
}

inline Layer tinyLayer(LayerOptions options = {}) { return *Layer::create(tiny_package(), std::move(options)); }

// One call of x that asks for everything.
inline TinyResult runCpp(const Layer &layer, const Weights &weights, const std::vector<float> &x) {
  size_t tokens = x.size() / hidden;
  TinyResult result;
  result.y.resize(x.size());
  result.logits.resize(tokens * experts);
  result.weights.resize(tokens * choices);
  result.ids.resize(tokens * choices);
  result.counts.resize(experts);
  Buffer workspace = *layer.workspace(static_cast<int64_t>(tokens));
  Result<void> ran = layer.forward(weights)
                         .x(x)
                         .y(result.y)
                         .logits(result.logits)
                         .weights(result.weights)
                         .ids(result.ids)
                         .counts(result.counts)
                         .run(workspace);
  EXPECT_TRUE(ran) << ran.error().message();
  return result;
}

// "MOEC_SHAPE: its text" of a result that is not ok.
template <class T> std::string messageOf(const Result<T> &result) {
  return result.ok() ? "no error" : result.error().message();
}

} // namespace test
} // namespace moec

#endif
