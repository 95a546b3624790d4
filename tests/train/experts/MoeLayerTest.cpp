// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The layer of experts of examples/train, as moec compiled it, in float: its gradients against central differences, and
// what happens to its experts between steps.
#include "examples/train/experts.h"

#include <moe.h>
#include <moe_grown.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

using namespace train;

namespace {

constexpr int64_t T = 48, H = MOE_HIDDEN, E = MOE_NUM_EXPERTS;

Values random_values(int64_t count, uint64_t seed, double deviation = 1) {
  Random random(seed);
  Values values(count);
  for (real &v : values)
    v = static_cast<real>(deviation * random.normal());
  return values;
}

double dot(const Values &a, const Values &b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0, std::plus<>(),
                            [](real x, real y) { return double(x) * double(y); });
}

struct Fixture {
  Threads threads{2};
  MoePackage package;
  MoeLayer layer;
  explicit Fixture(const moec_package *of = moe_package()) : package(of, threads), layer(package, "moe") {
    Random random(1);
    layer.draw(random, 1);
  }
};

Routing training(int32_t top_k) {
  Routing routing;
  routing.training = true;
  routing.top_k = top_k;
  routing.noise = 0.3;
  routing.balance_coefficient = 0.5f; // large, so that a missing part of the losses' gradient is seen
  routing.z_coefficient = 0.2f;
  return routing;
}

// Along a random direction of x and of each parameter, the total changes as the gradients say.
void expect_gradients(Fixture &f, const Routing &routing, double step, double tolerance) {
  Values x = random_values(T * H, 2), weights = random_values(T * H, 3), y(T * H), dx(T * H);
  auto total = [&] {
    f.layer.changed();
    f.layer.forward(x.data(), T, y.data(), routing);
    return dot(weights, y) + double(routing.balance_coefficient) * double(f.layer.report().losses[0]) +
           double(routing.z_coefficient) * double(f.layer.report().losses[1]);
  };
  total();
  f.layer.backward(weights.data(), dx.data());
  auto check = [&](Values &values, const Values &gradient, const std::string &name) {
    Values direction = random_values(static_cast<int64_t>(values.size()), 4), kept = values;
    double length = std::sqrt(dot(kept, kept) / dot(direction, direction));
    auto at = [&](double distance) {
      for (size_t i = 0; i < values.size(); ++i)
        values[i] = kept[i] + static_cast<real>(distance * length) * direction[i];
      return total();
    };
    double difference = (at(step) - at(-step)) / (2 * step);
    values = kept;
    double expected = dot(gradient, direction) * length;
    EXPECT_NEAR(difference, expected, tolerance * std::max(1.0, std::abs(expected))) << name;
    EXPECT_GT(std::abs(expected), 10 * tolerance) << name;
  };
  check(x, dx, "x");
  Parameters parameters;
  f.layer.collect(parameters);
  int64_t learned = 0;
  for (Parameter *parameter : parameters)
    if (parameter->learned) {
      ++learned;
      check(parameter->value, parameter->gradient, parameter->name);
    }
  EXPECT_EQ(learned, 4); // router, gate, up and down: the choice bias follows the counts
}

TEST(MoeLayer, GradientsWithAllExperts) {
  Fixture f;
  expect_gradients(f, training(E), 1e-3, 5e-3);
}

// The choice must not change between the two ends of a difference: steps are small, the tolerance is wider.
TEST(MoeLayer, GradientsWithTwoExperts) {
  Fixture f;
  expect_gradients(f, training(2), 1e-4, 4e-2);
}

TEST(MoeLayer, GradientsAreAddedToWhatIsThere) {
  Fixture f;
  Values x = random_values(T * H, 2), weights = random_values(T * H, 3), y(T * H), dx(T * H), again(T * H);
  f.layer.forward(x.data(), T, y.data(), training(2));
  f.layer.backward(weights.data(), dx.data());
  Values once = f.layer.role("experts.up").gradient;
  f.layer.backward(weights.data(), again.data());
  EXPECT_EQ(dx, again);
  for (size_t i = 0; i < once.size(); i += 97)
    EXPECT_NEAR(f.layer.role("experts.up").gradient[i], 2 * once[i], 1e-5 * std::abs(once[i]) + 1e-6);
}

TEST(MoeLayer, SmallCapacityDropsTokensAndGradientsStayFinite) {
  Fixture f;
  Values x = random_values(T * H, 2), weights = random_values(T * H, 3), y(T * H), dx(T * H);
  Routing routing = training(1);
  routing.capacity_factor = 0.25;
  f.layer.forward(x.data(), T, y.data(), routing);
  EXPECT_GT(f.layer.report().dropped_tokens, T / 2);
  EXPECT_EQ(std::accumulate(f.layer.report().counts.begin(), f.layer.report().counts.end(), 0), T);
  f.layer.backward(weights.data(), dx.data());
  for (real v : dx)
    ASSERT_TRUE(std::isfinite(v));
}

TEST(MoeLayer, NoiseRepeats) {
  Fixture f;
  Values x = random_values(T * H, 2), first(T * H), second(T * H), third(T * H);
  Routing routing = training(2);
  f.layer.forward(x.data(), T, first.data(), routing);
  f.layer.forward(x.data(), T, second.data(), routing);
  routing.step = 1;
  f.layer.forward(x.data(), T, third.data(), routing);
  EXPECT_EQ(first, second);
  EXPECT_NE(first, third);
}

TEST(MoeLayer, FrozenExpertsHaveNoGradient) {
  Fixture f(moe_grown_package());
  Values x = random_values(T * H, 2), weights = random_values(T * H, 3), y(T * H), dx(T * H);
  f.layer.forward(x.data(), T, y.data(), training(MOE_GROWN_NUM_EXPERTS));
  f.layer.backward(weights.data(), dx.data());
  for (const char *role : {"experts.gate", "experts.up", "experts.down"}) {
    const Parameter &parameter = f.layer.role(role);
    auto border = parameter.gradient.begin() + parameter.size() / MOE_GROWN_NUM_EXPERTS * 8;
    EXPECT_TRUE(std::all_of(parameter.gradient.begin(), border, [](real v) { return v == 0; })) << role;
    EXPECT_FALSE(std::all_of(border, parameter.gradient.end(), [](real v) { return v == 0; })) << role;
  }
}

TEST(Experts, BeginApart) {
  Fixture f;
  const Parameter &router = f.layer.role("router.weight"), &up = f.layer.role("experts.up");
  auto cosine = [](const Parameter &parameter, int64_t a, int64_t b) {
    int64_t size = parameter.size() / E;
    auto part = [&](int64_t e) {
      return Values(parameter.value.begin() + e * size, parameter.value.begin() + (e + 1) * size);
    };
    Values p = part(a), q = part(b);
    return dot(p, q) / std::sqrt(dot(p, p) * dot(q, q));
  };
  for (int64_t a = 0; a < E; ++a)
    for (int64_t b = 0; b < a; ++b) {
      EXPECT_NEAR(cosine(router, a, b), 0, 1e-5);
      EXPECT_NEAR(cosine(up, a, b), 0, 0.05);
    }
}

TEST(Experts, DeadOnesBeginAgainAsCopiesOfTheBusiest) {
  Fixture f;
  Parameters parameters;
  f.layer.collect(parameters);
  Adam adam(f.threads, parameters);
  for (Parameter *parameter : parameters)
    std::fill(parameter->gradient.begin(), parameter->gradient.end(), real(1));
  adam.step(0.01, 0.01);
  Parameter &up = f.layer.role("experts.up");
  int64_t size = up.size() / E;
  Values before = up.value;
  f.layer.chosen = {100, 0, 100, 300, 100, 1, 200, 99};
  Random random(1);
  EXPECT_EQ(revive_dead(f.layer, 0.05, random, &adam), 2);
  EXPECT_EQ(f.layer.chosen, std::vector<int64_t>(E, 0));
  auto difference = [&](int64_t expert, int64_t from) { // of an expert now from one before, relative
    double sum = 0, all = 0;
    for (int64_t i = 0; i < size; ++i) {
      sum += std::pow(double(up.value[expert * size + i] - before[from * size + i]), 2);
      all += std::pow(double(before[from * size + i]), 2);
    }
    return std::sqrt(sum / all);
  };
  EXPECT_NEAR(difference(5, 3), 0.1, 0.02); // the busiest is 3, then 6
  EXPECT_NEAR(difference(1, 6), 0.1, 0.02);
  for (int64_t expert : {0, 2, 3, 4, 6, 7})
    EXPECT_EQ(difference(expert, expert), 0);
  for (Parameter *moment : adam.moments())
    if (moment->name == "adam.first.moe.experts.up") {
      EXPECT_EQ(moment->value[1 * size], 0);
      EXPECT_EQ(moment->value[6 * size - 1], 0);
      EXPECT_NE(moment->value[0], 0);
    }
  EXPECT_EQ(revive_dead(f.layer, 0.05, random, &adam), 0); // nothing was counted since
}

TEST(Experts, ChoiceBiasAndCapacityFollowCounts) {
  Fixture f;
  Values x = random_values(T * H, 2), y(T * H);
  Parameter &router = f.layer.role("router.weight"); // every token chooses expert 0 first
  for (int64_t i = 0; i < H; ++i)
    router.value[i] *= 0;
  for (int64_t t = 0; t < T; ++t)
    x[t * H] = 10;
  router.value[0] = 5;
  f.layer.changed();
  f.layer.forward(x.data(), T, y.data(), training(1));
  EXPECT_EQ(f.layer.report().counts[0], T);
  EXPECT_EQ(f.layer.report().load.dead_experts, E - 1);
  double factor = f.layer.capacity_factor;
  f.layer.follow_counts(0.01f, true);
  Parameter &bias = f.layer.role("router.choice_bias");
  EXPECT_LT(bias.value[0], -0.01f);
  EXPECT_GT(bias.value[1], 0);
  EXPECT_NEAR(std::accumulate(bias.value.begin(), bias.value.end(), 0.0), 0, 1e-6);
  EXPECT_NEAR(f.layer.capacity_factor, factor + 0.1, 1e-12);
}

} // namespace
