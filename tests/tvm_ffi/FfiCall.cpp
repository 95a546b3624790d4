// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Definitions of FfiCall.h.

#include "FfiCall.h"

#include <gtest/gtest.h>

#include <cstdlib>

extern "C" {
const moec_package *tiny_cuda_package(void);

// The package that these tests bind: the handwritten one with kernels for both devices.
const moec_package *moec_bound_package(void) {
  static const moec_package *const package = tiny_cuda_package();
  return package;
}

void TVMFFIErrorSetRaisedFromCStr(const char *kind, const char *message) {
  moec::test::FakeFramework::kind = kind;
  moec::test::FakeFramework::message = message;
}

void *TVMFFIEnvGetStream(int32_t deviceType, int32_t) {
  EXPECT_EQ(deviceType, 2);
  return moec::test::FakeFramework::stream;
}

int TVMFFIEnvTensorAlloc(moec_ffi_tensor *prototype, void **out) {
  using namespace moec::test;
  if (!FakeFramework::allocate) {
    TVMFFIErrorSetRaisedFromCStr("RuntimeError", "no allocator");
    return -1;
  }
  EXPECT_EQ(prototype->rank, 1);
  EXPECT_EQ(prototype->dtype.bits, 8);
  auto *made = new Tensor::Object{};
  made->tensor = *prototype;
  made->tensor.data = FakeFramework::allocate(size_t(prototype->shape[0]));
  ++FakeFramework::numAllocated;
  *out = made;
  return 0;
}

struct MadeFunction {
  void *self;
  moec_ffi_function *function;
  void (*destroy)(void *);
};

int TVMFFIFunctionCreate(void *self, moec_ffi_function *function, void (*destroy)(void *), void **out) {
  *out = new MadeFunction{self, function, destroy};
  return 0;
}

int TVMFFIObjectDecRef(void *object) {
  using namespace moec::test;
  auto *made = static_cast<Tensor::Object *>(object);
  FakeFramework::release(made->tensor.data);
  ++FakeFramework::numReleased;
  delete made;
  return 0;
}
}

namespace moec {
namespace test {

thread_local std::string FakeFramework::kind, FakeFramework::message;
void *FakeFramework::stream = nullptr;
std::function<void *(size_t)> FakeFramework::allocate;
std::function<void(void *)> FakeFramework::release;
int FakeFramework::numAllocated = 0, FakeFramework::numReleased = 0;

Tensor::Tensor(void *data, std::vector<int64_t> shapeOf, moec_ffi_dtype dtype, moec_ffi_device device,
               std::vector<int64_t> stridesOf)
    : object{}, shape(std::move(shapeOf)), strides(std::move(stridesOf)) {
  object.header.type = MOEC_FFI_TENSOR;
  object.tensor = {data, device, int32_t(shape.size()), dtype, shape.data(), strides.empty() ? nullptr : strides.data(),
                   0};
}

static moec_ffi_value pointerValue(int32_t type, void *pointer) {
  moec_ffi_value value = {};
  value.type = type;
  value.as.pointer = pointer;
  return value;
}

moec_ffi_value valueOf(Tensor &tensor) { return pointerValue(MOEC_FFI_TENSOR_POINTER, tensor.get()); }
moec_ffi_value objectOf(Tensor &tensor) { return pointerValue(MOEC_FFI_TENSOR, &tensor.object); }
moec_ffi_value valueOf(const char *text) { return pointerValue(MOEC_FFI_C_STRING, const_cast<char *>(text)); }
moec_ffi_value none() { return pointerValue(MOEC_FFI_NONE, nullptr); }

moec_ffi_value valueOf(int64_t number) {
  moec_ffi_value value = {};
  value.type = MOEC_FFI_INT;
  value.as.integer = number;
  return value;
}

moec_ffi_value valueOf(moec_ffi_device device) {
  moec_ffi_value value = {};
  value.type = MOEC_FFI_DEVICE;
  value.as.device = device;
  return value;
}

moec_ffi_value callFfi(moec_ffi_function *function, const std::vector<moec_ffi_value> &args) {
  moec_ffi_value result = none();
  EXPECT_EQ(function(nullptr, args.data(), int32_t(args.size()), &result), 0) << FakeFramework::message;
  return result;
}

std::string refusal(moec_ffi_function *function, const std::vector<moec_ffi_value> &args) {
  moec_ffi_value result = none();
  FakeFramework::kind = FakeFramework::message = "";
  int code = function(nullptr, args.data(), int32_t(args.size()), &result);
  EXPECT_EQ(code, FakeFramework::kind.empty() ? 0 : -1);
  EXPECT_EQ(result.type, MOEC_FFI_NONE);
  return code ? FakeFramework::kind + ": " + FakeFramework::message : "";
}

BoundFunction::BoundFunction(const moec_ffi_value &result) : object(result.as.pointer) {
  EXPECT_EQ(result.type, MOEC_FFI_FUNCTION);
}

BoundFunction::~BoundFunction() {
  auto *made = static_cast<MadeFunction *>(object);
  made->destroy(made->self);
  delete made;
}

std::string BoundFunction::refusal(const std::vector<moec_ffi_value> &args) {
  auto *made = static_cast<MadeFunction *>(object);
  moec_ffi_value result = none();
  return made->function(made->self, args.data(), int32_t(args.size()), &result)
             ? FakeFramework::kind + ": " + FakeFramework::message
             : "";
}

std::string textOf(const moec_ffi_value &result) {
  EXPECT_EQ(result.type, MOEC_FFI_STRING);
  auto *object = static_cast<moec_ffi_object *>(result.as.pointer);
  EXPECT_EQ(object->references, (uint64_t(1) << 32) + 1);
  auto *bytes = reinterpret_cast<moec_ffi_bytes *>(object + 1);
  std::string text(bytes->data, bytes->size);
  EXPECT_EQ(bytes->data[bytes->size], '\0');
  object->destroy(object, 3);
  return text;
}

void pack(Tensor &buffer, const TinyWeights &source) {
  std::deque<Tensor> tensors;
  std::vector<moec_ffi_value> args = {valueOf(buffer)};
  const std::vector<moec_tensor> roles = source.tensors();
  for (const moec_tensor &role : roles) {
    tensors.emplace_back(const_cast<void *>(role.data), std::vector<int64_t>(role.dims, role.dims + role.rank));
    args.push_back(valueOf(role.role));
    args.push_back(valueOf(tensors.back()));
  }
  callFfi(__tvm_ffi_pack, args);
}

PackedTiny::PackedTiny(const TinyWeights &source)
    : bytes(size_t(callFfi(__tvm_ffi_weights_bytes, {}).as.integer), 0xff),
      tensor(bytes.data(), {int64_t(bytes.size())}, u8) {
  pack(tensor, source);
}

CpuCall::CpuCall(const std::vector<float> &values)
    : numTokens(int64_t(values.size()) / hidden), xBytes(values.size() * 4), yBytes(values.size() * 4, 0xff),
      logitsBytes(size_t(numTokens * experts * 4), 0xff), idsBytes(size_t(numTokens * choices * 4), 0xff),
      weightsBytes(size_t(numTokens * choices * 4), 0xff), countsBytes(experts * 4, 0xff),
      x(xBytes.data(), {numTokens, hidden}), y(yBytes.data(), {numTokens, hidden}),
      logits(logitsBytes.data(), {numTokens, experts}), ids(idsBytes.data(), {numTokens, choices}, i32),
      weights(weightsBytes.data(), {numTokens, choices}), counts(countsBytes.data(), {experts}, i32) {
  if (!values.empty())
    std::memcpy(xBytes.data(), values.data(), values.size() * 4);
}

template <typename T> static std::vector<T> valuesOf(const AlignedBytes &bytes) {
  const T *first = static_cast<const T *>(bytes.data());
  return {first, first + bytes.size() / sizeof(T)};
}

TinyResult CpuCall::result() const {
  TinyResult result;
  result.y = valuesOf<float>(yBytes);
  result.logits = valuesOf<float>(logitsBytes);
  result.weights = valuesOf<float>(weightsBytes);
  result.ids = valuesOf<int32_t>(idsBytes);
  result.counts = valuesOf<int32_t>(countsBytes);
  return result;
}

std::vector<moec_ffi_value> CpuCall::args(Tensor &packed) {
  return {valueOf("x,weights,y,logits,ids,out_weights,counts"),
          valueOf(x),
          valueOf(packed),
          valueOf(y),
          valueOf(logits),
          valueOf(ids),
          valueOf(weights),
          valueOf(counts)};
}

} // namespace test
} // namespace moec
