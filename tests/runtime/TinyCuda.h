// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The hand-written package on the fake driver: its kernels as host functions, layers with packed weights, whole calls.

#ifndef MOEC_TESTS_RUNTIME_TINYCUDA_H
#define MOEC_TESTS_RUNTIME_TINYCUDA_H

#include "FakeDriver.h"
#include "runtime/moec_cuda_abi.h"

extern "C" const moec_package *tiny_cuda_package(void);

namespace moec {
namespace test {

constexpr size_t cudaPackedBytes = 16384;

// Kernels of handwritten_cuda.c for both targets; they check that what they write to is device memory.
void addTinyKernels(FakeDriver &driver);

moec_layer_options cudaOptions(const FakeDriver &driver, int32_t device = -1);

// A copy of the package whose CUDA blob, images and CPU blob a test may change.
class EditableCuda : public EditablePackage {
public:
  EditableCuda();
  std::vector<moec_cuda_image> images;
  char *cudaBytes() { return static_cast<char *>(cuda.data()); }
  moec_cuda_plan_header &cudaHeader() { return *static_cast<moec_cuda_plan_header *>(cuda.data()); }
  moec_cuda_target &target(int i) { return at<moec_cuda_target>(cudaHeader().targets, i); }
  moec_cuda_launch &launch(int t, int i) { return at<moec_cuda_launch>(target(t).launches, i); }
  moec_cuda_param &param(int t, int i) { return at<moec_cuda_param>(target(t).params, i); }
  moec_cuda_table &table(int i) { return at<moec_cuda_table>(target(0).tables, i); }
  moec_cuda_map &map(int i) { return at<moec_cuda_map>(target(0).maps, i); }
  moec_weight &cudaWeight(int i) { return at<moec_weight>(cudaHeader().weights, i); }

private:
  template <typename T> T &at(moec_span span, int i) { return reinterpret_cast<T *>(cudaBytes() + span.offset)[i]; }
  AlignedBytes cuda;
};

// A layer of the package on `driver` with packed weights.
struct TinyCuda {
  TinyCuda(FakeDriver &driver, const TinyWeights &source, const moec_package *package = tiny_cuda_package());
  ~TinyCuda();
  TinyCuda(const TinyCuda &) = delete;
  TinyCuda &operator=(const TinyCuda &) = delete;
  DeviceBytes packed;
  moec_layer *layer = nullptr;
  moec_weights *weights = nullptr;
};

// A call in device memory that asks for everything.
struct TinyCall {
  TinyCall(FakeDriver &driver, const TinyCuda &tiny, const std::vector<float> &x);
  TinyResult result() const;
  int64_t numTokens;
  size_t workspaceBytes;
  DeviceBytes x, y, workspace, logits, ids, weights, counts;
  moec_forward_args args = {};
};

} // namespace test
} // namespace moec

#endif
