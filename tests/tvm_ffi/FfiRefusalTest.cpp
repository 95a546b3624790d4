// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Wrong arguments: each becomes an exception of the right kind that says what was found and what is expected, and no
// output is touched.

#include "FfiCall.h"

#include <gtest/gtest.h>

using namespace moec::test;

namespace {

class FfiRefusal : public testing::Test {
protected:
  FfiRefusal() : source(1), packed(source), call(randomInput(4, 1)) {}
  void TearDown() override {
    for (float value : call.result().y)
      EXPECT_NE(value, value) << "an output was written";
  }

  std::string forward(Tensor &x, Tensor &weights, Tensor &y) {
    return refusal(__tvm_ffi_forward, {valueOf(x), valueOf(weights), valueOf(y)});
  }
  std::string withX(std::vector<int64_t> shape, moec_ffi_dtype dtype = f32, moec_ffi_device device = cpu,
                    std::vector<int64_t> strides = {}, int shift = 0) {
    Tensor x(static_cast<char *>(call.xBytes.data()) + shift, shape, dtype, device, strides);
    return forward(x, packed.tensor, call.y);
  }

  TinyWeights source;
  PackedTiny packed;
  CpuCall call;
};

} // namespace

TEST_F(FfiRefusal, types) {
  EXPECT_EQ(withX({4, hidden}, bf16), "TypeError: forward: x is bf16 [4, 8] on cpu, expected f32 [4, 8]");
  EXPECT_EQ(withX({4, hidden}, {6, 8, 1}), "TypeError: forward: x is bool [4, 8] on cpu, expected f32 [4, 8]");
  EXPECT_EQ(withX({4, hidden}, {2, 32, 4}), "TypeError: forward: x is f32x4 [4, 8] on cpu, expected f32 [4, 8]");
  EXPECT_EQ(withX({4, hidden}, {1, 16, 1}), "TypeError: forward: x is u16 [4, 8] on cpu, expected f32 [4, 8]");
  EXPECT_EQ(withX({4, hidden}, {17, 4, 1}),
            "TypeError: forward: x is DLPack type 17 of 4 bits [4, 8] on cpu, expected f32 [4, 8]");
  Tensor ids(call.idsBytes.data(), {4, choices}, i64);
  EXPECT_EQ(refusal(__tvm_ffi_call, {valueOf("x,weights,y,ids"), valueOf(call.x), valueOf(packed.tensor),
                                     valueOf(call.y), valueOf(ids)}),
            "TypeError: call: ids is i64 [4, 2] on cpu, expected i32 [4, 2]");
  EXPECT_EQ(refusal(__tvm_ffi_forward, {valueOf(int64_t(3)), valueOf(packed.tensor), valueOf(call.y)}),
            "TypeError: forward: x is the number 3, expected a tensor");
  EXPECT_EQ(refusal(__tvm_ffi_forward, {valueOf(call.x), none(), valueOf(call.y)}),
            "TypeError: forward: weights is None, expected a tensor");
  EXPECT_EQ(refusal(__tvm_ffi_forward, {valueOf(call.x), valueOf(packed.tensor), valueOf("y")}),
            "TypeError: forward: y is a string, expected a tensor");
}

TEST_F(FfiRefusal, shapes) {
  EXPECT_EQ(withX({4, 7}), "ValueError: forward: x is f32 [4, 7] on cpu, expected rows of 8");
  EXPECT_EQ(withX({}), "ValueError: forward: x is f32 [] on cpu, expected rows of 8");
  EXPECT_EQ(withX({-1, hidden}), "ValueError: forward: x is f32 [-1, 8] on cpu, which is no shape of a tensor");
  EXPECT_EQ(withX({int64_t(1) << 62, hidden}),
            "ValueError: forward: x is f32 [4611686018427387904, 8] on cpu, which is no shape of a tensor");
  EXPECT_EQ(withX({maxTokens + 1, hidden}), "ValueError: forward: y is f32 [4, 8] on cpu, expected f32 [513, 8]");
  Tensor y(call.yBytes.data(), {hidden, 4});
  EXPECT_EQ(forward(call.x, packed.tensor, y), "ValueError: forward: y is f32 [8, 4] on cpu, expected f32 [4, 8]");
  Tensor counts(call.countsBytes.data(), {experts - 1}, i32);
  EXPECT_EQ(refusal(__tvm_ffi_call, {valueOf("x,weights,y,counts"), valueOf(call.x), valueOf(packed.tensor),
                                     valueOf(call.y), valueOf(counts)}),
            "ValueError: call: counts is i32 [3] on cpu, expected i32 [4]");
  std::vector<float> many(size_t((maxTokens + 1) * hidden));
  CpuCall large(many);
  EXPECT_EQ(forward(large.x, packed.tensor, large.y), "ValueError: forward: num_tokens is 513, expected 0 to 512");
}

TEST_F(FfiRefusal, strides_alignment_memory) {
  EXPECT_EQ(withX({4, hidden}, f32, cpu, {1, 4}),
            "ValueError: forward: x is f32 [4, 8] on cpu with strides [1, 4], expected rows without gaps: pass a "
            "contiguous tensor");
  EXPECT_EQ(withX({4, hidden}, f32, cpu, {2 * hidden, 1}),
            "ValueError: forward: x is f32 [4, 8] on cpu with strides [16, 1], expected rows without gaps: pass a "
            "contiguous tensor");
  EXPECT_EQ(withX({4, hidden}, f32, cpu, {hidden, -1}),
            "ValueError: forward: x is f32 [4, 8] on cpu with strides [8, -1], expected rows without gaps: pass a "
            "contiguous tensor");
  EXPECT_EQ(withX({4, hidden}, f32, cpu, {}, 4),
            "ValueError: forward: x begins 4 bytes after a multiple of 16, expected a multiple: pass a copy");
  Tensor empty(nullptr, {4, hidden});
  EXPECT_EQ(forward(empty, packed.tensor, call.y), "ValueError: forward: x has 32 elements and no memory");
  EXPECT_EQ(forward(call.x, packed.tensor, call.x), "ValueError: forward: x and y share bytes");
}

TEST_F(FfiRefusal, devices) {
  EXPECT_EQ(withX({4, hidden}, f32, {10, 1}),
            "RuntimeError: forward: x is on DLPack device 10:1, expected cpu or cuda");
  call.y.get()->device = cuda(1);
  EXPECT_EQ(forward(call.x, packed.tensor, call.y),
            "ValueError: forward: y is on cuda:1, expected cpu, where the first tensor of the call is");
  call.y.get()->device = cpu;
  packed.tensor.get()->device = cuda(0);
  EXPECT_EQ(forward(call.x, packed.tensor, call.y),
            "ValueError: forward: weights is on cuda:0, expected cpu, where the first tensor of the call is");
}

TEST_F(FfiRefusal, packed_weights) {
  Tensor small(packed.bytes.data(), {100}, u8), floats(packed.bytes.data(), {int64_t(packed.bytes.size()) / 4});
  EXPECT_EQ(forward(call.x, small, call.y),
            "ValueError: forward: weights is u8 [100] on cpu, expected u8 [16384]: the packed weights of tiny, which "
            "pack and load make");
  EXPECT_EQ(forward(call.x, floats, call.y),
            "TypeError: forward: weights is f32 [4096] on cpu, expected u8 [16384]: the packed weights of tiny, which "
            "pack and load make");
  AlignedBytes zeros(packed.bytes.size() + 64);
  Tensor unpacked(zeros.data(), {int64_t(packed.bytes.size())}, u8);
  EXPECT_EQ(forward(call.x, unpacked, call.y), "ValueError: forward: buffer does not hold packed weights");
  Tensor shifted(static_cast<char *>(zeros.data()) + 8, {int64_t(packed.bytes.size())}, u8);
  EXPECT_EQ(forward(call.x, shifted, call.y),
            "ValueError: forward: weights begins 8 bytes after a multiple of 64, expected a multiple: pass a copy");
}

TEST_F(FfiRefusal, argument_lists) {
  EXPECT_EQ(refusal(__tvm_ffi_forward, {valueOf(call.x)}), "ValueError: forward: 1 arguments, expected x, weights, y");
  auto named = [&](const char *names, std::vector<moec_ffi_value> rest) {
    rest.insert(rest.begin(), valueOf(names));
    return refusal(__tvm_ffi_call, rest);
  };
  const moec_ffi_value x = valueOf(call.x), w = valueOf(packed.tensor), y = valueOf(call.y);
  EXPECT_EQ(refusal(__tvm_ffi_call, {}),
            "TypeError: call: the first argument is missing, expected the names of the others: \"x,weights,y,ids\"");
  EXPECT_EQ(refusal(__tvm_ffi_call, {x, w, y}),
            "TypeError: call: the first argument is f32 [4, 8] on cpu, expected the "
            "names of the others: \"x,weights,y,ids\"");
  EXPECT_EQ(named("x,weights,y", {x, w}), "ValueError: call: 2 arguments follow the names, expected 3");
  EXPECT_EQ(named("x,weights", {x, w, y}), "ValueError: call: 3 arguments follow the names, expected 2");
  EXPECT_EQ(named("x,weights,z", {x, w, y}),
            "ValueError: call: \"z\" is not the name of an argument; info() lists them");
  EXPECT_EQ(named("x,weights,,y", {x, w, y, y}),
            "ValueError: call: \"\" is not the name of an argument; info() lists them");
  EXPECT_EQ(named("x,weights,out_y", {x, w, y}),
            "ValueError: call: \"out_y\" is not the name of an argument; info() lists them");
  EXPECT_EQ(named("x,weights,y,x", {x, w, y, x}), "ValueError: call: x is named twice");
  EXPECT_EQ(named("x,weights", {x, w}),
            "ValueError: call: package tiny needs the argument y, which was not passed; call(\"x,weights,...,y,...\", "
            "...) passes more than forward");
  EXPECT_EQ(named("x,weights,y,noise", {x, w, y, x}),
            "ValueError: call: package tiny does not have the argument noise");
  EXPECT_EQ(named("x,weights,y,losses", {x, w, y, x}),
            "ValueError: call: package tiny does not have the argument losses; compile its spec with --reports losses");
  EXPECT_EQ(named("x,weights,y,tokens_per_sequence", {x, w, y, y}),
            "TypeError: call: tokens_per_sequence is f32 [4, 8] on cpu, expected an integer");
  moec_ffi_value real = none();
  real.type = MOEC_FFI_FLOAT;
  real.as.real = 3;
  EXPECT_EQ(named("x,weights,y,tokens_per_sequence", {x, w, y, real}),
            "TypeError: call: tokens_per_sequence is the number 3, expected an integer");
  EXPECT_EQ(
      named("\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc", {x}),
      "ValueError: call: "
      "\"\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\" is not the name "
      "of an "
      "argument; info() lists them");
  EXPECT_EQ(named("x,weights,y,stream", {x, w, y, valueOf(int64_t(8))}),
            "ValueError: call: stream is set, but x is on cpu, expected none");
}

TEST_F(FfiRefusal, workspaces) {
  AlignedBytes memory(4096);
  auto with = [&](Tensor &workspace) {
    return refusal(__tvm_ffi_call, {valueOf("x,weights,y,workspace"), valueOf(call.x), valueOf(packed.tensor),
                                    valueOf(call.y), valueOf(workspace)});
  };
  // what is left behind the next multiple of 256 counts
  int64_t enough = callFfi(__tvm_ffi_workspace_bytes, {valueOf(int64_t(4))}).as.integer;
  AlignedBytes large{size_t(enough)};
  Tensor shifted(static_cast<char *>(large.data()) + 1, {enough - 2}, u8);
  std::string text = with(shifted);
  EXPECT_EQ(text.find("ValueError: call: workspace has " + std::to_string(enough - 2 - 255) + " bytes, 4 tokens need "),
            0u)
      << text;
  Tensor small(memory.data(), {256}, u8), floats(memory.data(), {64}), square(memory.data(), {64, 64}, u8);
  EXPECT_NE(with(small).find("ValueError: call: workspace has 256 bytes, 4 tokens need "), std::string::npos);
  EXPECT_EQ(with(floats), "TypeError: call: workspace is f32 [64] on cpu, expected u8 [64]");
  EXPECT_EQ(with(square), "ValueError: call: workspace is u8 [64, 64] on cpu, expected u8 [n]");
}

TEST_F(FfiRefusal, facts) {
  EXPECT_EQ(refusal(__tvm_ffi_workspace_bytes, {}), "ValueError: workspace_bytes: no number of tokens was passed");
  EXPECT_EQ(refusal(__tvm_ffi_workspace_bytes, {valueOf(maxTokens + 1)}),
            "ValueError: workspace_bytes: num_tokens is 513, expected 0 to 512");
  EXPECT_EQ(refusal(__tvm_ffi_workspace_bytes, {valueOf(int64_t(4)), valueOf("x,z")}),
            "ValueError: workspace_bytes: \"z\" is not the name of an argument; info() lists them");
  EXPECT_EQ(refusal(__tvm_ffi_info, {valueOf(int64_t(4))}),
            "TypeError: info: argument 1 is the number 4, expected a device or a tensor on it");
  EXPECT_EQ(refusal(__tvm_ffi_weights_bytes, {valueOf(moec_ffi_device{10, 0})}),
            "RuntimeError: weights_bytes: the argument is on DLPack device 10:0, expected cpu or cuda");
  EXPECT_EQ(refusal(__tvm_ffi_info, {valueOf(cuda(64))}), "RuntimeError: info: CUDA device 64, expected 0 to 63");
  EXPECT_EQ(textOf(callFfi(__tvm_ffi_last_error, {})), "CUDA device 64, expected 0 to 63");
}
