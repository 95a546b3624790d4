// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Generated kernels under a sanitizer on every instruction set of the machine: every token count in exact buffers, the
// oracle's values, the same bits from any number of threads, and calls that share a layer.

#include "SanitizedLayer.h"

#include <thread>

namespace moec {
namespace {

constexpr int64_t maxCount = 130;

class Layers : public testing::TestWithParam<SanitizedPackage> {};
INSTANTIATE_TEST_SUITE_P(Sanitized, Layers, testing::ValuesIn(sanitizedPackages()), packageTestName);

// A call between guard pages beside the ones on the heap: their leaning side changes with the count.
TEST_P(Layers, sweep_exact_every_count_with_one_to_three_threads) {
  std::unique_ptr<SanitizedLayer> layers[3];
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE(layers[i] = SanitizedLayer::make(GetParam(), i + 1));
  const LayerSpec &spec = layers[0]->spec;
  std::vector<float> all = layers[0]->randomX(maxCount);
  OracleAnswer expected = layers[0]->oracle(all);
  for (int64_t tokens = 0; tokens <= maxCount; ++tokens) {
    SCOPED_TRACE("T = " + std::to_string(tokens));
    std::vector<float> x(all.begin(), all.begin() + tokens * spec.hidden);
    CallResult first = layers[0]->run(x);
    ASSERT_EQ(first.status, MOEC_OK);
    ASSERT_EQ(disagreement(spec, first, expected), "");
    EXPECT_TRUE(first.sameBits(layers[1]->run(x))) << "2 threads";
    CallResult guarded = layers[2]->run(x, tokens % 2 ? Place::GuardBack : Place::GuardFront);
    EXPECT_TRUE(first.sameBits(guarded)) << "3 threads, between guard pages";
    EXPECT_TRUE(guarded.inBounds);
  }
}

TEST_P(Layers, shared_layer_two_callers_get_the_bits_of_one) {
  auto layer = SanitizedLayer::make(GetParam(), 2);
  ASSERT_TRUE(layer);
  const int64_t counts[] = {1, 7, 64, 130, 3, 33};
  std::vector<CallResult> alone, together[2];
  for (int64_t tokens : counts)
    alone.push_back(layer->run(layer->randomX(tokens)));
  std::thread callers[2];
  for (int i = 0; i < 2; ++i)
    callers[i] = std::thread([&, i] {
      for (int64_t tokens : counts)
        together[i].push_back(layer->run(layer->randomX(tokens)));
    });
  for (std::thread &caller : callers)
    caller.join();
  for (size_t i = 0; i < std::size(counts); ++i) {
    EXPECT_EQ(alone[i].status, MOEC_OK);
    EXPECT_TRUE(alone[i].sameBits(together[0][i])) << "first caller, T = " << counts[i];
    EXPECT_TRUE(alone[i].sameBits(together[1][i])) << "second caller, T = " << counts[i];
  }
}

TEST_P(Layers, workspace_one_byte_too_small_is_refused) {
  auto layer = SanitizedLayer::make(GetParam(), 1);
  ASSERT_TRUE(layer);
  Shortage shortage;
  shortage.workspace = 1;
  CallResult call = layer->run(layer->randomX(5), Place::Heap, shortage);
  EXPECT_EQ(call.status, MOEC_WORKSPACE_TOO_SMALL);
  char text[256];
  moec_last_error(text, sizeof text);
  std::string bytes = std::to_string(layer->workspaceBytes(5)), told = std::to_string(layer->workspaceBytes(5) - 1);
  EXPECT_EQ(std::string(text), "workspace has " + told + " bytes, 5 tokens need " + bytes);
  EXPECT_EQ(call.yBytes, std::vector<unsigned char>(layer->yBytes(5), 0xff)) << "y was touched";
}

} // namespace
} // namespace moec
