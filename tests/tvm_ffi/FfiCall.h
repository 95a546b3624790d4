// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tensors and values as a framework makes them, the exported functions, and a framework that records what they do with
// it: errors, streams, memory.

#ifndef MOEC_TESTS_TVM_FFI_FFICALL_H
#define MOEC_TESTS_TVM_FFI_FFICALL_H

#include "TinyLayer.h"
#include "runtime/bindings/tvm_ffi/tvm_ffi_abi.h"

#include <deque>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

extern "C" {
moec_ffi_function __tvm_ffi_forward, __tvm_ffi_call, __tvm_ffi_bind, __tvm_ffi_pack, __tvm_ffi_load,
    __tvm_ffi_weights_bytes, __tvm_ffi_workspace_bytes, __tvm_ffi_info, __tvm_ffi_options, __tvm_ffi_last_error;
}

namespace moec {
namespace test {

constexpr moec_ffi_dtype f32 = {2, 32, 1}, bf16 = {4, 16, 1}, i32 = {0, 32, 1}, i64 = {0, 64, 1}, u8 = {1, 8, 1};
constexpr moec_ffi_device cpu = {1, 0};
constexpr moec_ffi_device cuda(int32_t id) { return {2, id}; }

// The framework, one for the process.
struct FakeFramework {
  thread_local static std::string kind, message; // of the error raised last on this thread
  static void *stream;                           // what it says is current
  static std::function<void *(size_t)> allocate; // memory of a tensor; empty: it has no allocator
  static std::function<void(void *)> release;    // ... which is given back
  static int numAllocated, numReleased;
};

// A function object, until it is destroyed.
class BoundFunction {
public:
  explicit BoundFunction(const moec_ffi_value &result);
  ~BoundFunction();
  std::string refusal(const std::vector<moec_ffi_value> &args); // as below; "" after a success

private:
  void *object;
};

// A tensor over memory that it does not own. `strides` empty: NULL, row-major.
class Tensor {
public:
  Tensor(void *data, std::vector<int64_t> shape, moec_ffi_dtype dtype = f32, moec_ffi_device device = cpu,
         std::vector<int64_t> strides = {});
  Tensor(const Tensor &) = delete;
  moec_ffi_tensor *get() { return &object.tensor; }

  // With the header of an object of the framework before it.
  struct Object {
    moec_ffi_object header;
    moec_ffi_tensor tensor;
  } object;

private:
  std::vector<int64_t> shape, strides;
};

moec_ffi_value valueOf(Tensor &tensor); // a pointer to it
moec_ffi_value objectOf(Tensor &tensor);
moec_ffi_value valueOf(int64_t number);
moec_ffi_value valueOf(const char *text);
moec_ffi_value valueOf(moec_ffi_device device);
moec_ffi_value none();

// Calls and expects 0.
moec_ffi_value callFfi(moec_ffi_function *function, const std::vector<moec_ffi_value> &args);
// Calls and gives "ValueError: forward: ..."; "" after a success.
std::string refusal(moec_ffi_function *function, const std::vector<moec_ffi_value> &args);
// The string object of a result, which is destroyed.
std::string textOf(const moec_ffi_value &result);

// Packed weights of the handwritten package in a tensor of the CPU.
struct PackedTiny {
  explicit PackedTiny(const TinyWeights &source);
  AlignedBytes bytes;
  Tensor tensor;
};
void pack(Tensor &buffer, const TinyWeights &source);

// One call of T tokens with every output, poisoned before.
struct CpuCall {
  explicit CpuCall(const std::vector<float> &x);
  TinyResult result() const;
  int64_t numTokens;
  AlignedBytes xBytes, yBytes, logitsBytes, idsBytes, weightsBytes, countsBytes;
  Tensor x, y, logits, ids, weights, counts;
  std::vector<moec_ffi_value> args(Tensor &packed); // of call, all outputs asked for
};

} // namespace test
} // namespace moec

#endif
