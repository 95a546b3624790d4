// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The whole model of examples/train, with dense halves, against central differences; and its optimiser.
#include "Differences.h"

#include "examples/train/adam.h"
#include "examples/train/loss.h"
#include "examples/train/model.h"

#include <gtest/gtest.h>

using namespace train;

namespace {

ModelShape small(bool dynamics) {
  ModelShape shape;
  shape.vocabulary = 11, shape.hidden = 16, shape.layers = 2, shape.heads = 4, shape.kv_heads = 2, shape.context = 6;
  shape.inner = 12, shape.moe_every = 0, shape.dynamics = dynamics;
  return shape;
}

const std::vector<int32_t> IDS = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8}, TARGETS = {1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9};

double loss_of(Model &model, Values *grad) {
  return cross_entropy(model.forward(IDS.data(), 2, 6, {}), TARGETS.data(), model.shape.vocabulary, grad);
}

class ModelGradient : public testing::TestWithParam<bool> {};

TEST_P(ModelGradient, OfEveryParameter) {
  Threads threads(2);
  Model model(threads, small(GetParam()), nullptr);
  model.draw(1);
  Values grad;
  for (Parameter *parameter : model.parameters()) { // away from the first values, where the head is almost 0
    Random random(7, std::hash<std::string>()(parameter->name));
    for (real &v : parameter->value)
      v += 0.2 * random.normal();
  }
  loss_of(model, &grad);
  model.backward(grad);
  EXPECT_EQ(model.parameters().size(), GetParam() ? 33u : 21u);
  for (Parameter *parameter : model.parameters())
    EXPECT_LT(gradient_error([&] { return loss_of(model, nullptr); }, parameter->value, parameter->gradient, 12), 1e-6)
        << parameter->name;
}
INSTANTIATE_TEST_SUITE_P(Dynamics, ModelGradient, testing::Bool());

TEST(Model, SameBitsForAnyNumberOfThreads) {
  std::vector<Values> gradients;
  for (int count : {1, 2, 3}) {
    Threads threads(count);
    Model model(threads, small(true), nullptr);
    model.draw(1);
    Values grad, all;
    loss_of(model, &grad);
    model.backward(grad);
    for (Parameter *parameter : model.parameters())
      all.insert(all.end(), parameter->gradient.begin(), parameter->gradient.end());
    gradients.push_back(all);
  }
  EXPECT_EQ(gradients[0], gradients[1]);
  EXPECT_EQ(gradients[0], gradients[2]);
}

TEST(Model, BeginsAtTheLogarithmOfTheVocabularyAndLearnsTheBatch) {
  Threads threads(1);
  Model model(threads, small(false), nullptr);
  model.draw(1);
  Adam adam(threads, model.parameters());
  Values grad;
  EXPECT_NEAR(loss_of(model, nullptr), std::log(11.0), 0.05);
  for (int step = 0; step < 60; ++step) {
    loss_of(model, &grad);
    model.backward(grad);
    adam.step(0.01, 0.01);
  }
  EXPECT_LT(loss_of(model, nullptr), 0.05);
}

// f(x) = sum of a_i x_i, so the gradient is always a: with bias correction every step has the length of the rate.
TEST(Adam, StepsClippingFrozenElementsAndRates) {
  Threads threads(2);
  Parameter plain("plain", {2}), router("router", {1, 1}), fixed("fixed", {4});
  router.router = true;
  fixed.frozen = 2;
  Parameter rule("rule", {1});
  rule.learned = false;
  AdamOptions options;
  options.decay = 0;
  Adam adam(threads, {&plain, &router, &fixed, &rule}, options);
  plain.gradient = {3, -4}, router.gradient = {5}, fixed.gradient = {100, 100, 1, 1}, rule.gradient = {1};
  EXPECT_NEAR(adam.step(0.1, 0.01), std::sqrt(9 + 16 + 25 + 2.0), 1e-12); // frozen elements do not count
  EXPECT_NEAR(plain.value[0], -0.1, 1e-6);
  EXPECT_NEAR(plain.value[1], 0.1, 1e-6);
  EXPECT_NEAR(router.value[0], -0.01, 1e-6);
  EXPECT_EQ(fixed.value[0], 0);
  EXPECT_NEAR(fixed.value[2], -0.1, 1e-6);
  EXPECT_EQ(rule.value[0], 0);
  EXPECT_EQ(plain.gradient[0], 0);
  EXPECT_NEAR(adam.moments()[0]->value[0], 0.1 * 3 / std::sqrt(52.0), 1e-12); // clipped to length 1
  adam.forget(plain, 0, 1);
  EXPECT_EQ(adam.moments()[0]->value[0], 0);
  EXPECT_NE(adam.moments()[0]->value[1], 0);
  Values before = plain.value;
  plain.gradient = {NAN, 1};
  EXPECT_TRUE(std::isnan(adam.step(0.1, 0.01)));
  EXPECT_EQ(plain.value, before);
  EXPECT_EQ(adam.steps, 1);
}

TEST(Adam, DecaysMatricesOnly) {
  Threads threads(1);
  Parameter matrix("matrix", {1, 1}), gain("gain", {1});
  matrix.fill(1), gain.fill(1);
  AdamOptions options;
  options.decay = 0.5;
  Adam adam(threads, {&matrix, &gain}, options);
  adam.step(0.1, 0.1);
  EXPECT_NEAR(matrix.value[0], 0.95, 1e-12);
  EXPECT_EQ(gain.value[0], 1);
}

} // namespace
