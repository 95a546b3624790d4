// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec.hpp: the inputs of training of a compiled layer (masked.json), in calls that are random in nothing and others.

#include "masked.h"

#include "CppNumbers.h"

#include <moec.hpp>

#include <gtest/gtest.h>

#include <map>

using namespace moec;

namespace {

constexpr size_t T = 6, H = MASKED_HIDDEN, K = 2, I = 6, N = 5, E = 3;

struct Inputs { // random in nothing
  Values jitter = Values(T * H, 0.5f), replace = Values(T * K, 1), hidden = Values(T * K * I, 1);
  Values output = Values(T * K * N, 1), expert = Values(T * E, 1);
  std::vector<int32_t> ids = std::vector<int32_t>(T * K);
};

template <class Call> Call &&with(Call &&call, const Inputs &in) {
  call.jitter(in.jitter).replace(in.replace).replace_ids(in.ids);
  call.hidden_mask(in.hidden).output_mask(in.output).expert_mask(in.expert);
  return std::forward<Call>(call);
}

class CppMasks : public testing::Test {
protected:
  Layer layer = *Layer::create(masked_package());
  Weights weights = packedNumbers(layer);
  Values x = numbers(T * H, 1), dy = numbers(T * H, 2);
  Buffer kept = *layer.saved(T), workspace = *layer.workspace(T), space = *layer.backward_workspace(T);
  std::vector<int32_t> ids = std::vector<int32_t>(T * K);

  Values forward(const Inputs &in) {
    Values y(T * H);
    Result<void> ran = with(layer.forward(weights), in).x(x).y(y).ids(ids).saved(kept).run(workspace);
    EXPECT_TRUE(ran) << messageOf(ran);
    return y;
  }
  Values gradient(const Inputs &in, const std::string &role, size_t count) {
    Values out(count, 7);
    Result<void> ran = with(layer.backward(weights), in).x(x).grad_y(dy).saved(kept).gradient(role, out).run(space);
    EXPECT_TRUE(ran) << messageOf(ran);
    return out;
  }
};

} // namespace

TEST_F(CppMasks, lengths_are_those_of_the_layer) {
  EXPECT_EQ(layer.mask_columns().hidden, static_cast<int64_t>(K * I));
  EXPECT_EQ(layer.mask_columns().output, static_cast<int64_t>(K * N));
  EXPECT_EQ(layer.mask_columns().expert, static_cast<int64_t>(E));
  Inputs in;
  Values y(T * H), shorter(T * K * I - 1);
  EXPECT_EQ(messageOf(with(layer.forward(weights), in).x(x).y(y).hidden_mask(shorter).run(workspace)),
            "MOEC_SHAPE: hidden_mask has 71 elements, expected 72 for 6 tokens");
  EXPECT_EQ(messageOf(with(layer.forward(weights), in).x(x).y(y).expert_mask(in.hidden).run(workspace)),
            "MOEC_SHAPE: expert_mask has 72 elements, expected 18 for 6 tokens");
  EXPECT_EQ(messageOf(with(layer.backward(weights), in).x(x).grad_y(dy).saved(kept).output_mask(shorter).run(space)),
            "MOEC_SHAPE: output_mask has 71 elements, expected 60 for 6 tokens");
  EXPECT_EQ(messageOf(with(layer.backward(weights), in).x(x).grad_y(dy).saved(kept).jitter(shorter).run(space)),
            "MOEC_SHAPE: jitter has 71 elements, expected 48 for 6 tokens");
  EXPECT_EQ(messageOf(with(layer.forward(weights), in).x(x).y(y).midpoint_mask(in.replace).run(workspace)),
            "MOEC_INVALID_ARGUMENT: midpoint_mask: package masked does not have this input, expected NULL");
}

TEST_F(CppMasks, each_input_reaches_the_layer) {
  const Values plain = forward({});
  Inputs jittered, replaced, thinner, halved, fewer;
  for (size_t i = 0; i < jittered.jitter.size(); ++i)
    jittered.jitter[i] = i % 2 ? 0.1f : 0.9f;
  EXPECT_NE(forward(jittered), plain);
  replaced.replace.assign(T * K, 0);
  replaced.ids.assign(T * K, 2);
  (void)forward(replaced);
  for (int32_t id : ids)
    EXPECT_EQ(id, 2);
  thinner.hidden.assign(T * K * I, 0);
  halved.output.assign(T * K * N, 0);
  EXPECT_EQ(forward(thinner), forward(halved)); // of experts without a bias nothing is left
  EXPECT_NE(forward(thinner), plain);
  fewer.expert.assign(T * E, 0);
  EXPECT_EQ(forward(fewer), Values(T * H));
}

TEST_F(CppMasks, backward_reads_them_again) {
  const size_t down = N * I; // of expert 1, the widest
  Inputs plain, halved, doubled;
  (void)forward(plain);
  const Values before = gradient(plain, "experts.down.1", down);
  EXPECT_NE(before, Values(down));
  halved.output.assign(T * K * N, 0);
  (void)forward(halved);
  EXPECT_EQ(gradient(halved, "experts.down.1", down), Values(down));
  doubled.output.assign(T * K * N, 2);
  (void)forward(doubled);
  const Values after = gradient(doubled, "experts.down.1", down);
  for (size_t i = 0; i < down; ++i)
    EXPECT_FLOAT_EQ(after[i], 2 * before[i]) << i;
}
