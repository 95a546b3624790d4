// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Watched calls: which steps are said and in which order, and experts that share weights.

#include "TinyLayer.h"

#include "runtime/layer/walk_probe.h"

#include <gtest/gtest.h>

#include <algorithm>

using namespace moec::test;

namespace {

// The steps of the hand-written package: router, route, dispatch, ffn_up, ffn_down, combine, counts; 7 is the end.
constexpr uint32_t countsStep = 6, theEnd = 7;

void note(void *context, uint32_t step) { static_cast<std::vector<uint32_t> *>(context)->push_back(step); }

std::vector<float> watched(const TinyLayer &tiny, const std::vector<float> &x, const moec_walk_probe *probe,
                           bool counts, moec_status *status = nullptr) {
  int64_t tokens = int64_t(x.size()) / hidden;
  AlignedBytes workspace(tiny.workspaceBytes(tokens), 0xff), input(x.size() * 4), output(x.size() * 4, 0xff);
  std::memcpy(input.data(), x.data(), x.size() * 4);
  int32_t countsOut[experts];
  moec_forward_args args = {};
  args.struct_size = sizeof(args);
  args.num_tokens = tokens;
  args.x = input.data();
  args.y = output.data();
  args.workspace = workspace.data();
  args.workspace_bytes = workspace.size();
  args.out_counts = counts ? countsOut : nullptr;
  moec_status got = moec_layer_forward_probed(tiny.layer, tiny.weights, &args, probe);
  if (status)
    *status = got;
  else
    EXPECT_EQ(got, MOEC_OK) << lastError();
  auto *y = static_cast<const float *>(output.data());
  return {y, y + x.size()};
}

} // namespace

TEST(WalkProbe, every_step_is_said_once_in_order) {
  TinyWeights weights(1);
  for (int32_t threads : {1, 3}) {
    moec_layer_options options = threadOptions(threads);
    TinyLayer tiny(weights, &options);
    std::vector<float> x = randomInput(33, 2);
    std::vector<uint32_t> said;
    moec_walk_probe probe = {note, &said, 0};
    std::vector<float> y = watched(tiny, x, &probe, true);
    EXPECT_EQ(said, (std::vector<uint32_t>{0, 1, 2, 3, 4, 5, countsStep, theEnd}));
    EXPECT_EQ(y, runTiny(tiny, x).y);
  }
}

TEST(WalkProbe, step_that_nobody_asks_for_is_not_said) {
  TinyWeights weights(1);
  TinyLayer tiny(weights);
  std::vector<uint32_t> said;
  moec_walk_probe probe = {note, &said, 0};
  watched(tiny, randomInput(5, 2), &probe, false);
  EXPECT_EQ(said, (std::vector<uint32_t>{0, 1, 2, 3, 4, 5, theEnd}));
}

TEST(WalkProbe, refused_call_says_nothing) {
  TinyWeights weights(1);
  TinyLayer tiny(weights);
  std::vector<uint32_t> said;
  moec_walk_probe probe = {note, &said, 0};
  moec_status status = MOEC_OK;
  moec_forward_args args = {};
  args.struct_size = sizeof(args);
  args.num_tokens = maxTokens + 1;
  EXPECT_EQ(status = moec_layer_forward_probed(tiny.layer, tiny.weights, &args, &probe), MOEC_TOKENS_OUT_OF_RANGE);
  EXPECT_TRUE(said.empty());
}

// Experts 2 and 3 read what experts 0 and 1 hold: the same as a layer in which they are equal to these.
TEST(WalkProbe, experts_share_the_storage_of_the_first) {
  TinyWeights own(3), equal = own;
  for (std::vector<float> *matrix : {&equal.gate, &equal.up, &equal.down})
    std::copy(matrix->begin(), matrix->begin() + std::ptrdiff_t(matrix->size() / 2),
              matrix->begin() + std::ptrdiff_t(matrix->size() / 2));
  TinyLayer layer(own), wanted(equal);
  std::vector<float> x = randomInput(64, 4);
  moec_walk_probe probe = {nullptr, nullptr, 2};
  EXPECT_EQ(watched(layer, x, &probe, false), runTiny(wanted, x).y);
  EXPECT_NE(watched(layer, x, nullptr, false), runTiny(wanted, x).y);
}
