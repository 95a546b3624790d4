// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Calls in chunks of tokens, which --workspace-limit makes: the bits of one piece, and the counts of all chunks.

#include "CompiledLayer.h"

#include "codegen/emit/Manifest.h"

namespace moec {
namespace {

const char *const json =
    R"({"moec": 1, "name": "chunks", "dtype": "bf16", "hidden": 75, "router": {"top_k": 3, "logit_dtype": "f32"},
       "experts": {"count": 21, "intermediate": 53}, "shared": {"intermediate": 45}})";

class Chunks : public testing::TestWithParam<CpuTarget> {
protected:
  void SetUp() override {
    if (!machineRuns(GetParam()))
      GTEST_SKIP() << "this machine has no " << GetParam().name;
  }
};
INSTANTIATE_TEST_SUITE_P(Cpu, Chunks, testing::ValuesIn(cpuTargets()), targetTestName);

TEST_P(Chunks, have_the_bits_of_one_piece) {
  auto whole = CompiledLayer::make(json, GetParam());
  ASSERT_TRUE(whole);
  for (int64_t tokens : {1, 17, 100}) {
    int64_t limit = workspaceBytes(whole->package->plan, tokens, 1) + 4096;
    auto chunked = CompiledLayer::make(json, GetParam(), "", limit);
    ASSERT_TRUE(chunked);
    int64_t chunk = chunked->package->plan.header.chunk_tokens;
    EXPECT_GE(chunk, tokens > 64 ? 64 : tokens);
    EXPECT_LE(workspaceBytes(chunked->package->plan, 1024, 1), limit);
    for (int64_t length : {int64_t(1), chunk - 1, chunk, chunk + 1, 3 * chunk, int64_t(333)}) {
      if (length < 1)
        continue;
      std::vector<float> x = whole->randomX(length);
      CallResult one = whole->run(x), many = chunked->run(x, {3, Edge::Front, Workspace::Nan});
      EXPECT_TRUE(one.sameBits(many)) << length << " tokens in chunks of " << chunk;
      EXPECT_TRUE(many.inBounds);
      EXPECT_TRUE(many.sameBits(chunked->run(x, {1, Edge::Back, Workspace::Previous})));
    }
  }
}

} // namespace
} // namespace moec
