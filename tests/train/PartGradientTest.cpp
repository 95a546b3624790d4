// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The parts of examples/train that are not moec, compiled with double, against central differences.
#include "Differences.h"

#include "examples/train/attention.h"
#include "examples/train/dynamics.h"
#include "examples/train/feed_forward.h"
#include "examples/train/loss.h"
#include "examples/train/norm.h"

#include <gtest/gtest.h>

using namespace train;

namespace {

constexpr double TIGHT = 1e-7;

// Everything that `collect` lists, after a backward of loss = <weights, output>.
void expect_gradients(const Parameters &parameters, const std::function<double()> &loss) {
  for (Parameter *parameter : parameters)
    EXPECT_LT(gradient_error(loss, parameter->value, parameter->gradient), TIGHT) << parameter->name;
}

void draw_all(const Parameters &parameters, uint64_t seed) {
  Random random(seed);
  for (Parameter *parameter : parameters)
    parameter->draw(random, 0.4);
}

TEST(Matmul, ThreeProductsAgreeWithLoops) {
  Threads threads(2);
  for (int64_t m : {1, 5, 37})
    for (int64_t n : {1, 8, 45})
      for (int64_t k : {1, 17}) {
        Values a = random_values(m * k, 1), b = random_values(k * n, 2), c(m * n, 1), at(k * m), bt(n * k),
               expected = c;
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j)
            for (int64_t p = 0; p < k; ++p)
              expected[i * n + j] += a[i * k + p] * b[p * n + j];
        transpose(m, k, a.data(), k, at.data());
        transpose(k, n, b.data(), n, bt.data());
        std::vector<Values> results(3, c);
        multiply(threads, m, n, k, a.data(), b.data(), results[0].data(), true);
        multiply_by_transposed(threads, m, n, k, a.data(), bt.data(), results[1].data(), true);
        multiply_transposed(threads, m, n, k, at.data(), b.data(), results[2].data(), true);
        for (const Values &result : results)
          for (int64_t i = 0; i < m * n; ++i)
            ASSERT_NEAR(result[i], expected[i], 1e-12) << m << ' ' << n << ' ' << k;
        multiply(threads, m, n, k, a.data(), b.data(), results[0].data(), false);
        for (int64_t i = 0; i < m * n; ++i)
          ASSERT_NEAR(results[0][i], expected[i] - 1, 1e-12);
      }
}

TEST(Gradient, RmsNorm) {
  Threads threads(2);
  int64_t T = 5, H = 12;
  RmsNorm norm(threads, "norm", H);
  draw_all({&norm.gain}, 1);
  Values x = random_values(T * H, 2), weights = random_values(T * H, 3), y(T * H), dx(T * H);
  auto loss = [&] {
    norm.forward(x.data(), T, y.data());
    return dot(weights, y);
  };
  loss();
  norm.backward(weights.data(), dx.data());
  EXPECT_LT(gradient_error(loss, x, dx), TIGHT);
  expect_gradients({&norm.gain}, loss);
}

TEST(Gradient, RopeTurnsGradientsBack) {
  int64_t D = 8;
  Rope rope(20, D);
  Values head = random_values(D, 1), weights = random_values(D, 2), dx = weights;
  auto loss = [&] {
    Values turned = head;
    rope.rotate(turned.data(), 17);
    return dot(weights, turned);
  };
  rope.rotate_back(dx.data(), 17);
  EXPECT_LT(gradient_error(loss, head, dx), TIGHT);
}

TEST(Rope, ProductsDependOnDistancesOnly) {
  int64_t D = 8;
  Rope rope(40, D);
  auto product_at = [&](int64_t p, int64_t q) {
    Values a = random_values(D, 1), b = random_values(D, 2);
    rope.rotate(a.data(), p);
    rope.rotate(b.data(), q);
    return dot(a, b);
  };
  EXPECT_NEAR(product_at(3, 7), product_at(30, 34), 1e-12);
  EXPECT_GT(std::abs(product_at(3, 7) - product_at(3, 8)), 1e-3);
}

TEST(Gradient, Attention) {
  Threads threads(2);
  int64_t B = 2, S = 7, H = 16; // 4 query heads of 4 over 2 heads of keys and values
  Attention attention(threads, "attention", {H, 4, 2, S});
  Parameters parameters;
  attention.collect(parameters);
  draw_all(parameters, 1);
  Values x = random_values(B * S * H, 2), weights = random_values(B * S * H, 3), y(B * S * H), dx(B * S * H);
  auto loss = [&] {
    attention.forward(x.data(), B, S, y.data());
    return dot(weights, y);
  };
  loss();
  attention.backward(weights.data(), dx.data());
  EXPECT_LT(gradient_error(loss, x, dx), TIGHT);
  expect_gradients(parameters, loss);
}

TEST(Attention, ReadsNoLaterToken) {
  Threads threads(1);
  int64_t S = 6, H = 8;
  Attention attention(threads, "attention", {H, 2, 1, S});
  Parameters parameters;
  attention.collect(parameters);
  draw_all(parameters, 1);
  Values x = random_values(S * H, 2), before(S * H), after(S * H);
  attention.forward(x.data(), 1, S, before.data());
  for (int64_t i = 0; i < H; ++i)
    x[4 * H + i] += 1;
  attention.forward(x.data(), 1, S, after.data());
  for (int64_t i = 0; i < 4 * H; ++i)
    EXPECT_EQ(before[i], after[i]);
  EXPECT_NE(before[4 * H], after[4 * H]);
}

TEST(Gradient, DenseFeedForward) {
  Threads threads(2);
  int64_t T = 5, H = 8;
  DenseFeedForward half(threads, "feed_forward", H, 12);
  Parameters parameters;
  half.collect(parameters);
  draw_all(parameters, 1);
  Values x = random_values(T * H, 2), weights = random_values(T * H, 3), y(T * H), dx(T * H);
  auto loss = [&] {
    half.forward(x.data(), T, y.data(), {});
    return dot(weights, y);
  };
  loss();
  half.backward(weights.data(), dx.data());
  EXPECT_LT(gradient_error(loss, x, dx), TIGHT);
  expect_gradients(parameters, loss);
}

// Draws so wide that min(softplus, 2) and the limit of the velocity are reached by some elements and not by others.
TEST(Gradient, Dynamics) {
  Threads threads(2);
  int64_t T = 6, H = 8;
  Dynamics block(threads, "dynamics", H);
  Parameters parameters;
  block.collect(parameters);
  draw_all(parameters, 1);
  Values h = random_values(T * H, 2, 3), v = random_values(T * H, 3, 6);
  Values weights_h = random_values(T * H, 4), weights_v = random_values(T * H, 5), h_out, v_out;
  auto loss = [&] {
    h_out = h, v_out = v;
    block.forward(h_out.data(), v_out.data(), T);
    return dot(weights_h, h_out) + dot(weights_v, v_out);
  };
  loss();
  int64_t limited = std::count_if(v_out.begin(), v_out.end(), [](double x) { return std::abs(x) == 10; });
  EXPECT_GT(limited, 0);
  EXPECT_LT(limited, T * H / 2);
  Values dh = weights_h, dv = weights_v;
  block.backward(dh.data(), dv.data());
  EXPECT_LT(gradient_error(loss, h, dh), TIGHT);
  EXPECT_LT(gradient_error(loss, v, dv), TIGHT);
  expect_gradients(parameters, loss);
}

TEST(Gradient, CrossEntropyAndDistillation) {
  int64_t T = 4, V = 6;
  Values logits = random_values(T * V, 1, 2), teacher = random_values(T * V, 2, 2), grad;
  std::vector<int32_t> targets = {0, 5, 2, 2};
  EXPECT_NEAR(cross_entropy(Values(V, 3), targets.data(), V, nullptr), std::log(6.0), 1e-12);
  cross_entropy(logits, targets.data(), V, &grad);
  EXPECT_LT(gradient_error([&] { return cross_entropy(logits, targets.data(), V, nullptr); }, logits, grad), TIGHT);
  Distillation how{0.7, 2};
  distillation(logits, targets.data(), teacher, V, how, &grad);
  EXPECT_LT(
      gradient_error([&] { return distillation(logits, targets.data(), teacher, V, how, nullptr); }, logits, grad),
      TIGHT);
  EXPECT_NEAR(distillation(teacher, targets.data(), teacher, V, {1, 2}, &grad), 0, 1e-12);
}

} // namespace
