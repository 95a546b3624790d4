// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Definitions of TinyCuda.h.

#include "TinyCuda.h"

#include <gtest/gtest.h>

#include <cmath>

namespace moec {
namespace test {

constexpr int64_t innerPadded = 8;

// Parameter `i` as the kernel sees it: a value copied from where the driver was told to find it.
template <typename T> static T param(void **params, int i) {
  T value;
  std::memcpy(&value, params[i], sizeof(value));
  return value;
}

static float *weightsOf(void **params, int i, bool map) {
  return map ? reinterpret_cast<float *>(param<FakeMap>(params, i).address) : param<float *>(params, i);
}

static float dot(const float *a, const float *b, int64_t k) {
  float sum = 0;
  for (int64_t i = 0; i < k; ++i)
    sum += a[i] * b[i];
  return sum;
}

static void router(void **params) {
  int64_t numTokens = param<int64_t>(params, 0);
  const float *x = param<float *>(params, 1), *w = param<float *>(params, 2);
  float *logits = param<float *>(params, 3);
  for (int64_t t = 0; t < numTokens; ++t)
    for (int64_t e = 0; e < experts; ++e)
      logits[t * experts + e] = dot(x + t * hidden, w + e * hidden, hidden);
}

static void route(void **params) {
  int64_t numTokens = param<int64_t>(params, 0);
  const float *logits = param<float *>(params, 1);
  int32_t *ids = param<int32_t *>(params, 2);
  float *weights = param<float *>(params, 3);
  for (int64_t t = 0; t < numTokens; ++t) {
    const float *row = logits + t * experts;
    int32_t first = 0, second = -1;
    for (int32_t e = 1; e < experts; ++e)
      first = row[e] > row[first] ? e : first;
    for (int32_t e = 0; e < experts; ++e)
      if (e != first && (second < 0 || row[e] > row[second]))
        second = e;
    float other = std::exp(row[second] - row[first]);
    ids[t * 2] = first;
    ids[t * 2 + 1] = second;
    weights[t * 2] = 1 / (1 + other);
    weights[t * 2 + 1] = other / (1 + other);
  }
}

// Fills its table as well, every byte the plan gives it: a wrong workspace map destroys something then.
static void dispatch(void **params) {
  int64_t numTokens = param<int64_t>(params, 0);
  const int32_t *ids = param<int32_t *>(params, 1);
  int32_t *offsets = param<int32_t *>(params, 2), *rowToken = param<int32_t *>(params, 3);
  int32_t *rowSlot = param<int32_t *>(params, 4), *slotRow = param<int32_t *>(params, 5);
  int32_t row = 0;
  for (int32_t e = 0; e < experts; ++e) {
    offsets[e] = row;
    for (int32_t slot = 0; slot < numTokens * choices; ++slot)
      if (ids[slot] == e) {
        rowToken[row] = slot / 2;
        rowSlot[row] = slot;
        slotRow[slot] = row++;
      }
  }
  offsets[experts] = row;
  std::memset(param<char *>(params, 6), 0x77, static_cast<size_t>(16 * numTokens + 64));
}

static void ffnUp(void **params, bool map) {
  const float *x = param<float *>(params, 0), *w = weightsOf(params, 1, map);
  float *h = param<float *>(params, 2);
  const int32_t *offsets = param<int32_t *>(params, 3), *rowToken = param<int32_t *>(params, 4);
  for (int64_t e = 0; e < experts; ++e)
    for (int64_t row = offsets[e]; row < offsets[e + 1]; ++row)
      for (int64_t i = 0; i < inner; ++i) {
        float gate = dot(x + rowToken[row] * hidden, w + ((e * 2) * inner + i) * hidden, hidden);
        float up = dot(x + rowToken[row] * hidden, w + ((e * 2 + 1) * inner + i) * hidden, hidden);
        h[row * inner + i] = gate / (1 + std::exp(-gate)) * up;
      }
}

static void ffnDown(void **params, bool map) {
  const float *h = param<float *>(params, 0), *w = weightsOf(params, 1, map);
  float *rows = param<float *>(params, 2);
  const int32_t *offsets = param<int32_t *>(params, 3);
  for (int64_t e = 0; e < experts; ++e)
    for (int64_t row = offsets[e]; row < offsets[e + 1]; ++row)
      for (int64_t d = 0; d < hidden; ++d)
        rows[row * hidden + d] = dot(h + row * inner, w + (e * hidden + d) * innerPadded, inner);
}

static void combine(void **params) {
  int64_t numTokens = param<int64_t>(params, 0);
  const float *rows = param<float *>(params, 1), *weights = param<float *>(params, 3);
  const int32_t *slotRow = param<int32_t *>(params, 2);
  float *y = param<float *>(params, 4);
  for (int64_t t = 0; t < numTokens; ++t)
    for (int64_t d = 0; d < hidden; ++d)
      y[t * hidden + d] = weights[t * 2] * rows[slotRow[t * 2] * hidden + d] +
                          weights[t * 2 + 1] * rows[slotRow[t * 2 + 1] * hidden + d];
}

static void counts(void **params) {
  int32_t *counts = param<int32_t *>(params, 0);
  const int32_t *offsets = param<int32_t *>(params, 1);
  for (int64_t e = 0; e < experts; ++e)
    counts[e] = offsets[e + 1] - offsets[e];
}

void addTinyKernels(FakeDriver &driver) {
  driver.kernels["router"] = router;
  driver.kernels["route"] = route;
  driver.kernels["dispatch"] = dispatch;
  driver.kernels["ffn_up_sm_90a"] = [](void **params) { ffnUp(params, true); };
  driver.kernels["ffn_up_sm_80"] = [](void **params) { ffnUp(params, false); };
  driver.kernels["ffn_down_sm_90a"] = [](void **params) { ffnDown(params, true); };
  driver.kernels["ffn_down_sm_80"] = [](void **params) { ffnDown(params, false); };
  driver.kernels["combine"] = combine;
  driver.kernels["counts"] = counts;
}

moec_layer_options cudaOptions(const FakeDriver &driver, int32_t device) {
  moec_layer_options options = threadOptions(0);
  options.device = MOEC_DEVICE_CUDA;
  options.cuda_device = device + 1;
  options.cuda_driver = &driver.table;
  return options;
}

EditableCuda::EditableCuda() : cuda(tiny_cuda_package()->cuda_plan_bytes) {
  const moec_package *from = tiny_cuda_package();
  std::memcpy(cuda.data(), from->cuda_plan, from->cuda_plan_bytes);
  images.assign(from->images, from->images + from->num_images);
  package.cuda_plan = cuda.data();
  package.cuda_plan_bytes = from->cuda_plan_bytes;
  package.images = images.data();
  package.num_images = images.size();
}

TinyCuda::TinyCuda(FakeDriver &driver, const TinyWeights &source, const moec_package *package)
    : packed(driver, cudaPackedBytes) {
  std::vector<moec_tensor> tensors = source.tensors();
  moec_layer_options options = cudaOptions(driver);
  EXPECT_EQ(moec_layer_create(package, &options, &layer), MOEC_OK) << lastError();
  EXPECT_EQ(moec_weights_pack(layer, tensors.data(), tensors.size(), packed.data(), packed.size(), &weights), MOEC_OK)
      << lastError();
}

TinyCuda::~TinyCuda() {
  moec_weights_destroy(weights);
  moec_layer_destroy(layer);
}

static size_t workspaceOf(const moec_layer *layer, int64_t numTokens) {
  size_t bytes = 0;
  EXPECT_EQ(moec_layer_workspace_bytes(layer, numTokens, &bytes), MOEC_OK) << lastError();
  return bytes;
}

TinyCall::TinyCall(FakeDriver &driver, const TinyCuda &tiny, const std::vector<float> &values)
    : numTokens(static_cast<int64_t>(values.size()) / hidden), workspaceBytes(workspaceOf(tiny.layer, numTokens)),
      x(driver, values.size() * 4), y(driver, values.size() * 4), workspace(driver, workspaceBytes),
      logits(driver, static_cast<size_t>(numTokens * experts) * 4),
      ids(driver, static_cast<size_t>(numTokens * choices) * 4),
      weights(driver, static_cast<size_t>(numTokens * choices) * 4), counts(driver, experts * 4) {
  std::memcpy(x.data(), values.data(), x.size());
  args.struct_size = sizeof(args);
  args.num_tokens = numTokens;
  args.x = x.data();
  args.y = y.data();
  args.workspace = workspace.data();
  args.workspace_bytes = workspace.size();
  args.out_logits = static_cast<float *>(logits.data());
  args.out_ids = static_cast<int32_t *>(ids.data());
  args.out_weights = static_cast<float *>(weights.data());
  args.out_counts = static_cast<int32_t *>(counts.data());
}

template <typename T> static std::vector<T> valuesOf(const AlignedBytes &bytes) {
  const T *first = static_cast<const T *>(bytes.data());
  return {first, first + bytes.size() / sizeof(T)};
}

TinyResult TinyCall::result() const {
  TinyResult result;
  result.y = valuesOf<float>(y);
  result.logits = valuesOf<float>(logits);
  result.weights = valuesOf<float>(weights);
  result.ids = valuesOf<int32_t>(ids);
  result.counts = valuesOf<int32_t>(counts);
  return result;
}

} // namespace test
} // namespace moec
