// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Results of forward and call: the bits of moec_layer_forward, in every form that frameworks pass arguments.

#include "FfiCall.h"

#include <gtest/gtest.h>

using namespace moec::test;

TEST(FfiForward, every_token_count_gives_the_bits_of_the_runtime) {
  TinyWeights source(1);
  TinyLayer tiny(source);
  PackedTiny packed(source);
  for (int64_t t = 0; t <= 130; ++t) {
    std::vector<float> x = randomInput(t, unsigned(t));
    CpuCall call(x);
    callFfi(__tvm_ffi_forward, {valueOf(call.x), valueOf(packed.tensor), valueOf(call.y)});
    if (t) {
      ASSERT_EQ(call.result().y, runTiny(tiny, x).y) << t;
    }
  }
}

TEST(FfiForward, call_writes_every_output_that_it_names) {
  TinyWeights source(2);
  TinyLayer tiny(source);
  PackedTiny packed(source);
  std::vector<float> x = randomInput(37, 5);
  CpuCall all(x);
  callFfi(__tvm_ffi_call, all.args(packed.tensor));
  EXPECT_TRUE(all.result() == runTiny(tiny, x));

  CpuCall some(x), untouched(x);
  callFfi(__tvm_ffi_call, {valueOf(" out_ids, y ,counts,x, weights"), valueOf(some.ids), valueOf(some.y), none(),
                           valueOf(some.x), valueOf(packed.tensor)});
  EXPECT_EQ(some.result().ids, all.result().ids);
  EXPECT_EQ(some.result().y, all.result().y);
  EXPECT_EQ(some.result().counts, untouched.result().counts);
}

TEST(FfiForward, takes_tensors_as_frameworks_pass_them) {
  TinyWeights source(3);
  TinyLayer tiny(source);
  PackedTiny packed(source);
  std::vector<float> x = randomInput(6, 1);
  const std::vector<float> want = runTiny(tiny, x).y;
  auto expect = [&](const moec_ffi_value &in, const CpuCall &call, const moec_ffi_value &out) {
    callFfi(__tvm_ffi_forward, {in, valueOf(packed.tensor), out});
    EXPECT_EQ(call.result().y, want);
  };
  CpuCall objects(x);
  expect(objectOf(objects.x), objects, objectOf(objects.y));

  CpuCall strided(x);
  Tensor withStrides(strided.xBytes.data(), {6, hidden}, f32, cpu, {hidden, 1});
  expect(valueOf(withStrides), strided, valueOf(strided.y));

  CpuCall deep(x); // [batch, sequence, H] is B * S tokens; a dimension of 1 may have any stride
  Tensor cube(deep.xBytes.data(), {2, 1, 3, hidden}, f32, cpu, {3 * hidden, 77, hidden, 1});
  Tensor flat(deep.yBytes.data(), {6, hidden});
  expect(valueOf(cube), deep, valueOf(flat));

  CpuCall shifted(x);
  Tensor offset(static_cast<char *>(shifted.xBytes.data()) - 64, {6, hidden});
  offset.get()->byte_offset = 64;
  expect(valueOf(offset), shifted, valueOf(shifted.y));

  CpuCall pinned(x); // host memory that a GPU can reach
  pinned.x.get()->device = {MOEC_FFI_CUDA_HOST, 0};
  expect(valueOf(pinned.x), pinned, valueOf(pinned.y));

  std::vector<float> row(x.begin(), x.begin() + hidden);
  CpuCall one(row);
  Tensor vector(one.xBytes.data(), {hidden});
  callFfi(__tvm_ffi_forward, {valueOf(vector), valueOf(packed.tensor), valueOf(one.y)});
  EXPECT_EQ(one.result().y, runTiny(tiny, row).y);
}

TEST(FfiForward, without_tokens_outputs_that_have_elements_are_zeros) {
  TinyWeights source(1);
  PackedTiny packed(source);
  Tensor x(nullptr, {0, hidden}), y(nullptr, {0, hidden}),
      deep(nullptr, {int64_t(1) << 40, int64_t(1) << 40, 0, hidden});
  AlignedBytes countsBytes(experts * 4, 0x77);
  Tensor counts(countsBytes.data(), {experts}, i32);
  callFfi(__tvm_ffi_forward, {valueOf(x), valueOf(packed.tensor), valueOf(y)});
  callFfi(__tvm_ffi_forward, {valueOf(deep), valueOf(packed.tensor), valueOf(y)});
  callFfi(__tvm_ffi_call,
          {valueOf("x,weights,y,counts"), valueOf(x), valueOf(packed.tensor), valueOf(y), valueOf(counts)});
  const int32_t *first = static_cast<const int32_t *>(countsBytes.data());
  EXPECT_EQ(std::vector<int32_t>(first, first + experts), std::vector<int32_t>(experts));

  first = static_cast<const int32_t *>(std::memset(countsBytes.data(), 0x77, experts * 4)); // not of a call that fails
  AlignedBytes unpacked(packed.bytes.size());
  Tensor wrong(unpacked.data(), {int64_t(packed.bytes.size())}, u8);
  EXPECT_NE(
      refusal(__tvm_ffi_call, {valueOf("x,weights,y,counts"), valueOf(x), valueOf(wrong), valueOf(y), valueOf(counts)}),
      "");
  EXPECT_EQ(first[0], 0x77777777);
}

TEST(FfiForward, names_come_in_every_form_of_text) {
  TinyWeights source(4);
  TinyLayer tiny(source);
  PackedTiny packed(source);
  std::vector<float> x = randomInput(3, 1);
  struct {
    moec_ffi_object header;
    moec_ffi_bytes bytes;
  } object = {{}, {"x,weights,y,and more", 11}};
  moec_ffi_value text = none();
  auto expectWith = [&](int32_t type, void *pointer) {
    text.type = type;
    text.as.pointer = pointer;
    CpuCall call(x);
    callFfi(__tvm_ffi_call, {text, valueOf(call.x), valueOf(packed.tensor), valueOf(call.y)});
    EXPECT_EQ(call.result().y, runTiny(tiny, x).y) << type;
  };
  expectWith(MOEC_FFI_STRING, &object);
  expectWith(MOEC_FFI_BYTES, &object);
  expectWith(MOEC_FFI_BYTES_POINTER, &object.bytes);
  moec_ffi_value small = none();
  small.type = MOEC_FFI_SMALL_STRING;
  small.small_length = 3;
  std::memcpy(small.as.small, "x,y", 3);
  CpuCall call(x);
  EXPECT_EQ(refusal(__tvm_ffi_call, {small, valueOf(call.x), valueOf(call.y)}),
            "ValueError: call: the argument weights was not passed");
}

TEST(FfiForward, a_workspace_may_be_the_callers) {
  TinyWeights source(5);
  TinyLayer tiny(source);
  PackedTiny packed(source);
  std::vector<float> x = randomInput(50, 1);
  int64_t bytes = callFfi(__tvm_ffi_workspace_bytes, {valueOf(int64_t(50))}).as.integer;
  for (int shift : {0, 1, 64, 255}) {
    CpuCall call(x);
    GuardedBytes memory(size_t(bytes) + size_t(shift), 1);
    Tensor workspace(static_cast<char *>(memory.data()) + shift, {bytes}, u8);
    callFfi(__tvm_ffi_call, {valueOf("x,weights,workspace,y"), valueOf(call.x), valueOf(packed.tensor),
                             valueOf(workspace), valueOf(call.y)});
    EXPECT_EQ(call.result().y, runTiny(tiny, x).y) << shift;
  }
}

TEST(FfiForward, sequences_are_a_number) {
  TinyWeights source(6);
  TinyLayer tiny(source);
  PackedTiny packed(source);
  std::vector<float> x = randomInput(6, 1);
  CpuCall call(x);
  auto args = [&](int64_t tokens) {
    return std::vector<moec_ffi_value>{valueOf("x,tokens_per_sequence,weights,y"), valueOf(call.x), valueOf(tokens),
                                       valueOf(packed.tensor), valueOf(call.y)};
  };
  callFfi(__tvm_ffi_call, args(3));
  EXPECT_EQ(call.result().y, runTiny(tiny, x).y);
  EXPECT_EQ(refusal(__tvm_ffi_call, args(4)),
            "ValueError: call: tokens_per_sequence is 4, expected 0 or a divisor of 6 tokens");
}
