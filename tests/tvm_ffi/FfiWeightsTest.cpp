// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Packed weights: from tensors, from files, and buffers that change between calls.

#include "FfiCall.h"
#include "WeightFile.h"

#include <gtest/gtest.h>

#include <unistd.h>

using namespace moec::test;

namespace {
struct WeightsOf {
  explicit WeightsOf(unsigned seed) : source(seed) {}
  TinyWeights source;
  TinyResult want(const std::vector<float> &x) const { return runTiny(TinyLayer(source), x); }
};

std::vector<float> run(Tensor &packed, const std::vector<float> &x) {
  CpuCall call(x);
  callFfi(__tvm_ffi_forward, {valueOf(call.x), valueOf(packed), valueOf(call.y)});
  return call.result().y;
}
} // namespace

TEST(FfiWeights, a_reused_buffer_gives_the_results_of_what_it_holds) {
  WeightsOf first(1), second(2);
  std::vector<float> x = randomInput(9, 1);
  PackedTiny packed(first.source);
  EXPECT_EQ(run(packed.tensor, x), first.want(x).y);
  pack(packed.tensor, second.source);
  EXPECT_EQ(run(packed.tensor, x), second.want(x).y);
  std::memset(packed.bytes.data(), 0, packed.bytes.size()); // freed, and now another's
  CpuCall call(x);
  EXPECT_EQ(refusal(__tvm_ffi_forward, {valueOf(call.x), valueOf(packed.tensor), valueOf(call.y)}),
            "ValueError: forward: buffer does not hold packed weights");
  pack(packed.tensor, first.source);
  EXPECT_EQ(run(packed.tensor, x), first.want(x).y);
}

TEST(FfiWeights, load_reads_a_checkpoint) {
  WeightsOf weights(3);
  std::vector<float> x = randomInput(9, 1);
  std::string path = testing::TempDir() + "ffi_weights_" + std::to_string(getpid()) + ".safetensors";
  fileWithDown(weights.source, MOEC_STACK_PER_EXPERT, MOEC_AXES_OUT_IN, MOEC_PART_ALL, MOEC_F32).write(path);
  AlignedBytes bytes(16384, 0xff);
  Tensor buffer(bytes.data(), {16384}, u8);
  for (moec_ffi_value prefix : {none(), valueOf("")}) {
    std::memset(bytes.data(), 0xff, bytes.size());
    callFfi(__tvm_ffi_load, {valueOf(buffer), valueOf(path.c_str()), prefix});
    EXPECT_EQ(run(buffer, x), weights.want(x).y);
  }
  std::string missing = refusal(__tvm_ffi_load, {valueOf(buffer), valueOf(path.c_str()), valueOf("other.")});
  EXPECT_EQ(missing.compare(0, 18, "ValueError: load: "), 0) << missing;
  EXPECT_NE(missing.find("other."), std::string::npos) << missing;
  EXPECT_EQ(refusal(__tvm_ffi_load, {valueOf(buffer), valueOf("/nonexistent/file")}),
            "RuntimeError: load: /nonexistent/file: cannot be opened: No such file or directory");
  EXPECT_EQ(refusal(__tvm_ffi_load, {valueOf(buffer)}),
            "ValueError: load: 1 arguments, expected buffer, path and, if wanted, prefix");
  EXPECT_EQ(refusal(__tvm_ffi_load, {valueOf(buffer), valueOf(int64_t(1))}),
            "TypeError: load: path is the number 1, expected a string");
  moec_ffi_bytes nul = {"a\0b", 3};
  moec_ffi_value value = none();
  value.type = MOEC_FFI_BYTES_POINTER;
  value.as.pointer = &nul;
  EXPECT_EQ(refusal(__tvm_ffi_load, {valueOf(buffer), value}), "ValueError: load: path holds a NUL byte");
  unlink(path.c_str());
}

TEST(FfiWeights, roles_may_come_first_and_the_buffer_last) {
  WeightsOf weights(5);
  std::vector<float> x = randomInput(9, 1);
  TinyWeights &w = weights.source;
  AlignedBytes bytes(16384, 0xff);
  Tensor buffer(bytes.data(), {16384}, u8), router(w.router.data(), {experts, hidden}),
      gate(w.gate.data(), {experts, inner, hidden}), up(w.up.data(), {experts, inner, hidden}),
      down(w.down.data(), {experts, hidden, inner});
  callFfi(__tvm_ffi_pack, {valueOf("router.weight, experts.up,experts.gate,experts.down"), valueOf(router), valueOf(up),
                           valueOf(gate), valueOf(down), valueOf(buffer)});
  EXPECT_EQ(run(buffer, x), weights.want(x).y);
  EXPECT_EQ(refusal(__tvm_ffi_pack, {valueOf("router.weight,experts.up"), valueOf(router), valueOf(buffer)}),
            "ValueError: pack: 1 tensors follow 2 roles, before the buffer");
  EXPECT_EQ(refusal(__tvm_ffi_pack, {valueOf("router.weight"), valueOf(router), valueOf(int64_t(1))}),
            "TypeError: pack: buffer is the number 1, expected a tensor of u8 with weights_bytes() elements");
}

TEST(FfiWeights, bound_functions_take_the_tensors_alone) {
  WeightsOf weights(6);
  std::vector<float> x = randomInput(9, 1);
  TinyWeights &w = weights.source;
  AlignedBytes bytes(16384, 0xff);
  Tensor buffer(bytes.data(), {16384}, u8), router(w.router.data(), {experts, hidden}),
      gate(w.gate.data(), {experts, inner, hidden}), up(w.up.data(), {experts, inner, hidden}),
      down(w.down.data(), {experts, hidden, inner});
  std::string roles = "router.weight,experts.gate,experts.up,experts.down", names = "x,weights,ids,y";
  BoundFunction packing(callFfi(__tvm_ffi_bind, {valueOf("pack"), valueOf(roles.c_str())}));
  BoundFunction calling(callFfi(__tvm_ffi_bind, {valueOf("call"), valueOf(names.c_str())}));
  roles.assign(roles.size(), '?'); // they were copied
  names.assign(names.size(), '?');
  EXPECT_EQ(packing.refusal({valueOf(router), valueOf(gate), valueOf(up), valueOf(down), valueOf(buffer)}), "");
  CpuCall call(x);
  EXPECT_EQ(calling.refusal({valueOf(call.x), valueOf(buffer), valueOf(call.ids), valueOf(call.y)}), "");
  EXPECT_EQ(call.result().y, weights.want(x).y);
  EXPECT_EQ(call.result().ids, weights.want(x).ids);
  EXPECT_EQ(calling.refusal({}), "ValueError: call: 0 arguments follow the names, expected 4");
  EXPECT_EQ(calling.refusal(std::vector<moec_ffi_value>(100, valueOf(call.x))),
            "ValueError: call: 100 arguments follow the names, expected 4");
  BoundFunction loading(callFfi(__tvm_ffi_bind, {valueOf("load"), valueOf("/nonexistent"), valueOf("layers.0.")}));
  EXPECT_EQ(loading.refusal({valueOf(buffer)}),
            "RuntimeError: load: /nonexistent: cannot be opened: No such file or directory");
  for (std::vector<moec_ffi_value> args :
       {std::vector<moec_ffi_value>{}, {valueOf("call")}, {valueOf("forward"), none()}})
    EXPECT_EQ(refusal(__tvm_ffi_bind, args),
              "ValueError: bind: expected \"call\" or \"backward\" and names, \"pack\" and roles, or \"load\" and a path");
  EXPECT_EQ(refusal(__tvm_ffi_bind, {valueOf("call"), valueOf(int64_t(1))}),
            "TypeError: bind: a bound argument is the number 1, expected a string");
  EXPECT_EQ(refusal(__tvm_ffi_bind, {valueOf("load"), valueOf("a"), valueOf("b"), valueOf("c")}),
            "ValueError: bind: 3 texts, expected at most 2");
}

TEST(FfiWeights, pack_refuses_what_does_not_fit) {
  WeightsOf weights(4);
  AlignedBytes bytes(16384, 0xff);
  Tensor buffer(bytes.data(), {16384}, u8), router(weights.source.router.data(), {experts, hidden});
  auto packing = [&](std::vector<moec_ffi_value> rest) {
    rest.insert(rest.begin(), valueOf(buffer));
    return refusal(__tvm_ffi_pack, rest);
  };
  EXPECT_EQ(refusal(__tvm_ffi_pack, {}),
            "TypeError: pack: buffer is nothing, expected a tensor of u8 with weights_bytes() elements");
  EXPECT_EQ(refusal(__tvm_ffi_pack, {valueOf("w")}),
            "TypeError: pack: buffer is a string, expected a tensor of u8 with weights_bytes() elements");
  EXPECT_EQ(packing({valueOf("router.weight")}),
            "ValueError: pack: 1 arguments follow the buffer, expected a role before each tensor");
  EXPECT_EQ(packing({valueOf(router), valueOf("router.weight")}),
            "TypeError: pack: role is f32 [4, 8] on cpu, expected a string");
  EXPECT_EQ(packing({valueOf("router.weight"), valueOf(int64_t(1))}),
            "TypeError: pack: router.weight is the number 1, expected a tensor");
  EXPECT_EQ(packing({valueOf("router.weight"), valueOf(router)}).compare(0, 18, "ValueError: pack: "), 0);
  Tensor scalar(weights.source.router.data(), {}), logical(weights.source.router.data(), {experts, hidden}, {6, 8, 1}),
      across(weights.source.router.data(), {experts, hidden}, f32, cpu, {1, experts}),
      far(weights.source.router.data(), {experts, hidden}, f32, cuda(0));
  EXPECT_EQ(packing({valueOf("router.weight"), valueOf(scalar)}),
            "ValueError: pack: router.weight is f32 [] on cpu, expected 1 to 4 dimensions");
  EXPECT_EQ(packing({valueOf("router.weight"), valueOf(logical)}),
            "TypeError: pack: router.weight is bool [4, 8] on cpu, expected f32, bf16, f16, i32 or i64");
  EXPECT_EQ(
      packing({valueOf("router.weight"), valueOf(across)}),
      "ValueError: pack: router.weight is f32 [4, 8] on cpu with strides [1, 4], expected rows without gaps: pass "
      "a contiguous tensor");
  EXPECT_EQ(packing({valueOf("router.weight"), valueOf(far)}),
            "ValueError: pack: router.weight is on cuda:0, expected cpu, where the first tensor of the call is");
  EXPECT_EQ(static_cast<unsigned char *>(bytes.data())[0], 0xff); // nothing was packed
}
