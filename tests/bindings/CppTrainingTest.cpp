// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec.hpp: gradients of a compiled layer (noisy.json) beside central differences of its forward call.

#include "noisy.h"

#include "CppNumbers.h"

#include <moec.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <map>

using namespace moec;

namespace {

constexpr size_t T = 6, E = NOISY_NUM_EXPERTS, H = NOISY_HIDDEN, L = NOISY_NUM_LOSSES;

class CppTraining : public testing::Test {
protected:
  Layer layer = *Layer::create(noisy_package());
  std::map<std::string, Values> tensors = {{"x", numbers(T * H, 1)},
                                           {"router.weight", numbers(E * H, 2)},
                                           {"experts.gate", numbers(E * 6 * H, 3)},
                                           {"experts.up", numbers(E * 6 * H, 4)},
                                           {"experts.down", numbers(E * 6 * H, 5)}};
  Values dy = numbers(T * H, 6), noise = Values(T * E), coefficients = {0.3f, -0.2f};
  Buffer kept = *layer.saved(T), workspace = *layer.workspace(T, 0, true), space = *layer.backward_workspace(T);

  void SetUp() override {
    ASSERT_EQ(L, coefficients.size());
    for (size_t t = 0; t < T; ++t) { // decides: expert t, then t + 1, by logits of similar size
      noise[t * E + t % E] = 20;
      noise[t * E + (t + 1) % E] = 19;
    }
  }
  Weights weights() const {
    std::vector<Tensor> list;
    for (const Role &role : layer.roles())
      list.emplace_back(role.name, tensors.at(role.name));
    return *layer.pack(list);
  }
  double total(const Weights &packed) {
    Values y(T * H), losses(L);
    Result<void> ran = layer.forward(packed).x(tensors["x"]).y(y).noise(noise).losses(losses).run(workspace);
    EXPECT_TRUE(ran) << messageOf(ran);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i)
      sum += static_cast<double>(dy[i]) * static_cast<double>(y[i]);
    for (size_t i = 0; i < L; ++i)
      sum += static_cast<double>(coefficients[i]) * static_cast<double>(losses[i]);
    return sum;
  }
  Backward backward(const Weights &packed) {
    return layer.backward(packed).x(tensors["x"]).grad_y(dy).noise(noise).grad_losses(coefficients).saved(kept);
  }
  void keep(const Weights &packed) {
    Values y(T * H);
    Result<void> ran = layer.forward(packed).x(tensors["x"]).y(y).noise(noise).saved(kept).run(workspace);
    ASSERT_TRUE(ran) << messageOf(ran);
  }
};

} // namespace

TEST_F(CppTraining, gradients_are_slopes) {
  EXPECT_EQ(layer.info().trains, 1);
  EXPECT_GT(*layer.saved_bytes(T), 0u);
  for (const Role &role : layer.roles())
    EXPECT_EQ(role.gradient, MOEC_GRADIENT_MATRIX) << role.name;
  Weights packed = weights();
  keep(packed);
  std::map<std::string, Values> gradients;
  Backward call = backward(packed);
  for (auto &[name, values] : tensors) {
    gradients[name] = Values(values.size(), NAN);
    if (name == "x")
      call.grad_x(gradients[name]);
    else
      call.gradient(name, gradients[name]);
  }
  Result<void> ran = call.run(space);
  ASSERT_TRUE(ran) << messageOf(ran);

  for (auto &[name, values] : tensors) {
    const Values before = values, direction = numbers(values.size(), 9);
    double expected = 0, found = 0;
    for (size_t i = 0; i < values.size(); ++i)
      found += static_cast<double>(gradients[name][i]) * static_cast<double>(direction[i]);
    for (float step : {1e-3f, -1e-3f}) {
      for (size_t i = 0; i < values.size(); ++i)
        values[i] = before[i] + step * direction[i];
      expected += total(weights()) / (2 * static_cast<double>(step));
    }
    values = before;
    EXPECT_NEAR(found, expected, 2e-3 * std::max(1.0, std::fabs(expected))) << name;
  }
}

TEST_F(CppTraining, adds_to_what_buffers_hold) {
  Weights packed = weights();
  keep(packed);
  Values once(E * 6 * H), twice(E * 6 * H, 1);
  ASSERT_TRUE(backward(packed).gradient("experts.up", once).run(space));
  Backward call = backward(packed).gradient("experts.up", twice).accumulate();
  ASSERT_TRUE(call.run(space));
  ASSERT_TRUE(call.run(space));
  for (size_t i = 0; i < once.size(); ++i)
    EXPECT_NEAR(twice[i], 1 + 2 * once[i], 1e-4) << i;
}

TEST_F(CppTraining, says_what_is_wrong) {
  Weights packed = weights();
  keep(packed);
  Values values(E * 6 * H), router(E * H);
  std::vector<bf16> shorts(E * 6 * H);
  EXPECT_EQ(messageOf(backward(packed).gradient("experts.side", values).run(space)),
            "MOEC_INVALID_ARGUMENT: layer noisy has no role experts.side");
  EXPECT_EQ(messageOf(backward(packed).gradient("experts.up", router).run(space)),
            "MOEC_SHAPE: the gradient of experts.up has 32 elements, expected 192 for 6 tokens");
  EXPECT_EQ(messageOf(backward(packed).gradient("experts.up", values).gradient("experts.gate", shorts).run(space)),
            "MOEC_DTYPE: the gradient of experts.gate holds bf16, layer noisy expects f32");
  EXPECT_EQ(messageOf(backward(packed).gradient("experts.up", shorts).run(space)),
            "MOEC_DTYPE: grad_dtype is 1, expected MOEC_F32 (0) or the weights' type");
  EXPECT_EQ(messageOf(backward(packed).grad_losses(router).run(space)),
            "MOEC_SHAPE: grad_losses has 32 elements, expected 2 for 6 tokens");
  EXPECT_EQ(messageOf(layer.backward(packed).x(tensors["x"]).grad_y(dy).noise(noise).run(space)),
            "MOEC_NULL_POINTER: saved is NULL");
  Buffer small = *Buffer::allocate(64);
  EXPECT_EQ(backward(packed).grad_x(tensors["x"]).run(small).error().status, MOEC_WORKSPACE_TOO_SMALL);
}
