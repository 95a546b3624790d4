// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels with one mistake each -> the finding's whole text.

#include "EmulatedKernel.h"

#include <gtest/gtest.h>

namespace moec {
namespace {

struct Launch {
  uint32_t grid = 1, threads = 32, sharedBytes = 1024;
  uint64_t seed = 1;
};

// The report of a kernel with parameter %g (256 bytes of device memory) and this body, ret included.
std::string reportOf(const std::string &body, Launch launch = {}) {
  EmulatedKernel kernel(kernelText("ptr addrspace(1) %g", body + "ret void\n"), launch.seed);
  if (!kernel.error().empty())
    return kernel.error();
  auto *memory = kernel.allocate<uint32_t>(64);
  std::fill(memory, memory + 64, 0u);
  int result = kernel.launch(launch.grid, launch.threads, launch.sharedBytes, {&memory});
  EXPECT_EQ(result, kernel.findings().empty() ? MOEC_CUDA_SUCCESS : MOEC_CUDA_LAUNCH_FAILED);
  return kernel.report();
}

// `body` for thread `which` alone; ends at label %after.
std::string only(unsigned which, const std::string &body, const std::string &after) {
  return "%is_" + after + " = icmp eq i32 %tid, " + std::to_string(which) + "\nbr i1 %is_" + after + ", label %do_" +
         after + ", label %" + after + "\ndo_" + after + ":\n" + body + "br label %" + after + "\n" + after + ":\n";
}

const std::string store = "store i32 1, ptr addrspace(3) %s\n";
const std::string load = "%v = load volatile i32, ptr addrspace(3) %s\n";

TEST(PlantedBug, MissingBarrierIsARace) {
  std::string report = reportOf(sharedPointer("%s", "64") + only(3, store, "a") + only(20, load, "b"));
  std::string race = "kernel k, block 0, thread 20: race: reads what was written by thread 3, with no barrier between "
                     "(shared offset 64)\n";
  std::string early = "kernel k, block 0, thread 20: reads what was never written (shared offset 64)\n";
  EXPECT_TRUE(report == race || report == early) << report;
}

TEST(PlantedBug, TwoWritersAreARace) {
  std::string report = reportOf(sharedPointer("%s", "64") + only(3, store, "a") + only(20, store, "b"));
  EXPECT_TRUE(
      report == "kernel k, block 0, thread 20: race: writes what was written by thread 3, with no barrier between "
                "(shared offset 64)\n" ||
      report == "kernel k, block 0, thread 3: race: writes what was written by thread 20, with no barrier between "
                "(shared offset 64)\n")
      << report;
}

TEST(PlantedBug, WriteAfterReadIsARace) {
  std::string body = sharedPointer("%s", "64") + only(0, store, "a") + ptx("void", "barrier id=0") +
                     only(5, load, "b") + only(40, store, "c");
  std::string report = reportOf(body, {1, 64});
  EXPECT_TRUE(report == "kernel k, block 0, thread 40: race: writes what was read by thread 5, with no barrier between "
                        "(shared offset 64)\n" ||
              report ==
                  "kernel k, block 0, thread 5: race: reads what was written by thread 40, with no barrier between "
                  "(shared offset 64)\n")
      << report;
}

TEST(PlantedBug, NeighbouringHalfWordsAreNoRace) {
  std::string body = "%o = shl i32 %tid, 1\n" + sharedPointer("%s", "%o") + "store i16 3, ptr addrspace(3) %s\n";
  EXPECT_EQ(reportOf(body), "");
}

TEST(PlantedBug, UnwrittenSharedMemoryIsReported) {
  EXPECT_EQ(reportOf(sharedPointer("%s", "128") + only(7, load, "a")),
            "kernel k, block 0, thread 7: reads what was never written (shared offset 128)\n");
}

TEST(PlantedBug, SharedOverrunIsReported) {
  EXPECT_EQ(reportOf(sharedPointer("%s", "1022") + only(7, "store i32 1, ptr addrspace(3) %s, align 2\n", "a")),
            "kernel k, block 0, thread 7: writes 4 bytes at shared offset 1022, outside the block's 1024 bytes\n");
  EXPECT_EQ(reportOf(sharedPointer("%s", "-4") + only(7, load, "a")),
            "kernel k, block 0, thread 7: reads 4 bytes at shared offset -4, outside the block's 1024 bytes\n");
}

TEST(PlantedBug, MisalignedSharedAccessIsReported) {
  EXPECT_EQ(reportOf(sharedPointer("%s", "6") + only(7, store, "a")),
            "kernel k, block 0, thread 7: writes shared offset 6, which is not a multiple of 4\n");
}

TEST(PlantedBug, GlobalOverrunIsAFaultWithAName) {
  auto at = [](const std::string &offset, const std::string &body) {
    return only(9, "%p = getelementptr i8, ptr addrspace(1) %g, i64 " + offset + "\n" + body, "a");
  };
  EXPECT_EQ(reportOf(at("256", "store i32 1, ptr addrspace(1) %p\n")),
            "kernel k, block 0, thread 9: writes device memory 0 bytes after the end of an allocation of 256 bytes\n");
  EXPECT_EQ(reportOf(at("1000", "%v = load volatile i32, ptr addrspace(1) %p\n")),
            "kernel k, block 0, thread 9: reads device memory 744 bytes after the end of an allocation of 256 bytes\n");
  EXPECT_EQ(reportOf(only(9, "store i32 1, ptr addrspace(1) null\n", "a")),
            "kernel k, block 0, thread 9: writes device memory a null pointer\n");
}

TEST(PlantedBug, SmallOverrunIsNoticedAfterwards) {
  EmulatedKernel kernel(kernelText("ptr addrspace(1) %g", "%p = getelementptr i8, ptr addrspace(1) %g, i64 100\n"
                                                          "store i32 1, ptr addrspace(1) %p\nret void\n"));
  ASSERT_EQ(kernel.error(), "");
  auto *memory = kernel.allocate<uint32_t>(25);
  EXPECT_EQ(kernel.launch(1, 32, 0, {&memory}), MOEC_CUDA_LAUNCH_FAILED);
  EXPECT_EQ(kernel.report(), "kernel k: wrote device memory 0 bytes after the end of an allocation of 100 bytes\n");
}

TEST(PlantedBug, StackOverflowIsReported) {
  std::string text = kernelText("ptr addrspace(1) %g", "%x = call i32 @deep(i32 %tid)\nret void\n") +
                     "define i32 @deep(i32 %n) {\n%b = alloca [64 x i32]\nstore volatile i32 %n, ptr %b\n"
                     "%m = add i32 %n, 1\n%r = call i32 @deep(i32 %m)\n%v = load volatile i32, ptr %b\n"
                     "%s = add i32 %r, %v\nret i32 %s\n}\n";
  EmulatedKernel kernel(text);
  ASSERT_EQ(kernel.error(), "");
  auto *memory = kernel.allocate<uint32_t>(64);
  EXPECT_EQ(kernel.launch(1, 1, 0, {&memory}), MOEC_CUDA_LAUNCH_FAILED);
  EXPECT_EQ(kernel.report(), "kernel k, block 0, thread 0: the thread's stack overflowed\n");
}

TEST(PlantedBug, DivergenceAtAShuffleIsReported) {
  std::string other = only(31, "%w = " + ptx("i32", "ballot", "i32 1"), "a");
  std::string report = reportOf(other + "%v = " + ptx("i32", "shfl_bfly mask=1", "i32 %tid"));
  EXPECT_NE(report.find("the warp diverged: "), std::string::npos) << report;
}

TEST(PlantedBug, LaneMissingFromAShuffleIsADeadlock) {
  std::string body = "%early = icmp eq i32 %tid, 31\nbr i1 %early, label %out, label %in\nout:\nret void\nin:\n%v = " +
                     ptx("i32", "shfl_up delta=1", "i32 %tid");
  EXPECT_EQ(reportOf(body),
            "kernel k, block 0: deadlock; threads 0-30 wait at \"shfl_up delta=1\" (lanes 0-30 of the warp); "
            "1 threads returned\n");
}

TEST(PlantedBug, MissingThreadAtABarrierIsADeadlock) {
  std::string body = "%early = icmp ult i32 %tid, 32\nbr i1 %early, label %out, label %in\nout:\nret void\nin:\n" +
                     ptx("void", "barrier id=2 threads=64");
  EXPECT_EQ(reportOf(body, {1, 64}),
            "kernel k, block 0: deadlock; threads 32-63 wait at barrier 2 (32 of 64 threads); 32 threads returned\n");
}

TEST(PlantedBug, EndlessLoopIsReported) {
  EmulatedKernel kernel(kernelText("ptr addrspace(1) %g",
                                   "br label %spin\nspin:\n%v = load volatile i32, ptr addrspace(1) %g\n"
                                   "%c = icmp eq i32 %v, 0\nbr i1 %c, label %spin, label %end\n"
                                   "end:\nret void\n"));
  ASSERT_EQ(kernel.error(), "");
  auto *memory = kernel.allocate<uint32_t>(64);
  memory[0] = 0;
  kernel.emulator.machine.block.setLoopLimit(100000);
  EXPECT_EQ(kernel.launch(1, 1, 0, {&memory}), MOEC_CUDA_LAUNCH_FAILED);
  EXPECT_EQ(kernel.report(), "kernel k, block 0, thread 0: the block's loops ran 100000 rounds without an end\n");
}

TEST(PlantedBug, OverArrivalIsReported) {
  std::string init =
      only(0,
           ptx("void", "mbar_init", "ptr addrspace(3) %s, i32 2") +
               ptx("void", "mbar_expect", "ptr addrspace(3) %s, i32 64") +
               ptx("void", "mbar_arrive", "ptr addrspace(3) %s") + ptx("void", "mbar_arrive", "ptr addrspace(3) %s"),
           "a");
  EXPECT_EQ(reportOf(sharedPointer("%s", "16") + init),
            "kernel k, block 0, thread 0: arrives at the mbarrier at 16, whose 2 "
            "arrivals of phase 0 all came\n");
}

TEST(PlantedBug, MbarrierUsedWithoutABarrierAfterInitIsReported) {
  std::string body = sharedPointer("%s", "16") + only(0, ptx("void", "mbar_init", "ptr addrspace(3) %s, i32 2"), "a") +
                     only(5, ptx("void", "mbar_arrive", "ptr addrspace(3) %s"), "b");
  std::string before =
      "kernel k, block 0, thread 5: mbar_arrive at shared offset 16, where no mbarrier was initialised\n";
  std::string after =
      "kernel k, block 0, thread 5: mbar_arrive at the mbarrier at 16, which thread 0 initialised with no "
      "barrier between\n";
  unsigned seenBefore = 0, seenAfter = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    std::string report = reportOf(body, {1, 32, 1024, seed});
    EXPECT_TRUE(report == before || report == after) << report;
    if (report == before)
      ++seenBefore;
    else
      ++seenAfter;
  }
  EXPECT_GT(seenBefore, 0u);
  EXPECT_GT(seenAfter, 0u);
}

TEST(PlantedBug, MbarrierTouchedByAStoreIsReported) {
  std::string init = only(0, ptx("void", "mbar_init", "ptr addrspace(3) %s, i32 2") + store, "a");
  EXPECT_EQ(reportOf(sharedPointer("%s", "16") + init),
            "kernel k, block 0, thread 0: writes an mbarrier (shared offset 16)\n");
}

TEST(PlantedBug, MbarrierInitialisedTwiceIsReported) {
  std::string init = ptx("void", "mbar_init", "ptr addrspace(3) %s, i32 2");
  EXPECT_EQ(reportOf(sharedPointer("%s", "16") + only(0, init + init, "a")),
            "kernel k, block 0, thread 0: mbar_init of the mbarrier at 16 a second time\n");
}

const std::string copy = ptx("void", "cp_async", "ptr addrspace(3) %s, ptr addrspace(1) %g, i32 16");

TEST(PlantedBug, CopyReadWithoutAWaitIsReported) {
  EXPECT_EQ(reportOf(sharedPointer("%s", "16") + only(4, copy + ptx("void", "cp_async_commit") + load, "a")),
            "kernel k, block 0, thread 4: reads what an asynchronous copy in flight writes (shared offset 16)\n");
}

TEST(PlantedBug, CopyWaitedForByTheWrongCountIsReported) {
  std::string body = copy + ptx("void", "cp_async_commit") + ptx("void", "cp_async_wait n=1") + load;
  EXPECT_EQ(reportOf(sharedPointer("%s", "16") + only(4, body, "a")),
            "kernel k, block 0, thread 4: reads what an asynchronous copy in flight writes (shared offset 16)\n");
}

TEST(PlantedBug, CopyWithoutABarrierIsARace) {
  std::string body = only(4, copy + ptx("void", "cp_async_commit") + ptx("void", "cp_async_wait n=0"), "a") +
                     ptx("void", "barrier id=0");
  EXPECT_EQ(reportOf(sharedPointer("%s", "16") + body + load), "");
  body = only(4, copy, "a") + only(4, ptx("void", "cp_async_commit") + ptx("void", "cp_async_wait n=0"), "b");
  std::string report = reportOf(sharedPointer("%s", "16") + body + only(5, load, "c"));
  EXPECT_NE(report.find("kernel k, block 0, thread 5: "), std::string::npos) << report;
}

TEST(PlantedBug, CopyBeyondItsBufferIsReported) {
  std::string far = "%p = getelementptr i8, ptr addrspace(1) %g, i64 256\n" +
                    ptx("void", "cp_async", "ptr addrspace(3) %s, ptr addrspace(1) %p, i32 16") +
                    ptx("void", "cp_async_commit") + ptx("void", "cp_async_wait n=0");
  EXPECT_EQ(reportOf(sharedPointer("%s", "16") + only(4, far, "a")),
            "kernel k, block 0, thread 4: cp_async of 16 bytes at device memory 0 bytes after the end of an allocation "
            "of 256 "
            "bytes\n");
}

TEST(PlantedBug, MisalignedCopyIsReported) {
  EXPECT_EQ(reportOf(sharedPointer("%s", "8") + only(4, copy, "a")),
            "kernel k, block 0, thread 4: cp_async to shared offset 8, which is not a multiple of 16\n");
}

TEST(PlantedBug, MisalignedReductionIsReported) {
  std::string add = "%p = getelementptr i8, ptr addrspace(1) %g, i64 2\n" +
                    ptx("void", "red_add_f32 at=4", "ptr addrspace(1) %p, float 1.0");
  EXPECT_EQ(reportOf(only(4, add, "a")),
            "kernel k, block 0, thread 4: red_add_f32 to an address that is not a multiple of 4\n");
}

TEST(PlantedBug, ReductionBeyondItsBufferIsReported) {
  std::string add = "%p = getelementptr i8, ptr addrspace(1) %g, i64 128\n" +
                    ptx("void", "red_add_f32 at=128", "ptr addrspace(1) %p, float 1.0");
  std::string report = reportOf(only(4, add, "a"));
  EXPECT_NE(report.find("device memory 0 bytes after the end of an allocation of 256 bytes"), std::string::npos)
      << report;
}

// Launched twice; the second launch may begin before the first has ended.
std::string overlappedReportOf(const std::string &body) {
  EmulatedKernel kernel(kernelText("ptr addrspace(1) %g, ptr addrspace(1) %older", body + "ret void\n"));
  if (!kernel.error().empty())
    return kernel.error();
  auto *memory = kernel.allocate<uint32_t>(64), *older = kernel.allocate<uint32_t>(64);
  kernel.launch(1, 32, 1024, {&memory, &older});
  EXPECT_EQ(kernel.report(), "");
  kernel.launch(1, 32, 1024, {&memory, &older}, /*overlaps=*/true);
  return kernel.report();
}

const std::string gridWait = ptx("void", "grid_wait"), gridLaunch = ptx("void", "grid_launch");
const std::string loadNew = "%n = load volatile i32, ptr addrspace(1) %g\n",
                  loadOld = "%o = load volatile i32, ptr addrspace(1) %older\n";
const std::string storeNew = "store volatile i32 1, ptr addrspace(1) %g\n";

TEST(PlantedBug, ReadingBeforeTheWaitWhatTheLaunchBeforeStoresIsReported) {
  EXPECT_EQ(overlappedReportOf(only(4, loadNew + gridWait + gridLaunch + storeNew, "a")),
            "kernel k, block 0, thread 4: reads device memory that the launch before stores to, before grid_wait\n");
  EXPECT_EQ(overlappedReportOf(only(4, loadOld + gridWait + gridLaunch + loadNew + storeNew, "a")), "");
}

TEST(PlantedBug, StoringBeforeTheWaitIsReported) {
  EXPECT_EQ(overlappedReportOf(only(4, storeNew + gridWait, "a")),
            "kernel k, block 0, thread 4: stores to device memory before grid_wait\n");
}

TEST(PlantedBug, LettingTheNextLaunchStartBeforeTheWaitIsReported) {
  EXPECT_EQ(overlappedReportOf(only(4, gridLaunch + gridWait + storeNew, "a")),
            "kernel k, block 0, thread 4: grid_launch before grid_wait\n");
}

TEST(PlantedBug, CopyingBeforeTheWaitWhatTheLaunchBeforeStoresIsReported) {
  std::string rest = ptx("void", "cp_async_commit") + gridWait + storeNew + ptx("void", "cp_async_wait n=0");
  EXPECT_EQ(overlappedReportOf(sharedPointer("%s", "16") + only(4, copy + rest, "a")),
            "kernel k, block 0, thread 4: reads device memory that the launch before stores to, before grid_wait\n");
  std::string copyOld = ptx("void", "cp_async", "ptr addrspace(3) %s, ptr addrspace(1) %older, i32 16");
  EXPECT_EQ(overlappedReportOf(sharedPointer("%s", "16") + only(4, copyOld + rest, "a")), "");
}

TEST(PlantedBug, AddingBeforeTheWaitIsReported) {
  std::string add = ptx("void", "red_add_f32 at=0", "ptr addrspace(1) %g, float 1.0");
  EXPECT_EQ(overlappedReportOf(only(4, add + gridWait, "a")),
            "kernel k, block 0, thread 4: stores to device memory before grid_wait\n");
  EXPECT_EQ(overlappedReportOf(only(4, gridWait + add, "a")), "");
}

TEST(PlantedBug, AtomicsThatAreNotCheckedAreRefused) {
  std::string body = gridWait + "%o = atomicrmw add ptr addrspace(1) %g, i32 1 monotonic\nret void\n";
  EmulatedKernel kernel(kernelText("ptr addrspace(1) %g", body));
  EXPECT_NE(kernel.error().find("an access to device memory that is not checked against grid_wait"), std::string::npos)
      << kernel.error();
}

} // namespace
} // namespace moec
