// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// tma_load_3d, cp_async and mbarriers -> the bytes in shared memory, box by box and swizzle by swizzle.

#include "EmulatedKernel.h"

#include <gtest/gtest.h>

namespace moec {
namespace {

struct Box {
  int32_t x = 0, y = 0, z = 0;
  uint32_t extentX = 16, extentY = 4, extentZ = 1;
  int swizzle = 0; // CUtensorMapSwizzle: 0 none, 1 32 bytes, 2 64, 3 128
  std::string offset = "1024", expect;
  uint32_t bytes() const { return extentX * extentY * extentZ * 2; }
};

constexpr unsigned dimX = 40, dimY = 6, dimZ = 3;
uint16_t element(unsigned x, unsigned y, unsigned z) { return uint16_t(1 + x + dimX * (y + dimY * z)); }

struct Loaded {
  std::vector<uint16_t> shared;
  std::string report;
};

// Thread 0 loads a box of the [3][6][40] tensor; all threads wait and copy it out as it lies in shared memory.
Loaded load(const Box &box, const std::string &afterWait = "") {
  std::string bytes = std::to_string(box.bytes());
  std::string init =
      "%z0 = icmp eq i32 %tid, 0\nbr i1 %z0, label %a, label %b\na:\n" +
      ptx("void", "mbar_init", "ptr addrspace(3) %bar, i32 1") + ptx("void", "fence_mbar_init") +
      ptx("void", "tma_prefetch", "ptr %map") +
      ptx("void", "mbar_expect", "ptr addrspace(3) %bar, i32 " + (box.expect.empty() ? bytes : box.expect)) +
      ptx("void", "tma_load_3d", "ptr addrspace(3) %to, ptr %map, i32 %x, i32 %y, i32 %z, ptr addrspace(3) %bar") +
      "br label %b\nb:\n" + ptx("void", "barrier id=0");
  std::string copy = "br label %loop\nloop:\n%i = phi i32 [ %tid, %b ], [ %i1, %loop ]\n%o = shl i32 %i, 1\n"
                     "%from = getelementptr i8, ptr addrspace(3) %to, i32 %o\n%v = load i16, ptr addrspace(3) %from\n"
                     "%p = getelementptr i16, ptr addrspace(1) %out, i32 %i\nstore i16 %v, ptr addrspace(1) %p\n"
                     "%i1 = add i32 %i, 32\n%more = icmp ult i32 %i1, " +
                     std::to_string(box.bytes() / 2) + "\nbr i1 %more, label %loop, label %end\nend:\nret void\n";
  EmulatedKernel kernel(kernelText(
      "ptr byval([128 x i8]) align 64 %map, i32 %x, i32 %y, i32 %z, ptr addrspace(1) %out",
      sharedPointer("%bar", "8") + sharedPointer("%to", box.offset) + init +
          (afterWait.empty() ? ptx("void", "mbar_wait", "ptr addrspace(3) %bar, i32 0") : afterWait) + copy));
  EXPECT_EQ(kernel.error(), "");
  std::vector<uint16_t> tensor(dimX * dimY * dimZ);
  for (unsigned i = 0; i < tensor.size(); ++i)
    tensor[i] = uint16_t(1 + i);
  auto *memory = kernel.upload(tensor);
  auto *out = kernel.allocate<uint16_t>(box.bytes() / 2);
  TensorMapBytes map = encodeMap(memory, {dimX, dimY, dimZ}, {box.extentX, box.extentY, box.extentZ}, box.swizzle);
  int32_t x = box.x, y = box.y, z = box.z;
  kernel.launch(1, 32, 16384, {&map, &x, &y, &z, &out});
  return {std::vector<uint16_t>(out, out + box.bytes() / 2), kernel.report()};
}

void expectBox(const Box &box) {
  Loaded loaded = load(box);
  EXPECT_EQ(loaded.report, "");
  uint32_t index = 0;
  for (uint32_t k = 0; k < box.extentZ; ++k)
    for (uint32_t j = 0; j < box.extentY; ++j)
      for (uint32_t i = 0; i < box.extentX; ++i, ++index) {
        int64_t x = box.x + int64_t(i), y = box.y + int64_t(j), z = box.z + int64_t(k);
        bool inside = x >= 0 && y >= 0 && z >= 0 && x < dimX && y < dimY && z < dimZ;
        uint32_t byte = index * 2, masks[4] = {0, 1, 3, 7};
        uint32_t swizzled = byte ^ ((byte >> 7 & masks[box.swizzle]) << 4); // the box starts at a pattern's start
        EXPECT_EQ(loaded.shared[swizzled / 2], inside ? element(unsigned(x), unsigned(y), unsigned(z)) : 0)
            << "x " << x << " y " << y << " z " << z << " swizzle " << box.swizzle;
      }
}

TEST(Tma, LoadsABox) {
  Box box;
  box.x = 8;
  box.y = 1;
  box.z = 2;
  expectBox(box);
}

TEST(Tma, LoadsSeveralPlanes) {
  Box box;
  box.extentY = 2;
  box.extentZ = 3;
  expectBox(box);
}

TEST(Tma, FillsOutsideWithZeros) {
  Box box;
  box.x = 32;
  box.y = 4;
  box.z = 1;
  box.extentZ = 3;
  expectBox(box);
  box.x = -4;
  box.y = -2;
  box.z = -1;
  expectBox(box);
}

TEST(Tma, PermutesEverySwizzle) {
  for (int swizzle : {1, 2, 3}) {
    Box box;
    box.swizzle = swizzle;
    box.extentX = 8u << swizzle;
    box.extentY = 16;
    expectBox(box);
  }
}

TEST(Tma, MisalignedTargetIsReported) {
  Box box;
  box.swizzle = 3;
  box.extentX = 64;
  box.offset = "1152";
  EXPECT_EQ(load(box).report,
            "kernel k, block 0, thread 0: tma_load_3d to shared offset 1152, which is not a multiple of 1024\n");
}

TEST(Tma, WrongExpectedBytesAreADeadlock) {
  Box box;
  box.expect = "64";
  EXPECT_EQ(load(box).report, "kernel k, block 0: deadlock; threads 0-31 wait at mbarrier 8 parity 0 (phase 0, 1 of 1 "
                              "arrivals, -64 bytes to come)\n");
}

TEST(Tma, ReadWithoutAWaitIsReported) {
  Box box;
  std::string report = load(box, ptx("void", "warp_sync")).report;
  EXPECT_TRUE(report.find("reads what an asynchronous copy in flight writes (shared offset ") != std::string::npos ||
              report.find("race: reads what a TMA load wrote, with no barrier between") != std::string::npos)
      << report;
}

TEST(Tma, MapsAreCheckedWhenEncoded) {
  CudaTensorMap map = {};
  map.rank = 3;
  map.base = 4096;
  map.elementBytes = 2;
  for (unsigned i = 0; i < 3; ++i) {
    map.dims[i] = 64;
    map.box[i] = 8;
    map.strides[i] = 128;
  }
  EXPECT_EQ(checkTensorMap(map), "");
  map.box[0] = 12;
  EXPECT_EQ(checkTensorMap(map), "the box's inner extent is a multiple of 16 bytes, found 24");
  map.box[0] = 64;
  map.swizzleBytes = 64;
  EXPECT_EQ(checkTensorMap(map), "the box's inner extent is at most the swizzle's 64 bytes, found 128");
  map.swizzleBytes = 128;
  map.strides[1] = 100;
  EXPECT_EQ(checkTensorMap(map), "stride 1 is a multiple of 16 below 2^40, found 100");
  map.strides[1] = 128;
  map.box[1] = 257;
  EXPECT_EQ(checkTensorMap(map), "box extent 1 is 1 to 256, found 257");
  map.box[1] = 8;
  map.dims[2] = 0;
  EXPECT_EQ(checkTensorMap(map), "dimension 2 is 1 to 2^32, found 0");
  map.dims[2] = 1;
  map.base = 8;
  EXPECT_EQ(checkTensorMap(map), "the address is a multiple of 16");
  map.rank = 6;
  EXPECT_EQ(checkTensorMap(map), "the rank is 1 to 5, found 6");
}

// Each thread copies `bytes` of its 16 and signals an mbarrier by cp_async_arrive, or waits for its group.
std::vector<uint32_t> copied(const std::string &finish, uint32_t bytes) {
  std::string body =
      sharedPointer("%bar", "8") + "%o = shl i32 %tid, 4\n%so = add i32 %o, 1024\n" + sharedPointer("%to", "%so") +
      "%from = getelementptr i8, ptr addrspace(1) %in, i32 %o\n" +
      "%z0 = icmp eq i32 %tid, 0\nbr i1 %z0, label %a, label %b\na:\n" +
      ptx("void", "mbar_init", "ptr addrspace(3) %bar, i32 32") + "br label %b\nb:\n" + ptx("void", "barrier id=0") +
      ptx("void", "cp_async", "ptr addrspace(3) %to, ptr addrspace(1) %from, i32 " + std::to_string(bytes)) + finish +
      "%other = xor i32 %so, 16\n" + sharedPointer("%theirs", "%other") +
      "%v = load <4 x i32>, ptr addrspace(3) %theirs\n"
      "%p = getelementptr i8, ptr addrspace(1) %out, i32 %o\nstore <4 x i32> %v, ptr addrspace(1) %p\nret void\n";
  EmulatedKernel kernel(kernelText("ptr addrspace(1) %in, ptr addrspace(1) %out", body));
  EXPECT_EQ(kernel.error(), "");
  std::vector<uint32_t> values(128);
  for (uint32_t i = 0; i < 128; ++i)
    values[i] = 0x01010101u * (i + 1);
  auto *in = kernel.upload(values);
  auto *out = kernel.allocate<uint32_t>(128);
  kernel.launch(1, 32, 2048, {&in, &out});
  EXPECT_EQ(kernel.report(), "");
  return std::vector<uint32_t>(out, out + 128);
}

TEST(CpAsync, CopiesAndFillsWithZeros) {
  std::string wait = ptx("void", "cp_async_commit") + ptx("void", "cp_async_wait n=0") + ptx("void", "warp_sync");
  std::string arrive = ptx("void", "cp_async_arrive", "ptr addrspace(3) %bar") +
                       ptx("void", "mbar_wait", "ptr addrspace(3) %bar, i32 0");
  for (const std::string &finish : {wait, arrive})
    for (uint32_t bytes : {0u, 4u, 10u, 16u}) {
      std::vector<uint32_t> out = copied(finish, bytes);
      for (uint32_t i = 0; i < 512; ++i) {
        uint32_t word = (i / 4) ^ 4, expected = i % 16 < bytes ? (word + 1) & 255u : 0;
        EXPECT_EQ(out[i / 4] >> (i % 4 * 8) & 255u, expected) << "byte " << i << " of " << bytes;
      }
    }
}

TEST(Mbarrier, PhasesAlternate) {
  // Warp 1 counts to 3 by turns with warp 0, each turn one phase of two barriers of 32 arrivals.
  std::string body =
      sharedPointer("%ping", "8") + sharedPointer("%pong", "16") + sharedPointer("%count", "32") +
      "%z0 = icmp eq i32 %tid, 0\nbr i1 %z0, label %a, label %b\na:\n" +
      ptx("void", "mbar_init", "ptr addrspace(3) %ping, i32 32") +
      ptx("void", "mbar_init", "ptr addrspace(3) %pong, i32 32") +
      "store i32 0, ptr addrspace(3) %count\nbr label %b\nb:\n" + ptx("void", "barrier id=0") +
      "%second = icmp uge i32 %tid, 32\n%one = icmp eq i32 %tid, 32\nbr label %loop\nloop:\n"
      "%i = phi i32 [ 0, %b ], [ %i1, %next ]\n%par = and i32 %i, 1\nbr i1 %second, label %w1, label %w0\nw0:\n" +
      ptx("void", "mbar_arrive", "ptr addrspace(3) %ping") +
      ptx("void", "mbar_wait", "ptr addrspace(3) %pong, i32 %par") +
      "%v = load i32, ptr addrspace(3) %count\nbr label %next\nw1:\n" +
      ptx("void", "mbar_wait", "ptr addrspace(3) %ping, i32 %par") +
      "br i1 %one, label %add, label %done\nadd:\n%c = load i32, ptr addrspace(3) %count\n%c1 = add i32 %c, 1\n"
      "store i32 %c1, ptr addrspace(3) %count\nbr label %done\ndone:\n" +
      ptx("void", "mbar_arrive", "ptr addrspace(3) %pong") +
      "br label %next\nnext:\n%got = phi i32 [ %v, %w0 ], [ 0, %done ]\n%i1 = add i32 %i, 1\n"
      "%more = icmp ult i32 %i1, 3\nbr i1 %more, label %loop, label %end\nend:\n"
      "%p = getelementptr i32, ptr addrspace(1) %out, i32 %tid\nstore i32 %got, ptr addrspace(1) %p\nret void\n";
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    EmulatedKernel kernel(kernelText("ptr addrspace(1) %out", body), seed);
    ASSERT_EQ(kernel.error(), "");
    auto *out = kernel.allocate<uint32_t>(64);
    kernel.launch(1, 64, 1024, {&out});
    EXPECT_EQ(kernel.report(), "");
    for (unsigned i = 0; i < 64; ++i)
      EXPECT_EQ(out[i], i < 32 ? 3u : 0u);
  }
}

} // namespace
} // namespace moec
