// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels as LLVM IR text -> a run on the emulator through its driver table, with buffers and findings for the tests.

#ifndef MOEC_TESTS_EMULATE_EMULATEDKERNEL_H
#define MOEC_TESTS_EMULATE_EMULATEDKERNEL_H

#include "codegen/emulate/CudaEmulator.h"

#include <string>
#include <vector>

namespace moec {

// "call RESULT asm sideeffect "/*moec TAG*/ ptx", "constraints"(OPERANDS)" for operands as in IR: "i32 %a, float %b".
std::string ptx(const std::string &result, const std::string &tag, const std::string &operands = "");

// `name = getelementptr of @moec_shared by `offset`, an i32 value or constant, as a line of IR.
std::string sharedPointer(const std::string &name, const std::string &offset);

// A kernel @k of `threads` (nvvm.reqntid) with the given parameters and a body that begins with %tid.
std::string kernelText(const std::string &params, const std::string &body);

class EmulatedKernel {
public:
  explicit EmulatedKernel(const std::string &text, uint64_t seed = 1);
  ~EmulatedKernel();

  CudaEmulator emulator;

  // The error of loading, "" when the kernel is there.
  const std::string &error() const { return loadError; }

  template <typename T> T *upload(const std::vector<T> &values) {
    T *memory = allocate<T>(values.size());
    std::copy(values.begin(), values.end(), memory);
    return memory;
  }
  template <typename T> T *allocate(size_t count) { return static_cast<T *>(allocateBytes(count * sizeof(T))); }

  // Launches @k; params point at the values. With `overlaps` it may begin before the launch before has ended. The
  // driver's result.
  int launch(uint32_t grid, uint32_t threads, uint32_t sharedBytes, std::vector<void *> params, bool overlaps = false);

  const std::vector<std::string> &findings() { return emulator.findings(); }
  // The findings joined by line ends: what a whole-text comparison wants.
  std::string report();
  void *function() { return kernel; }

private:
  void *allocateBytes(size_t bytes);

  std::string image, loadError;
  void *module = nullptr, *kernel = nullptr;
};

// Aligned room for a tensor map, and the map of a [dims[2]][dims[1]][dims[0]] tensor of bf16.
struct alignas(MOEC_CUDA_MAP_ALIGN) TensorMapBytes {
  char bytes[128];
};
TensorMapBytes encodeMap(const void *memory, std::vector<uint64_t> dims, std::vector<uint32_t> box, int swizzle);

uint16_t bf16Of(float value); // exact for the small integers tests use
float floatOfBf16(uint16_t bits);

} // namespace moec

#endif
