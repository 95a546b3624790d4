// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The harness of this folder must reject wrong layers: each test makes one and expects the text of the refusal.

#include "CompiledLayer.h"

#include <algorithm>

namespace moec {
namespace {

class Mutants : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    layer = CompiledLayer::make(std::string(R"({"moec": 1, "name": "mutant", "dtype": ")") + GetParam() +
                                    R"(", "hidden": 37, "router": {"logit_dtype": "f32", "top_k": 2},
                                        "experts": {"count": 5, "intermediate": 21}})",
                                cpuTargets().front());
    ASSERT_TRUE(layer);
    x = layer->randomX(30);
    expected = layer->oracle(x);
    ASSERT_EQ(disagreement(layer->spec, layer->run(x), expected), "");
  }
  std::string verdictOf(const CallResult &result) { return disagreement(layer->spec, result, expected).substr(0, 2); }

  std::unique_ptr<CompiledLayer> layer;
  std::vector<float> x;
  OracleAnswer expected;
};
INSTANTIATE_TEST_SUITE_P(Cpu, Mutants, testing::Values("f32", "bf16"),
                         [](const auto &info) { return std::string(info.param); });

TEST_P(Mutants, weights_gate_and_up_swapped) {
  std::vector<float> gate = layer->tensor("experts.gate"), up = layer->tensor("experts.up");
  layer->set("experts.gate", up);
  layer->set("experts.up", gate);
  layer->pack();
  EXPECT_EQ(verdictOf(layer->run(x)), "y:");
}

TEST_P(Mutants, weights_one_expert_shuffled) {
  std::vector<float> down = layer->tensor("experts.down");
  std::rotate(&down[3 * 37 * 21], &down[3 * 37 * 21 + 1], &down[4 * 37 * 21]);
  layer->set("experts.down", down);
  layer->pack();
  EXPECT_EQ(verdictOf(layer->run(x)), "y:");
}

TEST_P(Mutants, weights_two_experts_exchanged) {
  std::vector<float> down = layer->tensor("experts.down");
  std::swap_ranges(&down[0], &down[37 * 21], &down[37 * 21]);
  layer->set("experts.down", down);
  layer->pack();
  EXPECT_EQ(verdictOf(layer->run(x)), "y:");
}

TEST_P(Mutants, output_zeroed) {
  CallResult result = layer->run(x);
  std::fill(result.y.begin(), result.y.end(), 0.0);
  EXPECT_EQ(verdictOf(result), "y:");
}

TEST_P(Mutants, output_rows_off_by_one) {
  CallResult result = layer->run(x);
  std::rotate(result.y.begin(), result.y.begin() + 37, result.y.end());
  EXPECT_EQ(verdictOf(result), "y:");
}

TEST_P(Mutants, output_last_row_missing) {
  CallResult result = layer->run(x);
  std::fill(result.y.end() - 37, result.y.end(), std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(verdictOf(result), "y:");
}

TEST_P(Mutants, output_one_column_off) {
  CallResult result = layer->run(x);
  result.y[11 * 37 + 36] += 0.05 * std::abs(*std::max_element(result.y.begin(), result.y.end()));
  EXPECT_EQ(verdictOf(result), "y:");
}

TEST_P(Mutants, routing_weights_not_moved_with_ids) {
  CallResult result = layer->run(x);
  for (size_t i = 0; i < result.ids.size(); i += 2)
    std::swap(result.ids[i], result.ids[i + 1]);
  EXPECT_EQ(verdictOf(result), "ch");
}

TEST_P(Mutants, bits_one_flipped_anywhere) {
  CallResult result = layer->run(x), other = result;
  EXPECT_TRUE(result.sameBits(other));
  other.yBytes.back() ^= 1;
  EXPECT_FALSE(result.sameBits(other));
  EXPECT_FALSE(result.sameRowBits(other, 29));
  EXPECT_TRUE(result.sameRowBits(other, 28));
  other = result;
  other.counts[4] += 1;
  EXPECT_FALSE(result.sameBits(other));
}

TEST(GuardedBufferTest, canary_either_side_is_seen) {
  GuardedBuffer back(10, 16, Edge::Back), front(10, 1, Edge::Front);
  EXPECT_TRUE(back.canariesIntact() && front.canariesIntact());
  back.as<char>()[10] = 0;
  front.as<char>()[10] = 0;
  EXPECT_FALSE(back.canariesIntact());
  EXPECT_FALSE(front.canariesIntact());
}

TEST(GuardedBufferDeathTest, guard_pages_and_read_only_fault) {
  GuardedBuffer back(4096, 1, Edge::Back), front(10, 1, Edge::Front);
  EXPECT_DEATH(back.as<volatile char>()[4096] = 0, "");
  EXPECT_DEATH(front.as<volatile char>()[-1] = 0, "");
  back.makeReadOnly();
  EXPECT_DEATH(back.as<volatile char>()[0] = 0, "");
}

} // namespace
} // namespace moec
