// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A matmul of two roles (cp.async and TMA fill a ring of two stages, wgmma empties it) -> the product, and with one
// instruction changed at a time, a finding.
//
//   out[64][64] = A[64][256] * B[64][256]^T;  threads 0-127 consume, 128-255 produce
//   shared: stage s at 16384*s: A 8192 bytes, B 8192 bytes;  full[s] at 32768 + 8s, empty[s] at 32784 + 8s

#include "EmulatedKernel.h"

#include <gtest/gtest.h>

namespace moec {
namespace {

std::string num(uint64_t value) { return std::to_string(value); }

struct Pipeline {
  unsigned fullCount = 129, emptyCount = 4, expectBytes = 8192;
  bool producerWaitsFlipped = false, fence = true, swizzleA = true, initFence = true, blockBarrier = true,
       waitCopies = true, earlyRelease = false, oneRelease = false, wgmmaFence = true;

  std::string registers(const std::string &name) const {
    std::string text;
    for (unsigned i = 0; i < 32; ++i)
      text += (i ? ", float %" : "float %") + name + num(i);
    return text;
  }
  static std::string unpack(const std::string &name, const std::string &from) {
    std::string text, type = types();
    for (unsigned i = 0; i < 32; ++i)
      text += "%" + name + num(i) + " = extractvalue " + type + " %" + from + ", " + num(i) + "\n";
    return text;
  }
  static std::string types() {
    std::string text = "{ float";
    for (unsigned i = 1; i < 32; ++i)
      text += ", float";
    return text + " }";
  }

  std::string setup() const {
    std::string text = "%first = icmp eq i32 %tid, 0\nbr i1 %first, label %init, label %ready\ninit:\n";
    for (unsigned i = 0; i < 4; ++i)
      text +=
          sharedPointer("%bar" + num(i), num(32768 + 8 * i)) +
          ptx("void", "mbar_init", "ptr addrspace(3) %bar" + num(i) + ", i32 " + num(i < 2 ? fullCount : emptyCount));
    text += initFence ? ptx("void", "fence_mbar_init") : "";
    return text + "br label %ready\nready:\n" + (blockBarrier ? ptx("void", "barrier id=0") : "") +
           "%role = icmp uge i32 %tid, 128\n%p = and i32 %tid, 127\nbr i1 %role, label %produce, label %consume\n";
  }
  // Places of iteration %i for both roles.
  static std::string stage(const std::string &x) {
    return "%s" + x + " = and i32 %i" + x + ", 1\n%turn" + x + " = lshr i32 %i" + x + ", 1\n%so" + x + " = shl i32 %s" +
           x + ", 14\n" + sharedPointer("%sa" + x, "%so" + x) + "%bo" + x + " = add i32 %so" + x + ", 8192\n" +
           sharedPointer("%sb" + x, "%bo" + x) + "%s8" + x + " = shl i32 %s" + x + ", 3\n%fo" + x + " = add i32 %s8" +
           x + ", 32768\n%eo" + x + " = add i32 %s8" + x + ", 32784\n" + sharedPointer("%full" + x, "%fo" + x) +
           sharedPointer("%empty" + x, "%eo" + x);
  }
  std::string producer() const {
    std::string text =
        "produce:\nbr label %ploop\nploop:\n%ip = phi i32 [ 0, %produce ], [ %ip1, %copy ]\n" + stage("p") +
        "%flip = xor i32 %turnp, " + (producerWaitsFlipped ? "0" : "1") + "\n" +
        ptx("void", "mbar_wait", "ptr addrspace(3) %emptyp, i32 %flip") +
        "%leader = icmp eq i32 %p, 0\nbr i1 %leader, label %tma, label %copy\ntma:\n" +
        ptx("void", "mbar_expect", "ptr addrspace(3) %fullp, i32 " + num(expectBytes)) + "%x = shl i32 %ip, 6\n" +
        ptx("void", "tma_load_3d", "ptr addrspace(3) %sbp, ptr %map, i32 %x, i32 0, i32 0, ptr addrspace(3) %fullp") +
        "br label %copy\ncopy:\n";
    for (unsigned c = 0; c < 4; ++c) {
      std::string n = num(c);
      text += "%q" + n + " = add i32 %p, " + num(128 * c) + "\n%row" + n + " = lshr i32 %q" + n + ", 3\n%ch" + n +
              " = and i32 %q" + n + ", 7\n%r7" + n + " = and i32 %row" + n + ", 7\n%sw" + n + " = xor i32 %ch" + n +
              ", " + (swizzleA ? "%r7" + n : std::string("0")) + "\n%c16" + n + " = shl i32 %sw" + n + ", 4\n%r128" +
              n + " = shl i32 %row" + n + ", 7\n%off" + n + " = add i32 %c16" + n + ", %r128" + n + "\n%dst" + n +
              " = getelementptr i8, ptr addrspace(3) %sap, i32 %off" + n + "\n%r512" + n + " = shl i32 %row" + n +
              ", 9\n%i128" + n + " = shl i32 %ip, 7\n%g16" + n + " = shl i32 %ch" + n + ", 4\n%ga" + n +
              " = add i32 %r512" + n + ", %i128" + n + "\n%gb" + n + " = add i32 %ga" + n + ", %g16" + n + "\n%src" +
              n + " = getelementptr i8, ptr addrspace(1) %a, i32 %gb" + n + "\n" +
              ptx("void", "cp_async", "ptr addrspace(3) %dst" + n + ", ptr addrspace(1) %src" + n + ", i32 16");
    }
    return text + ptx("void", "cp_async_commit") + (waitCopies ? ptx("void", "cp_async_wait n=0") : "") +
           (fence ? ptx("void", "fence_async") : "") + ptx("void", "mbar_arrive", "ptr addrspace(3) %fullp") +
           "%ip1 = add i32 %ip, 1\n%morep = icmp ult i32 %ip1, 4\nbr i1 %morep, label %ploop, label %end\n";
  }
  std::string release() const {
    return "br i1 %elected, label %release, label %next\nrelease:\n" +
           ptx("void", "mbar_arrive", "ptr addrspace(3) %emptyc") + "br label %next\nnext:\n";
  }
  std::string consumer() const {
    std::string text = "consume:\n%lane = and i32 %tid, " + num(oneRelease ? 127 : 31) +
                       "\n%elected = icmp eq i32 %lane, 0\nbr label %cloop\ncloop:\n"
                       "%ic = phi i32 [ 0, %consume ], [ %ic1, %next ]\n";
    for (unsigned i = 0; i < 32; ++i)
      text += "%z" + num(i) + " = phi float [ 0.0, %consume ], [ %w" + num(i) + ", %next ]\n";
    text += stage("c") + "%par = and i32 %turnc, 1\n" + ptx("void", "mbar_wait", "ptr addrspace(3) %fullc, i32 %par");
    if (wgmmaFence)
      text += "%fz = " + ptx(types(), "wgmma_fence regs=32", registers("z")) + unpack("k0r", "fz");
    else
      for (unsigned i = 0; i < 32; ++i)
        text += "%k0r" + num(i) + " = fadd float %z" + num(i) + ", -0.0\n";
    text += "%aa = ptrtoint ptr addrspace(3) %sac to i32\n%ba = ptrtoint ptr addrspace(3) %sbc to i32\n";
    for (unsigned k = 0; k < 4; ++k) {
      std::string n = num(k);
      for (const char *m : {"a", "b"}) {
        std::string v = m + n;
        text += "%x" + v + " = add i32 %" + m + "a, " + num(32 * k) + "\n%y" + v + " = and i32 %x" + v +
                ", 262143\n%u" + v + " = lshr i32 %y" + v + ", 4\n%d" + v + " = zext i32 %u" + v + " to i64\n%desc" +
                v + " = or i64 %d" + v + ", " + num(1ull << 62 | 64ull << 32 | 1ull << 16) + "\n";
      }
      text += "%m" + n + " = " +
              ptx(types(), "wgmma n=64 type=bf16",
                  registers("k" + n + "r") + ", i64 %desca" + n + ", i64 %descb" + n + ", i32 1") +
              unpack("k" + num(k + 1) + "r", "m" + n);
    }
    text += ptx("void", "wgmma_commit");
    std::string wait = "%mw = " + ptx(types(), "wgmma_wait n=0 regs=32", registers("k4r")) + unpack("w", "mw");
    text += earlyRelease ? release() + wait : wait + release();
    text += "%ic1 = add i32 %ic, 1\n%morec = icmp ult i32 %ic1, 4\nbr i1 %morec, label %cloop, label %store\nstore:\n"
            "%b32 = shl i32 %tid, 5\n";
    for (unsigned i = 0; i < 32; ++i)
      text += "%oi" + num(i) + " = add i32 %b32, " + num(i) + "\n%op" + num(i) +
              " = getelementptr float, ptr addrspace(1) %out, i32 %oi" + num(i) + "\nstore float %w" + num(i) +
              ", ptr addrspace(1) %op" + num(i) + "\n";
    return text + "br label %end\nend:\nret void\n";
  }
  std::string text() const {
    return kernelText("ptr addrspace(1) %a, ptr byval([128 x i8]) align 64 %map, ptr addrspace(1) %out",
                      setup() + producer() + consumer());
  }
};

struct Outcome {
  int result = -1;
  unsigned wrong = 0;
  std::string report;
};

Outcome run(const Pipeline &pipeline, uint64_t seed = 1) {
  Outcome outcome;
  EmulatedKernel kernel(pipeline.text(), seed);
  EXPECT_EQ(kernel.error(), "");
  if (!kernel.error().empty())
    return outcome;
  std::vector<uint16_t> a(64 * 256), b(64 * 256);
  for (unsigned i = 0; i < a.size(); ++i) {
    a[i] = bf16Of(float(int(i * 7 % 11) - 5));
    b[i] = bf16Of(float(int(i * 5 % 13) - 6));
  }
  auto *da = kernel.upload(a);
  auto *db = kernel.upload(b);
  auto *out = kernel.allocate<float>(64 * 64);
  TensorMapBytes map = encodeMap(db, {256, 64, 1}, {64, 64, 1}, 3);
  outcome.result = kernel.launch(1, 256, 32800, {&da, &map, &out});
  outcome.report = kernel.report();
  for (unsigned thread = 0; thread < 128; ++thread)
    for (unsigned i = 0; i < 32; ++i) {
      unsigned m = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8, n = i / 4 * 8 + thread % 4 * 2 + i % 2;
      float sum = 0;
      for (unsigned k = 0; k < 256; ++k)
        sum += floatOfBf16(a[m * 256 + k]) * floatOfBf16(b[n * 256 + k]);
      outcome.wrong += out[thread * 32 + i] != sum;
    }
  return outcome;
}

TEST(Pipeline, MultipliesUnderEverySchedule) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Outcome outcome = run(Pipeline(), seed);
    EXPECT_EQ(outcome.report, "") << "seed " << seed;
    EXPECT_EQ(outcome.wrong, 0u) << "seed " << seed;
    EXPECT_EQ(outcome.result, MOEC_CUDA_SUCCESS);
  }
}

TEST(Pipeline, WrongStartParityIsADeadlock) {
  Pipeline pipeline;
  pipeline.producerWaitsFlipped = true;
  EXPECT_EQ(
      run(pipeline).report,
      "kernel k, block 0: deadlock; threads 0-127 wait at mbarrier 32768 parity 0 (phase 0, 0 of 129 arrivals, 0 bytes "
      "to come); threads 128-255 wait at mbarrier 32784 parity 0 (phase 0, 0 of 4 arrivals, 0 bytes to come)\n");
}

TEST(Pipeline, TooManyBytesExpectedIsADeadlock) {
  Pipeline pipeline;
  pipeline.expectBytes = 16384;
  EXPECT_EQ(
      run(pipeline).report,
      "kernel k, block 0: deadlock; threads 0-127 wait at mbarrier 32768 parity 0 (phase 0, 129 of 129 arrivals, 8192 "
      "bytes to come); threads 128-255 wait at mbarrier 32784 parity 0 (phase 0, 0 of 4 arrivals, 0 bytes to come)\n");
}

TEST(Pipeline, TooManyArrivalsWantedIsADeadlock) {
  Pipeline pipeline;
  pipeline.fullCount = 130;
  EXPECT_EQ(
      run(pipeline).report,
      "kernel k, block 0: deadlock; threads 0-127 wait at mbarrier 32768 parity 0 (phase 0, 129 of 130 arrivals, 0 "
      "bytes to come); threads 128-255 wait at mbarrier 32784 parity 0 (phase 0, 0 of 4 arrivals, 0 bytes to come)\n");
}

// True when some seed's report contains one of the texts; protocol bugs may need a certain schedule.
bool reported(const Pipeline &pipeline, const std::vector<std::string> &texts, unsigned seeds = 10) {
  std::string all;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    all += run(pipeline, seed).report;
    for (const std::string &text : texts)
      if (all.find(text) != std::string::npos)
        return true;
  }
  ADD_FAILURE() << "not among:\n" << all;
  return false;
}

TEST(Pipeline, TooFewArrivalsWantedIsReported) {
  Pipeline pipeline;
  pipeline.fullCount = 128;
  EXPECT_TRUE(reported(pipeline, {": arrives at the mbarrier at 32768, whose 128 arrivals of phase 0 all came",
                                  "with no barrier between"}));
}

TEST(Pipeline, MissingFenceAsyncIsReported) {
  Pipeline pipeline;
  pipeline.fence = false;
  EXPECT_TRUE(reported(pipeline, {" wrote, with no fence_async between (shared offset "}, 1));
}

TEST(Pipeline, MissingSwizzleGivesWrongNumbers) {
  Pipeline pipeline;
  pipeline.swizzleA = false;
  Outcome outcome = run(pipeline);
  EXPECT_EQ(outcome.report, "");
  EXPECT_GT(outcome.wrong, 1000u);
}

TEST(Pipeline, MissingBarrierAfterInitIsReported) {
  Pipeline pipeline;
  pipeline.blockBarrier = false;
  EXPECT_TRUE(
      reported(pipeline, {"which thread 0 initialised with no barrier between", "where no mbarrier was initialised"}));
}

TEST(Pipeline, MissingInitFenceIsReported) {
  Pipeline pipeline;
  pipeline.initFence = pipeline.fence = false;
  EXPECT_TRUE(
      reported(pipeline,
               {"kernel k, block 0, thread 128: tma_load_3d completes at the mbarrier at 32768, whose initialisation "
                "no fence_mbar_init or fence_async followed"},
               1));
}

TEST(Pipeline, MissingWaitForCopiesIsReported) {
  Pipeline pipeline;
  pipeline.waitCopies = false;
  EXPECT_TRUE(reported(pipeline, {"wgmma reads what an asynchronous copy in flight writes (shared offset "}, 1));
}

TEST(Pipeline, ReleaseBeforeTheWaitIsReported) {
  Pipeline pipeline;
  pipeline.earlyRelease = true;
  EXPECT_TRUE(reported(pipeline, {"writes what a wgmma in flight reads (shared offset "}));
}

TEST(Pipeline, ReleaseOncePerWarpgroupIsReported) {
  Pipeline pipeline;
  pipeline.oneRelease = true;
  pipeline.emptyCount = 1;
  EXPECT_TRUE(reported(pipeline, {"writes what a wgmma in flight reads (shared offset ", "what a wgmma of warp "}, 20));
}

TEST(Pipeline, MissingWgmmaFenceIsReported) {
  Pipeline pipeline;
  pipeline.wgmmaFence = false;
  EXPECT_TRUE(reported(pipeline, {"wgmma with accumulators that no wgmma_fence ordered before"}, 1));
}

} // namespace
} // namespace moec
