// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Dispatch: tables and lists of the CUDA kernels on the emulator are those of the runtime's dispatch, byte for byte.

#include "BothKernels.h"

#include "codegen/cuda/CudaDispatch.h"
#include "runtime/layer/dispatch.h"
#include "runtime/moec_cuda_abi.h"

#include <gtest/gtest.h>

#include <cstring>

using namespace moec;

namespace {

std::vector<int32_t> words(const void *p, size_t count) {
  std::vector<int32_t> out(count);
  std::memcpy(out.data(), p, count * 4);
  return out;
}

std::vector<int32_t> expectedList(const std::vector<int32_t> &offsets, int32_t blockSize) {
  std::vector<int32_t> out = {0, 0, 0, 0};
  for (size_t g = 0; g + 1 < offsets.size(); ++g)
    for (int32_t row = offsets[g]; row < offsets[g + 1]; row += blockSize) {
      out.insert(out.end(), {int32_t(g), row, std::min(blockSize, offsets[g + 1] - row), 0});
      ++out[0];
    }
  return out;
}

class DispatchTest : public testing::Test {
protected:
  void make(int64_t groups, int64_t choices, uint64_t seed) {
    // the second list is read at some token counts alone
    shape = {groups, choices, {{16}, {128, {{1, 40}, {78, INT64_MAX}}}}, 90};
    context = makeKernelContext();
    auto loc = mlir::UnknownLoc::get(context.get());
    mlir::OwningOpRef<mlir::ModuleOp> module(mlir::ModuleOp::create(loc));
    kernels = lowerCudaDispatch(shape, loc, *module, "d");
    counts = lowerCudaCounts(groups, 90, loc, *module, "counts");
    device = std::make_unique<EmulatedKernels>(*module, seed);
    ASSERT_EQ(device->error(), "");
  }

  // The kernels that a launch of T tokens runs, in order.
  void run(const std::vector<int32_t> &ids) {
    int64_t slots = int64_t(ids.size()), tokens = slots / shape.choices;
    std::vector<int32_t> offsets(size_t(shape.groups + 1)), rowToken(ids.size(), 0x5a5a5a5a), rowSlot(rowToken),
        slotRow(rowToken);
    moec_route tables = {offsets.data(), rowToken.data(), rowSlot.data(), slotRow.data()};
    std::vector<void *> p;
    auto fresh = [&](size_t bytes) { p.push_back(device->upload(std::vector<char>(bytes, 0x5a))); };
    p.push_back(device->upload(std::vector<char>(reinterpret_cast<const char *>(ids.data()),
                                                 reinterpret_cast<const char *>(ids.data() + ids.size()))));
    for (size_t bytes : {offsets.size() * 4, ids.size() * 4, ids.size() * 4, ids.size() * 4,
                         size_t(cudaDispatchTableBytes(shape).fixed)})
      fresh(bytes);
    for (const CudaDispatchList &list : shape.lists) {
      moec_extent bytes = cudaListBytes(shape.groups, shape.choices, list.blockSize);
      fresh(size_t(bytes.per_token * tokens + bytes.fixed));
    }
    for (const CudaDispatchKernel &kernel : kernels)
      if (tokens >= kernel.minTokens && tokens <= kernel.maxTokens)
        ASSERT_EQ(device->launch(kernel.symbol, kernel.facts, tokens, p), "") << kernel.symbol;
    moec_dispatch(ids.data(), tokens, shape.choices, shape.groups, &tables);
    EXPECT_EQ(words(p[1], offsets.size()), offsets);
    EXPECT_EQ(words(p[2], ids.size()), rowToken);
    EXPECT_EQ(words(p[3], ids.size()), rowSlot);
    EXPECT_EQ(words(p[4], ids.size()), slotRow);
    for (size_t i = 0; i < shape.lists.size(); ++i) {
      std::vector<int32_t> want = expectedList(offsets, int32_t(shape.lists[i].blockSize));
      if (!isRead(shape.lists[i], tokens))
        want.assign(4, 0x5a5a5a5a); // as it was
      EXPECT_EQ(words(p[6 + i], want.size()), want) << "list " << i;
    }
    void *counted = device->upload(std::vector<char>(size_t(shape.groups) * 4, 0x5a));
    ASSERT_EQ(device->launch("counts", counts, tokens, {p[1], counted}), "");
    std::vector<int32_t> rows;
    for (int64_t g = 0; g < shape.groups; ++g)
      rows.push_back(offsets[size_t(g) + 1] - offsets[size_t(g)]);
    EXPECT_EQ(words(counted, size_t(shape.groups)), rows);
  }

  static bool isRead(const CudaDispatchList &list, int64_t tokens) {
    for (auto [first, last] : list.tokens)
      if (tokens >= first && tokens <= last)
        return true;
    return list.tokens.empty();
  }

  std::vector<int32_t> randomIds(int64_t slots, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < slots; ++i) {
      uint64_t r = random();
      int64_t id = int64_t(r % uint64_t(shape.groups));
      if (r >> 60 == 0) // now and then an id that is no group
        id = r & 1 << 20 ? shape.groups + int64_t(r % 7) : -1 - int64_t(r % 7);
      else if (r >> 62 == 3) // a quarter of the rest crowds into few groups
        id %= 3;
      ids.push_back(int32_t(std::min<int64_t>(id, INT32_MAX)));
    }
    return ids;
  }

  CudaDispatchShape shape;
  std::unique_ptr<mlir::MLIRContext> context;
  std::vector<CudaDispatchKernel> kernels;
  CudaKernelFacts counts;
  std::unique_ptr<EmulatedKernels> device;
};

TEST_F(DispatchTest, OneBlock) {
  struct {
    int64_t groups, choices;
    std::vector<int64_t> tokens;
  } cases[] = {{1, 1, {0, 1, 40}}, {8, 2, {0, 1, 2, 77, 700}}, {60, 4, {5, 33}},   {128, 8, {1, 130, 600}},
               {256, 8, {64}},     {1025, 3, {1, 400}},        {4096, 8, {0, 100}}};
  for (auto &c : cases) {
    make(c.groups, c.choices, uint64_t(c.groups));
    for (int64_t tokens : c.tokens) {
      SCOPED_TRACE(testing::Message() << c.groups << " groups, " << c.choices << " choices, " << tokens << " tokens");
      run(randomIds(tokens * c.choices, uint64_t(tokens + 1)));
    }
  }
}

TEST_F(DispatchTest, TheLargestNumberOfTokensOfOneBlock) {
  make(16, 8, 3);
  run(randomIds(cudaDispatchOneBlockSlots, 4));
}

TEST_F(DispatchTest, ThreeKernels) {
  struct {
    int64_t groups, choices, tokens;
  } cases[] = {{8, 2, 8193}, {200, 5, 3400}, {2000, 8, 2100}};
  for (auto c : cases) {
    SCOPED_TRACE(testing::Message() << c.groups << " groups");
    make(c.groups, c.choices, uint64_t(c.groups));
    run(randomIds(c.tokens * c.choices, 9));
  }
}

TEST_F(DispatchTest, IdsThatAreNoGroup) {
  make(4, 2, 1);
  run({-1, 4, INT32_MIN, INT32_MAX, 3, 0, 0, 3, 0, 0, -5, 1});
  run({9, 9, 9, 9});
}

} // namespace
