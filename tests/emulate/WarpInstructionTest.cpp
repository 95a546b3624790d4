// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Special registers, shuffles, votes, barriers and arithmetic instructions -> the values the PTX ISA defines.

#include "EmulatedKernel.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <gtest/gtest.h>

namespace moec {
namespace {

// out[tid] = the i32 that `body` leaves in %r, `threads` threads in one block.
std::vector<uint32_t> valuesOf(const std::string &body, unsigned threads = 32, const std::string &type = "i32") {
  EmulatedKernel kernel(kernelText("ptr addrspace(1) %out", body + "%p = getelementptr " + type +
                                                                ", ptr addrspace(1) %out, i32 %tid\nstore " + type +
                                                                " %r, ptr addrspace(1) %p\nret void\n"));
  EXPECT_EQ(kernel.error(), "");
  if (!kernel.error().empty())
    return {};
  auto *out = kernel.allocate<uint32_t>(threads);
  EXPECT_EQ(kernel.launch(1, threads, 1024, {&out}), MOEC_CUDA_SUCCESS);
  EXPECT_EQ(kernel.report(), "");
  return std::vector<uint32_t>(out, out + threads);
}

void expectLanes(const std::string &body, const std::function<uint32_t(uint32_t)> &expected) {
  std::vector<uint32_t> values = valuesOf(body, 64);
  for (uint32_t i = 0; i < values.size(); ++i)
    EXPECT_EQ(values[i], expected(i)) << "thread " << i;
}

const char *const squares = "%v = mul i32 %tid, %tid\n";

TEST(WarpInstruction, ShflBflyExchanges) {
  expectLanes(squares + ("%r = " + ptx("i32", "shfl_bfly mask=5", "i32 %v")),
              [](uint32_t i) { return (i ^ 5) * (i ^ 5); });
}

TEST(WarpInstruction, ShflIdxReadsTheLaneGiven) {
  expectLanes(squares + std::string("%l = sub i32 35, %tid\n%r = ") + ptx("i32", "shfl_idx", "i32 %v, i32 %l"),
              [](uint32_t i) {
                uint32_t from = i / 32 * 32 + ((35 - i) & 31);
                return from * from;
              });
}

TEST(WarpInstruction, ShflUpKeepsTheLowLanes) {
  expectLanes(squares + ("%r = " + ptx("i32", "shfl_up delta=4", "i32 %v")), [](uint32_t i) {
    uint32_t from = i % 32 >= 4 ? i - 4 : i;
    return from * from;
  });
}

TEST(WarpInstruction, MatchAnyFindsEqualLanes) {
  expectLanes("%v = urem i32 %tid, 3\n%r = " + ptx("i32", "match_any", "i32 %v"), [](uint32_t i) {
    uint32_t mask = 0, first = i / 32 * 32;
    for (uint32_t lane = 0; lane < 32; ++lane)
      mask |= uint32_t((first + lane) % 3 == i % 3) << lane;
    return mask;
  });
}

TEST(WarpInstruction, BallotCollectsBits) {
  expectLanes("%v = and i32 %tid, 4\n%r = " + ptx("i32", "ballot", "i32 %v"), [](uint32_t) { return 0xF0F0F0F0u; });
}

TEST(WarpInstruction, DivAndEx2ComputeFloats) {
  std::vector<uint32_t> values = valuesOf(
      "%f = uitofp i32 %tid to float\n%d = fadd float %f, 1.0\n%q = " + ptx("float", "div", "float 6.0, float %d") +
          "%r = " + ptx("float", "ex2", "float %q"),
      32, "float");
  for (uint32_t i = 0; i < values.size(); ++i) {
    float value;
    std::memcpy(&value, &values[i], 4);
    EXPECT_FLOAT_EQ(value, std::exp2(6.0f / float(i + 1)));
  }
}

TEST(WarpInstruction, Ex2FlushesSubnormals) {
  EXPECT_EQ(
      valuesOf("%x = sitofp i32 %tid to float\n%y = fsub float -126.0, %x\n%r = " + ptx("float", "ex2", "float %y"), 32,
               "float")[1],
      0u);
}

TEST(WarpInstruction, CtaidAndNctaidNumberTheGrid) {
  EmulatedKernel kernel(kernelText(
      "ptr addrspace(1) %out, i64 %add",
      "%b = " + ptx("i32", "ctaid") + "%n = " + ptx("i32", "nctaid") +
          "%m = mul i32 %n, 1000\n%s = add i32 %m, %b\n%w = zext i32 %s to i64\n%t = add i64 %w, %add\n"
          "%p = getelementptr i64, ptr addrspace(1) %out, i32 %b\nstore i64 %t, ptr addrspace(1) %p\nret void\n"));
  ASSERT_EQ(kernel.error(), "");
  auto *out = kernel.allocate<int64_t>(5);
  int64_t add = int64_t(1) << 40;
  ASSERT_EQ(kernel.launch(5, 32, 0, {&out, &add}), MOEC_CUDA_SUCCESS);
  for (int64_t i = 0; i < 5; ++i)
    EXPECT_EQ(out[i], add + 5000 + i);
}

// Each thread passes its number through shared memory to its neighbour `mask` away.
std::string exchange(const std::string &barrier, uint32_t mask) {
  return "%o = shl i32 %tid, 2\n" + sharedPointer("%mine", "%o") + "store i32 %tid, ptr addrspace(3) %mine\n" +
         barrier + "%other = xor i32 %tid, " + std::to_string(mask) + "\n%oo = shl i32 %other, 2\n" +
         sharedPointer("%theirs", "%oo") + "%r = load i32, ptr addrspace(3) %theirs\n";
}

TEST(WarpInstruction, BarrierOfTheBlockOrdersSharedMemory) {
  for (const char *tag : {"barrier id=0", "barrier id=0 threads=64", "barrier id=3 threads=64"})
    expectLanes(exchange(ptx("void", tag), 32), [](uint32_t i) { return i ^ 32; });
}

TEST(WarpInstruction, NamedBarrierOrdersItsThreads) {
  std::string low = "%w = lshr i32 %tid, 6\n%first = icmp eq i32 %w, 0\nbr i1 %first, label %a, label %b\na:\n";
  std::string text = exchange(low + ptx("void", "barrier id=1 threads=64") + "br label %c\nb:\n" +
                                  ptx("void", "barrier id=2 threads=64") + "br label %c\nc:\n",
                              32);
  std::vector<uint32_t> values = valuesOf(text, 128);
  for (uint32_t i = 0; i < values.size(); ++i)
    EXPECT_EQ(values[i], i ^ 32);
}

TEST(WarpInstruction, WarpSyncOrdersTheWarp) {
  expectLanes(exchange(ptx("void", "warp_sync"), 7), [](uint32_t i) { return i ^ 7; });
}

TEST(WarpInstruction, SharedAtomicsAreExemptFromTheRaceRule) {
  std::string body = sharedPointer("%c", "0") +
                     "%z = icmp eq i32 %tid, 0\nbr i1 %z, label %a, label %b\na:\nstore i32 0, ptr addrspace(3) %c\n"
                     "br label %b\nb:\n" +
                     ptx("void", "barrier id=0") + "%old = atomicrmw add ptr addrspace(3) %c, i32 2 monotonic\n" +
                     ptx("void", "barrier id=0") + "%r = load i32, ptr addrspace(3) %c\n";
  expectLanes(body, [](uint32_t) { return 128u; });
}

TEST(WarpInstruction, StoreV4WritesFourWords) {
  EmulatedKernel kernel(kernelText("ptr addrspace(1) %out",
                                   "%o = shl i32 %tid, 4\n%p = getelementptr i8, ptr addrspace(1) %out, i32 %o\n"
                                   "%b = add i32 %tid, 100\n" +
                                       ptx("void", "store_v4", "ptr addrspace(1) %p, i32 %tid, i32 %b, i32 7, i32 8") +
                                       "ret void\n"));
  ASSERT_EQ(kernel.error(), "");
  auto *out = kernel.allocate<uint32_t>(128);
  ASSERT_EQ(kernel.launch(1, 32, 0, {&out}), MOEC_CUDA_SUCCESS);
  for (uint32_t i = 0; i < 32; ++i) {
    EXPECT_EQ(out[4 * i], i);
    EXPECT_EQ(out[4 * i + 1], i + 100);
    EXPECT_EQ(out[4 * i + 2], 7u);
    EXPECT_EQ(out[4 * i + 3], 8u);
  }
}

TEST(WarpInstruction, BfloatConversionsRoundToNearestEven) {
  std::vector<uint32_t> values = valuesOf("%f = uitofp i32 %tid to float\n%s = fmul float %f, 0.001953125\n"
                                          "%x = fadd float %s, 1.0\n%h = fptrunc float %x to bfloat\n"
                                          "%r = fpext bfloat %h to float\n",
                                          32, "float");
  for (uint32_t i = 0; i < values.size(); ++i) {
    float value;
    std::memcpy(&value, &values[i], 4);
    EXPECT_EQ(value, 1.0f + std::nearbyint(float(i) / 4) / 128) << i; // 8 bits of mantissa: steps of 2^-7
  }
}

// bits of 1 + tid * 2^-12: 10 bits are kept, a tie goes up, and 1.9999 carries into the exponent.
TEST(WarpInstruction, Tf32RoundsToNearestTiesAway) {
  expectLanes("%m = shl i32 %tid, 11\n%v = add i32 %m, 1065353216\n%r = " + ptx("i32", "cvt_tf32", "i32 %v"),
              [](uint32_t i) { return 0x3F800000u + ((i + 2) / 4 << 13); });
  const std::pair<uint32_t, uint32_t> cases[] = {
      {0x3F800FFF, 0x3F800000}, {0xBF801000, 0xBF802000}, {0x3FFFFFFF, 0x40000000},
      {0x7F7FFFFF, 0x7F800000}, {0x7F800000, 0x7F800000}, {0x7F800001, 0x7FFFFFFF},
      {0xFFC00000, 0x7FFFFFFF}, {0x80000000, 0x80000000}, {0x00000FFF, 0x00000000}};
  for (auto [bits, rounded] : cases)
    EXPECT_EQ(valuesOf("%v = add i32 0, " + std::to_string(bits) + "\n%r = " + ptx("i32", "cvt_tf32", "i32 %v")).at(0),
              rounded)
        << std::hex << bits;
}

// 128 threads of 3 blocks on 4 words: nothing is lost; a subnormal is nothing.
TEST(WarpInstruction, RedAddAddsEveryThread) {
  EmulatedKernel kernel(kernelText("ptr addrspace(1) %out, float %x",
                                   "%w = and i32 %tid, 3\n%p = getelementptr float, ptr addrspace(1) %out, i32 %w\n" +
                                       ptx("void", "red_add_f32 at=0", "ptr addrspace(1) %p, float %x") +
                                       "ret void\n"));
  ASSERT_EQ(kernel.error(), "");
  auto *out = kernel.upload<float>({0, 1, 2, 3});
  float x = 0.5f, tiny = 1e-40f;
  ASSERT_EQ(kernel.launch(3, 128, 0, {&out, &x}), MOEC_CUDA_SUCCESS);
  for (uint32_t i = 0; i < 4; ++i)
    EXPECT_EQ(out[i], float(i) + 48.0f);
  out[0] = 0;
  ASSERT_EQ(kernel.launch(1, 128, 0, {&out, &tiny}), MOEC_CUDA_SUCCESS);
  EXPECT_EQ(out[0], 0.0f);
}

TEST(WarpInstruction, OrderingInstructionsDoNothing) {
  expectLanes(ptx("void", "grid_wait") + ptx("void", "grid_launch") + ptx("void", "fence_async_global") +
                  ptx("void", "setmaxnreg n=40 dir=dec") + "%r = add i32 %tid, 1\n",
              [](uint32_t i) { return i + 1; });
}

} // namespace
} // namespace moec
