// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// ldmatrix, stmatrix, mma.sync and wgmma -> products and fragments recomputed from the PTX ISA's definitions.

#include "EmulatedKernel.h"

#include <cstring>
#include <gtest/gtest.h>

namespace moec {
namespace {

const char *const quad = "{ i32, i32, i32, i32 }";

std::string num(uint64_t value) { return std::to_string(value); }

// Stores i32 or float values %NAME0.. to out[tid * count + i].
std::string storeValues(const std::string &name, const std::string &type, unsigned count) {
  std::string text = "%base = mul i32 %tid, " + num(count) + "\n";
  for (unsigned i = 0; i < count; ++i)
    text += "%at" + num(i) + " = add i32 %base, " + num(i) + "\n%to" + num(i) +
            " = getelementptr i32, ptr addrspace(1) " + "%out, i32 %at" + num(i) + "\nstore " + type + " %" + name +
            num(i) + ", ptr addrspace(1) %to" + num(i) + "\n";
  return text;
}

std::string extract(const std::string &name, const std::string &from, const std::string &type, unsigned count) {
  std::string text;
  for (unsigned i = 0; i < count; ++i)
    text += "%" + name + num(i) + " = extractvalue " + type + " %" + from + ", " + num(i) + "\n";
  return text;
}

// Four matrices [m][row][column] of 16-bit elements 64m + 8row + column, row i of matrix m at 16*(8m + i).
std::vector<uint32_t> loadedMatrices(const std::string &trans) {
  std::string fill = "%o = shl i32 %tid, 4\n" + sharedPointer("%row", "%o") + "%e0 = shl i32 %tid, 3\n";
  for (unsigned i = 0; i < 8; ++i)
    fill += "%v" + num(i) + " = add i32 %e0, " + num(i) + "\n%h" + num(i) + " = trunc i32 %v" + num(i) + " to i16\n%q" +
            num(i) + " = getelementptr i16, ptr addrspace(3) %row, i32 " + num(i) + "\nstore i16 %h" + num(i) +
            ", ptr addrspace(3) %q" + num(i) + "\n";
  EmulatedKernel kernel(kernelText("ptr addrspace(1) %out",
                                   fill + ptx("void", "warp_sync") +
                                       "%m = " + ptx(quad, "ldmatrix n=4 trans=" + trans, "ptr addrspace(3) %row") +
                                       extract("r", "m", quad, 4) + storeValues("r", "i32", 4) + "ret void\n"));
  EXPECT_EQ(kernel.error(), "");
  auto *out = kernel.allocate<uint32_t>(128);
  EXPECT_EQ(kernel.launch(1, 32, 512, {&out}), MOEC_CUDA_SUCCESS) << kernel.report();
  return std::vector<uint32_t>(out, out + 128);
}

TEST(MatrixInstruction, LdMatrixGivesRowPairs) {
  std::vector<uint32_t> out = loadedMatrices("0");
  for (uint32_t lane = 0; lane < 32; ++lane)
    for (uint32_t m = 0; m < 4; ++m) {
      uint32_t element = 64 * m + 8 * (lane / 4) + 2 * (lane % 4);
      EXPECT_EQ(out[lane * 4 + m], element | (element + 1) << 16);
    }
}

TEST(MatrixInstruction, LdMatrixTransposes) {
  std::vector<uint32_t> out = loadedMatrices("1");
  for (uint32_t lane = 0; lane < 32; ++lane)
    for (uint32_t m = 0; m < 4; ++m) {
      uint32_t element = 64 * m + 8 * (2 * (lane % 4)) + lane / 4;
      EXPECT_EQ(out[lane * 4 + m], element | (element + 8) << 16);
    }
}

TEST(MatrixInstruction, StMatrixStoresWhatLdMatrixLoads) {
  // Register m of lane l is 1000m + l; the shared words then hold them at row l/4 of matrix m, word l%4.
  std::string body = "%o = shl i32 %tid, 4\n" + sharedPointer("%row", "%o") +
                     "%b = add i32 %tid, 1000\n%c = add i32 %tid, 2000\n%d = add i32 %tid, 3000\n" +
                     ptx("void", "stmatrix n=4", "ptr addrspace(3) %row, i32 %tid, i32 %b, i32 %c, i32 %d") +
                     ptx("void", "warp_sync");
  std::string loads;
  for (unsigned i = 0; i < 4; ++i)
    loads += "%q" + num(i) + " = getelementptr i32, ptr addrspace(3) %row, i32 " + num(i) + "\n%r" + num(i) +
             " = load i32, ptr addrspace(3) %q" + num(i) + "\n";
  EmulatedKernel kernel(kernelText("ptr addrspace(1) %out", body + loads + storeValues("r", "i32", 4) + "ret void\n"));
  ASSERT_EQ(kernel.error(), "");
  auto *out = kernel.allocate<uint32_t>(128);
  ASSERT_EQ(kernel.launch(1, 32, 512, {&out}), MOEC_CUDA_SUCCESS) << kernel.report();
  for (uint32_t row = 0; row < 32; ++row)
    for (uint32_t word = 0; word < 4; ++word)
      EXPECT_EQ(out[row * 4 + word], 1000 * (row / 8) + 4 * (row % 8) + word);
}

uint16_t f16Of(int value) { // small integers
  if (value == 0)
    return 0;
  uint32_t size = uint32_t(value < 0 ? -value : value), exponent = 0;
  while (size >> (exponent + 1))
    ++exponent;
  return uint16_t((value < 0 ? 0x8000 : 0) | (exponent + 15) << 10 | ((size << (10 - exponent)) & 1023));
}

int a(unsigned m, unsigned k) { return int((m * 3 + k * 5) % 7) - 3; }
int b(unsigned n, unsigned k) { return int((n * 2 + k) % 5) - 2; }

uint32_t pairOf(int low, int high, bool half) {
  auto bits = [&](int v) -> uint32_t { return half ? f16Of(v) : bf16Of(float(v)); };
  return bits(low) | bits(high) << 16;
}
uint32_t floatBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

// The registers of one lane, by the tables of the PTX ISA for m16n8k16 and m16n8k8.
std::vector<uint32_t> fragmentsOf(unsigned lane, const std::string &type) {
  unsigned g = lane / 4, t = lane % 4;
  std::vector<uint32_t> regs;
  bool half = type == "f16";
  if (type == "tf32") {
    for (auto [m, k] : {std::pair{g, t}, std::pair{g + 8, t}, std::pair{g, t + 4}, std::pair{g + 8, t + 4}})
      regs.push_back(floatBits(float(a(m, k))) | 0x1FFF); // bits the tensor core ignores
    regs.push_back(floatBits(float(b(g, t))));
    regs.push_back(floatBits(float(b(g, t + 4))));
  } else {
    for (auto [m, k] :
         {std::pair{g, 2 * t}, std::pair{g + 8, 2 * t}, std::pair{g, 2 * t + 8}, std::pair{g + 8, 2 * t + 8}})
      regs.push_back(pairOf(a(m, k), a(m, k + 1), half));
    regs.push_back(pairOf(b(g, 2 * t), b(g, 2 * t + 1), half));
    regs.push_back(pairOf(b(g, 2 * t + 8), b(g, 2 * t + 9), half));
  }
  for (auto [m, n] :
       {std::pair{g, 2 * t}, std::pair{g, 2 * t + 1}, std::pair{g + 8, 2 * t}, std::pair{g + 8, 2 * t + 1}})
    regs.push_back(floatBits(float(100 * m + n)));
  return regs;
}

void expectProduct(const std::string &type) {
  std::string body = "%o = mul i32 %tid, 10\n", operands;
  for (unsigned i = 0; i < 10; ++i) {
    std::string kind = i < 6 ? "i32" : "float";
    body += "%p" + num(i) + " = add i32 %o, " + num(i) + "\n%q" + num(i) +
            " = getelementptr i32, ptr addrspace(1) %in, i32 " + "%p" + num(i) + "\n%v" + num(i) + " = load " + kind +
            ", ptr addrspace(1) %q" + num(i) + "\n";
    operands += (i ? ", " : "") + kind + " %v" + num(i);
  }
  std::string result = "{ float, float, float, float }";
  body += "%d = " + ptx(result, "mma type=" + type, operands) + extract("r", "d", result, 4) +
          storeValues("r", "float", 4) + "ret void\n";
  EmulatedKernel kernel(kernelText("ptr addrspace(1) %in, ptr addrspace(1) %out", body));
  ASSERT_EQ(kernel.error(), "");
  std::vector<uint32_t> input;
  for (unsigned lane = 0; lane < 32; ++lane)
    for (uint32_t reg : fragmentsOf(lane, type))
      input.push_back(reg);
  auto *in = kernel.upload(input);
  auto *out = kernel.allocate<float>(128);
  ASSERT_EQ(kernel.launch(1, 32, 0, {&in, &out}), MOEC_CUDA_SUCCESS) << kernel.report();
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned i = 0; i < 4; ++i) {
      unsigned m = lane / 4 + (i >= 2 ? 8 : 0), n = lane % 4 * 2 + i % 2;
      int sum = int(100 * m + n);
      for (unsigned k = 0; k < (type == "tf32" ? 8u : 16u); ++k)
        sum += a(m, k) * b(n, k);
      EXPECT_EQ(out[lane * 4 + i], float(sum)) << type << " row " << m << " column " << n;
    }
}

TEST(MatrixInstruction, MmaMultipliesBf16) { expectProduct("bf16"); }
TEST(MatrixInstruction, MmaMultipliesF16) { expectProduct("f16"); }
TEST(MatrixInstruction, MmaMultipliesTf32AndIgnoresLowBits) { expectProduct("tf32"); }

// One wgmma m64nNk16 on shared bytes [A | B at 8192] taken from `in`, accumulators start at 1, -> N/2 floats per
// thread.
struct Wgmma {
  unsigned n = 16, swizzleBits = 1, leading = 0, stride = 1024;
  std::string type = "bf16";
  bool wait = true, fence = true;
  bool depthFirst[2] = {false, false}; // A, B

  std::string descriptor(const std::string &name, unsigned start) const {
    uint64_t constant =
        uint64_t(start) >> 4 | uint64_t(leading >> 4) << 16 | uint64_t(stride >> 4) << 32 | uint64_t(swizzleBits) << 62;
    return name + " = add i64 0, " + num(constant) + "\n";
  }
  std::string body() const {
    unsigned regs = n / 2;
    std::string types, operands, waited;
    for (unsigned i = 0; i < regs; ++i) {
      types += i ? ", float" : "float";
      operands += "float 1.0, ";
      waited += (i ? ", float %d" : "float %d") + num(i);
    }
    types = "{ " + types + " }";
    std::string copy = "br label %loop\nloop:\n%i = phi i32 [ %tid, %entry ], [ %i1, %loop ]\n%o = shl i32 %i, 2\n" +
                       sharedPointer("%to", "%o") +
                       "%from = getelementptr i8, ptr addrspace(1) %in, i32 %o\n%w = load i32, ptr addrspace(1) %from\n"
                       "store i32 %w, ptr addrspace(3) %to\n%i1 = add i32 %i, 128\n%more = icmp ult i32 %i1, 4096\n"
                       "br i1 %more, label %loop, label %go\ngo:\n";
    std::string text = copy + (fence ? ptx("void", "fence_async") : "") + ptx("void", "barrier id=0") +
                       ptx("void", "wgmma_fence regs=0") + descriptor("%da", 0) + descriptor("%db", 8192) + "%acc = " +
                       ptx(types,
                           "wgmma n=" + num(n) + " type=" + type + (depthFirst[0] ? " transa=1" : "") +
                               (depthFirst[1] ? " transb=1" : ""),
                           operands + "i64 %da, i64 %db, i32 1") +
                       ptx("void", "wgmma_commit") + extract("d", "acc", types, regs);
    if (wait)
      text += "%done = " + ptx(types, "wgmma_wait n=0 regs=" + num(regs), waited) + extract("r", "done", types, regs);
    return text + storeValues(wait ? "r" : "d", "float", regs) + "ret void\n";
  }
};

// Writes element (row, k) of an operand as the descriptor of the swizzle mode reads it. Depth first, k takes the place
// of the row, and rows beyond the width of the swizzle go on `leading` bytes further.
void place(std::vector<uint16_t> &shared, unsigned start, unsigned row, unsigned k, uint16_t bits, const Wgmma &wgmma,
           bool depthFirst) {
  unsigned widths[4] = {16, 128, 64, 32}, width = widths[wgmma.swizzleBits];
  unsigned line = depthFirst ? k : row, byte = (depthFirst ? row : k) * 2;
  unsigned address = start + line / 8 * wgmma.stride + line % 8 * width;
  if (wgmma.swizzleBits == 0)
    address += byte / 16 * wgmma.leading + byte % 16;
  else
    address += byte / width * wgmma.leading + byte % width;
  unsigned masks[4] = {0, 7, 3, 1};
  address ^= (address >> 7 & masks[wgmma.swizzleBits]) << 4;
  shared[address / 2] = bits;
}

void expectWgmma(const Wgmma &wgmma) {
  EmulatedKernel kernel(kernelText("ptr addrspace(1) %in, ptr addrspace(1) %out", wgmma.body()));
  ASSERT_EQ(kernel.error(), "");
  std::vector<uint16_t> shared(8192, 0);
  auto bits = [&](int v) { return wgmma.type == "f16" ? f16Of(v) : bf16Of(float(v)); };
  for (unsigned k = 0; k < 16; ++k) {
    for (unsigned m = 0; m < 64; ++m)
      place(shared, 0, m, k, bits(a(m, k)), wgmma, wgmma.depthFirst[0]);
    for (unsigned n = 0; n < wgmma.n; ++n)
      place(shared, 8192, n, k, bits(b(n, k)), wgmma, wgmma.depthFirst[1]);
  }
  auto *in = kernel.upload(shared);
  auto *out = kernel.allocate<float>(64 * wgmma.n);
  ASSERT_EQ(kernel.launch(1, 128, 16384, {&in, &out}), MOEC_CUDA_SUCCESS) << kernel.report();
  for (unsigned thread = 0; thread < 128; ++thread)
    for (unsigned i = 0; i < wgmma.n / 2; ++i) {
      unsigned m = thread / 32 * 16 + thread % 32 / 4 + (i % 4 >= 2 ? 8 : 0);
      unsigned n = i / 4 * 8 + thread % 4 * 2 + i % 2;
      int sum = 1;
      for (unsigned k = 0; k < 16; ++k)
        sum += a(m, k) * b(n, k);
      ASSERT_EQ(out[thread * (wgmma.n / 2) + i], float(sum)) << "row " << m << " column " << n;
    }
}

TEST(MatrixInstruction, WgmmaReadsEverySwizzle) {
  expectWgmma(Wgmma());
  Wgmma wgmma;
  wgmma.swizzleBits = 2;
  wgmma.stride = 512;
  expectWgmma(wgmma);
  wgmma.swizzleBits = 3;
  wgmma.stride = 256;
  expectWgmma(wgmma);
  wgmma.swizzleBits = 0;
  wgmma.leading = 128;
  expectWgmma(wgmma);
}

// Atoms of 64, 32 or 16 rows, 16 lines each.
TEST(MatrixInstruction, WgmmaReadsMatricesThatAreDepthFirst) {
  for (unsigned swizzle : {1u, 2u, 3u}) {
    Wgmma wgmma;
    wgmma.swizzleBits = swizzle;
    wgmma.stride = 2048 >> swizzle;
    wgmma.leading = 2 * wgmma.stride;
    wgmma.n = 96;
    wgmma.depthFirst[0] = wgmma.depthFirst[1] = true;
    expectWgmma(wgmma);
  }
  for (unsigned which : {0u, 1u}) {
    Wgmma wgmma;
    wgmma.n = 64;
    wgmma.depthFirst[which] = true;
    expectWgmma(wgmma);
  }
}

TEST(MatrixInstruction, WgmmaTakesEveryWidthAndType) {
  for (unsigned n : {8u, 24u, 64u}) {
    Wgmma wgmma;
    wgmma.n = n;
    expectWgmma(wgmma);
    wgmma.type = "f16";
    expectWgmma(wgmma);
  }
}

TEST(MatrixInstruction, AccumulatorsInFlightAreNoNumbers) {
  Wgmma wgmma;
  wgmma.wait = false;
  EmulatedKernel kernel(kernelText("ptr addrspace(1) %in, ptr addrspace(1) %out", wgmma.body()));
  ASSERT_EQ(kernel.error(), "");
  auto *in = kernel.upload(std::vector<uint16_t>(8192, 0));
  auto *out = kernel.allocate<float>(64 * wgmma.n);
  ASSERT_EQ(kernel.launch(1, 128, 16384, {&in, &out}), MOEC_CUDA_SUCCESS) << kernel.report();
  for (unsigned i = 0; i < 64 * wgmma.n; ++i)
    EXPECT_NE(out[i], out[i]);
}

TEST(MatrixInstruction, WgmmaWithoutFenceAsyncIsReported) {
  Wgmma wgmma;
  wgmma.fence = false;
  EmulatedKernel kernel(kernelText("ptr addrspace(1) %in, ptr addrspace(1) %out", wgmma.body()));
  ASSERT_EQ(kernel.error(), "");
  auto *in = kernel.upload(std::vector<uint16_t>(8192, 0));
  auto *out = kernel.allocate<float>(64 * wgmma.n);
  EXPECT_EQ(kernel.launch(1, 128, 16384, {&in, &out}), MOEC_CUDA_LAUNCH_FAILED);
  ASSERT_FALSE(kernel.findings().empty());
  EXPECT_EQ(kernel.findings()[0].substr(kernel.findings()[0].find("wgmma reads")).substr(0, 25),
            "wgmma reads what thread 0");
  EXPECT_NE(kernel.findings()[0].find("wrote, with no fence_async between (shared offset "), std::string::npos);
}

} // namespace
} // namespace moec
