// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// CUDA tensors, on the fake driver: the framework's stream and memory, and what calls ask the driver for.

#include "FfiCall.h"
#include "TinyCuda.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

using namespace moec::test;

namespace {

// A driver that lives as long as the process, as layers do.
FakeDriver &driver() {
  static FakeDriver *const made = [] {
    auto *driver = new FakeDriver;
    addTinyKernels(*driver);
    callFfi(__tvm_ffi_options, {valueOf("cuda_driver"), valueOf(int64_t(intptr_t(&driver->table)))});
    return driver;
  }();
  return *made;
}

// Buffers of one call on a device.
struct DeviceCall {
  explicit DeviceCall(const std::vector<float> &values, int32_t device = 0)
      : numTokens(int64_t(values.size()) / hidden), xBytes(driver(), values.size() * 4),
        yBytes(driver(), values.size() * 4), idsBytes(driver(), size_t(numTokens * choices * 4)),
        x(xBytes.data(), {numTokens, hidden}, f32, cuda(device)),
        y(yBytes.data(), {numTokens, hidden}, f32, cuda(device)),
        ids(idsBytes.data(), {numTokens, choices}, i32, cuda(device)) {
    std::memcpy(xBytes.data(), values.data(), values.size() * 4);
  }
  std::vector<float> result() const {
    const float *first = static_cast<const float *>(yBytes.data());
    return {first, first + numTokens * hidden};
  }
  int64_t numTokens;
  DeviceBytes xBytes, yBytes, idsBytes;
  Tensor x, y, ids;
};

class FfiCuda : public testing::Test {
protected:
  FfiCuda()
      : source(1), packedBytes(driver(), cudaPackedBytes), packed(packedBytes.data(), {cudaPackedBytes}, u8, cuda(0)) {
    driver().contexts.clear();
    FakeFramework::stream = &here;
    FakeFramework::allocate = [this](size_t bytes) {
      auto memory = std::make_unique<DeviceBytes>(driver(), bytes + 64);
      void *data = static_cast<char *>(memory->data()) + 64; // what a framework aligns to
      memories[data] = std::move(memory);
      return data;
    };
    FakeFramework::release = [this](void *data) { ASSERT_EQ(memories.erase(data), 1u); };
    FakeFramework::numAllocated = FakeFramework::numReleased = 0;
    pack(packed, source);
    x = randomInput(9, 3);
    want = want_of(x);
  }
  ~FfiCuda() override { FakeFramework::allocate = nullptr; }

  std::vector<float> want_of(const std::vector<float> &values) {
    TinyReference reference = referenceTiny(source, values);
    return {reference.y.begin(), reference.y.end()};
  }
  void expectNear(const std::vector<float> &got) {
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i)
      ASSERT_NEAR(got[i], want[i], 1e-4);
  }
  std::string forward(DeviceCall &call) {
    return refusal(__tvm_ffi_forward, {valueOf(call.x), valueOf(packed), valueOf(call.y)});
  }
  static int64_t numCalls(const std::string &name) {
    return std::count(driver().calls.begin(), driver().calls.end(), name);
  }

  int here = 0, there = 0; // streams
  TinyWeights source;
  DeviceBytes packedBytes;
  Tensor packed;
  std::map<void *, std::unique_ptr<DeviceBytes>> memories;
  std::vector<float> x, want;
};

} // namespace

TEST_F(FfiCuda, runs_on_the_frameworks_stream_in_its_memory) {
  DeviceCall call(x);
  driver().launches.clear();
  EXPECT_EQ(forward(call), "");
  expectNear(call.result());
  ASSERT_FALSE(driver().launches.empty());
  for (const FakeLaunch &launch : driver().launches)
    EXPECT_EQ(launch.stream, &here);
  EXPECT_EQ(FakeFramework::numAllocated, 1);
  EXPECT_EQ(FakeFramework::numReleased, 1);
}

TEST_F(FfiCuda, a_call_copies_nothing_and_waits_for_nothing) {
  DeviceCall first(x), second(x);
  EXPECT_EQ(forward(first), "");
  driver().calls.clear();
  EXPECT_EQ(forward(second), "");
  for (const std::string &name : driver().calls)
    EXPECT_TRUE(name.find("emcpy") == std::string::npos && name.find("ynchronize") == std::string::npos) << name;
}

TEST_F(FfiCuda, without_tokens_outputs_that_have_elements_are_zeros) {
  Tensor none(nullptr, {0, hidden}, f32, cuda(0));
  DeviceBytes bytes(driver(), experts * 4);
  Tensor counts(bytes.data(), {experts}, i32, cuda(0));
  driver().calls.clear();
  callFfi(__tvm_ffi_call,
          {valueOf("x,weights,y,counts"), valueOf(none), valueOf(packed), valueOf(none), valueOf(counts)});
  const int32_t *first = static_cast<const int32_t *>(bytes.data());
  EXPECT_EQ(std::vector<int32_t>(first, first + experts), std::vector<int32_t>(experts));
  EXPECT_EQ(numCalls("cuMemsetD8Async"), 1);
}

TEST_F(FfiCuda, without_an_allocator_the_caller_passes_memory) {
  DeviceCall call(x);
  FakeFramework::allocate = nullptr;
  std::string text = forward(call);
  EXPECT_EQ(text.find("MemoryError: forward: the framework gave no memory for a workspace of "), 0u) << text;
  EXPECT_NE(text.find("pass a u8 tensor of that size: call(\"x,weights,workspace,y\", ...)"), std::string::npos)
      << text;
  int64_t bytes = callFfi(__tvm_ffi_workspace_bytes, {valueOf(int64_t(9)), valueOf(cuda(0))}).as.integer;
  DeviceBytes memory(driver(), size_t(bytes) + 32);
  Tensor workspace(static_cast<char *>(memory.data()) + 32, {bytes}, u8, cuda(0));
  callFfi(__tvm_ffi_call,
          {valueOf("x,weights,workspace,y"), valueOf(call.x), valueOf(packed), valueOf(workspace), valueOf(call.y)});
  expectNear(call.result());
}

TEST_F(FfiCuda, another_stream_needs_a_workspace) {
  DeviceCall call(x);
  moec_ffi_value stream = valueOf(int64_t(intptr_t(&there)));
  EXPECT_EQ(refusal(__tvm_ffi_call,
                    {valueOf("x,weights,stream,y"), valueOf(call.x), valueOf(packed), stream, valueOf(call.y)}),
            "ValueError: call: stream is not the framework's current one, in whose order it gives and takes memory: "
            "pass a workspace too");
  int64_t bytes = callFfi(__tvm_ffi_workspace_bytes, {valueOf(int64_t(9)), valueOf(call.x)}).as.integer;
  DeviceBytes memory(driver(), size_t(bytes));
  Tensor workspace(memory.data(), {bytes}, u8, cuda(0));
  driver().launches.clear();
  callFfi(__tvm_ffi_call, {valueOf("x,weights,workspace,stream,y,ids"), valueOf(call.x), valueOf(packed),
                           valueOf(workspace), stream, valueOf(call.y), valueOf(call.ids)});
  expectNear(call.result());
  for (const FakeLaunch &launch : driver().launches)
    EXPECT_EQ(launch.stream, &there);
}

TEST_F(FfiCuda, a_buffer_packed_again_gives_new_results) {
  DeviceCall call(x);
  EXPECT_EQ(forward(call), "");
  source = TinyWeights(2);
  pack(packed, source);
  want = want_of(x);
  EXPECT_EQ(forward(call), "");
  expectNear(call.result());
}

TEST_F(FfiCuda, what_was_never_packed_is_refused) {
  DeviceCall call(x);
  DeviceBytes bytes(driver(), cudaPackedBytes, 0);
  Tensor zeros(bytes.data(), {cudaPackedBytes}, u8, cuda(0));
  EXPECT_EQ(refusal(__tvm_ffi_forward, {valueOf(call.x), valueOf(zeros), valueOf(call.y)}),
            "ValueError: forward: buffer does not hold packed weights");
}

TEST_F(FfiCuda, thousands_of_buffers) {
  DeviceCall call(x);
  std::vector<std::unique_ptr<DeviceBytes>> buffers;
  for (int i = 0; i < 1100; ++i) {
    buffers.push_back(std::make_unique<DeviceBytes>(driver(), cudaPackedBytes));
    std::memcpy(buffers.back()->data(), packedBytes.data(), cudaPackedBytes);
    Tensor own(buffers.back()->data(), {cudaPackedBytes}, u8, cuda(0));
    ASSERT_EQ(refusal(__tvm_ffi_forward, {valueOf(call.x), valueOf(own), valueOf(call.y)}), "");
  }
  expectNear(call.result());
}

TEST_F(FfiCuda, devices_have_layers_of_their_own) {
  DeviceCall second(x, 1);
  EXPECT_EQ(forward(second),
            "ValueError: forward: weights is on cuda:0, expected cuda:1, where the first tensor of the "
            "call is");
  Tensor other(packedBytes.data(), {cudaPackedBytes}, u8, cuda(1));
  EXPECT_EQ(refusal(__tvm_ffi_forward, {valueOf(second.x), valueOf(other), valueOf(second.y)}), "");
  expectNear(second.result());
  EXPECT_NE(textOf(callFfi(__tvm_ffi_info, {valueOf(cuda(1))})).find("\"device\": \"cuda:1\",\n  \"isa\": \"sm_90a\""),
            std::string::npos);
}

TEST_F(FfiCuda, devices_that_do_not_exist) {
  EXPECT_EQ(refusal(__tvm_ffi_info, {valueOf(cuda(5))}),
            "ValueError: info: options: cuda_device is 6, 1 + the ordinal of a device, and the machine has 2");
}

TEST_F(FfiCuda, an_error_of_the_driver_is_an_exception) {
  DeviceCall call(x);
  EXPECT_EQ(forward(call), "");
  driver().failAt("cuLaunchKernelEx", 0, 719);
  std::string text = forward(call);
  EXPECT_EQ(text.find("RuntimeError: forward: "), 0u) << text;
  EXPECT_EQ(FakeFramework::numAllocated, FakeFramework::numReleased);
}
