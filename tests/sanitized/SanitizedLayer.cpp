// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The public calls of the runtime in their order, with no byte to spare.

#include "SanitizedLayer.h"

#include "dsl/Compare.h"
#include "dsl/SpecReader.h"
#include "runtime/float_convert.h"
#include "runtime/moec_abi.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <random>
#include <sanitizer/asan_interface.h>
#include <sstream>

extern "C" {
const moec_package *tiny_package(void);
const moec_package *odd_package(void);
const moec_package *many_package(void);
const moec_package *wide_package(void);
}

namespace moec {

// Not aligned_alloc: its size must be a multiple of the alignment, and the bytes that fill up would hide errors.
ExactBuffer::ExactBuffer(size_t bytes, size_t alignment) : block(nullptr), bytes(bytes) {
  if (posix_memalign(&block, std::max(alignment, sizeof(void *)), bytes) != 0)
    std::abort();
  std::memset(block, 0xff, bytes);
}

std::vector<SanitizedPackage> sanitizedPackages() {
  std::vector<SanitizedPackage> all;
  for (int32_t isa = MOEC_ISA_BASELINE; isa <= std::min<int32_t>(moec_cpu_isa(), MOEC_ISA_AVX512); ++isa) {
    all.push_back({"tiny", "examples/tiny.json", tiny_package, isa});
    all.push_back({"odd", "tests/sanitized/odd.json", odd_package, isa});
    all.push_back({"many", "tests/sanitized/many.json", many_package, isa});
    all.push_back({"wide", "tests/sanitized/wide.json", wide_package, isa});
  }
  return all;
}

void PrintTo(const SanitizedPackage &package, std::ostream *os) { *os << package.name; }
std::string packageTestName(const testing::TestParamInfo<SanitizedPackage> &info) {
  return std::string(info.param.name) + "_" + moec_isa_name(info.param.isa);
}

bool SanitizedCall::sameBits(const SanitizedCall &other) const {
  auto same = [](const auto &a, const auto &b) {
    return a.size() == b.size() && (a.empty() || !std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])));
  };
  return status == other.status && same(y, other.y) && same(logits, other.logits) && same(weights, other.weights) &&
         same(ids, other.ids) && same(counts, other.counts);
}

static std::string lastError(moec_status status) {
  char text[512];
  moec_last_error(text, sizeof text);
  return std::string(moec_status_name(status)) + ": " + text;
}

static float roundedTo(DataType type, float value) {
  return type == DataType::BF16 ? moec_f32_of_bf16(moec_bf16_of_f32(value)) : value;
}

bool SanitizedLayer::read(const SanitizedPackage &package) {
  std::ifstream file(std::string(MOEC_SOURCE_DIR) + "/" + package.specFile);
  std::stringstream text;
  text << file.rdbuf();
  SpecSource source;
  DiagnosticList diagnostics;
  auto found = readSpec(text.str(), package.specFile, {}, source, diagnostics);
  if (!found) {
    ADD_FAILURE() << render(diagnostics, false);
    return false;
  }
  spec = *found;
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 0.5f);
  for (const Role &role : rolesOf(spec)) {
    roles[role.name] = role;
    size_t size = 1;
    for (int64_t extent : role.shape)
      size *= size_t(extent);
    std::vector<float> &values = tensors[role.name];
    values.resize(size);
    for (float &value : values)
      value = roundedTo(spec.dtype.weight, normal(random));
  }
  return true;
}

bool SanitizedLayer::create(const SanitizedPackage &package, int threads) {
  moec_layer_options options = {};
  options.struct_size = sizeof options;
  options.max_threads = threads;
  options.max_isa = package.isa + 1;
  options.spin_us = -1;
  moec_status status = moec_layer_create(package.package(), &options, &layer);
  info.struct_size = sizeof info;
  if (status == MOEC_OK)
    status = moec_layer_get_info(layer, &info);
  if (status == MOEC_OK && info.isa == package.isa)
    return true;
  ADD_FAILURE() << lastError(status) << ", instruction set " << (status == MOEC_OK ? info.isa_name : "unknown");
  return false;
}

bool SanitizedLayer::pack() {
  size_t bytes = 0;
  moec_status status = moec_layer_weights_bytes(layer, &bytes);
  packed = std::make_unique<ExactBuffer>(bytes, 64);
  std::vector<moec_tensor> list;
  for (const auto &[name, role] : roles) {
    moec_tensor tensor = {};
    tensor.role = name.c_str();
    tensor.data = tensors.at(name).data();
    tensor.dtype = MOEC_F32;
    tensor.rank = int32_t(role.shape.size());
    std::copy(role.shape.begin(), role.shape.end(), tensor.dims);
    list.push_back(tensor);
  }
  if (status == MOEC_OK)
    status = moec_weights_pack(layer, list.data(), list.size(), packed->data(), packed->size(), &weights);
  EXPECT_EQ(status, MOEC_OK) << lastError(status);
  return status == MOEC_OK;
}

std::unique_ptr<SanitizedLayer> SanitizedLayer::make(const SanitizedPackage &package, int threads) {
  std::unique_ptr<SanitizedLayer> result(new SanitizedLayer);
  if (!result->read(package) || !result->create(package, threads) || !result->pack())
    return nullptr;
  return result;
}

SanitizedLayer::~SanitizedLayer() {
  moec_weights_destroy(weights);
  moec_layer_destroy(layer);
}

std::vector<float> SanitizedLayer::randomX(int64_t tokens) const {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> x(size_t(tokens * spec.hidden));
  for (float &value : x)
    value = roundedTo(spec.dtype.activation, normal(random));
  return x;
}

std::unique_ptr<ExactBuffer> SanitizedLayer::stored(const std::vector<float> &x, size_t shortage) const {
  bool half = spec.dtype.activation == DataType::BF16;
  size_t bytes = x.size() * (half ? 2 : 4) - shortage;
  auto buffer = std::make_unique<ExactBuffer>(bytes, 16);
  for (size_t i = 0; i < bytes / (half ? 2 : 4); ++i) {
    if (half)
      buffer->as<uint16_t>()[i] = moec_bf16_of_f32(x[i]);
    else
      buffer->as<float>()[i] = x[i];
  }
  return buffer;
}

size_t SanitizedLayer::yBytes(int64_t tokens) const {
  return size_t(tokens * spec.hidden) * dataTypeBits(spec.dtype.output) / 8;
}

size_t SanitizedLayer::workspaceBytes(int64_t tokens) const {
  size_t bytes = 0;
  EXPECT_EQ(moec_layer_workspace_bytes(layer, tokens, &bytes), MOEC_OK);
  return bytes;
}

SanitizedCall SanitizedLayer::run(const std::vector<float> &x, const Shortage &shortage) const {
  int64_t tokens = int64_t(x.size()) / spec.hidden;
  size_t bytes = workspaceBytes(tokens), choices = size_t(tokens * info.top_k);
  auto in = stored(x, shortage.x);
  ExactBuffer y(yBytes(tokens) - shortage.y, 16), workspace(bytes - shortage.workspace, 256);
  ExactBuffer logits(size_t(tokens * info.num_logits) * 4, 4), weightsOut(choices * 4, 4), ids(choices * 4, 4),
      counts(size_t(info.num_experts) * 4, 4);
  moec_forward_args args = {};
  args.struct_size = sizeof args;
  args.num_tokens = tokens;
  args.x = in->data(), args.y = y.data();
  args.workspace = workspace.data(), args.workspace_bytes = workspace.size();
  args.out_logits = logits.as<float>(), args.out_weights = weightsOut.as<float>();
  args.out_ids = ids.as<int32_t>(), args.out_counts = counts.as<int32_t>();
  ASAN_POISON_MEMORY_REGION(workspace.data(), shortage.poisoned);
  SanitizedCall call;
  call.status = moec_layer_forward(layer, weights, &args);
  auto copy = [](auto &to, const ExactBuffer &from) {
    to.resize(from.size() / sizeof(to[0]));
    if (from.size())
      std::memcpy(to.data(), from.data(), from.size());
  };
  copy(call.y, y), copy(call.logits, logits), copy(call.weights, weightsOut), copy(call.ids, ids);
  copy(call.counts, counts);
  return call;
}

moec_status SanitizedLayer::runInto(const std::vector<float> &x, void *y) const {
  int64_t tokens = int64_t(x.size()) / spec.hidden;
  auto in = stored(x, 0);
  ExactBuffer workspace(workspaceBytes(tokens), 256);
  moec_forward_args args = {};
  args.struct_size = sizeof args;
  args.num_tokens = tokens;
  args.x = in->data(), args.y = y;
  args.workspace = workspace.data(), args.workspace_bytes = workspace.size();
  return moec_layer_forward(layer, weights, &args);
}

ReferenceOutputs SanitizedLayer::oracle(const std::vector<float> &x) const {
  MemoryWeights memory;
  for (const auto &[name, role] : roles)
    memory.add(role, DataType::F32, tensors.at(name).data());
  ReferenceInputs inputs;
  inputs.numTokens = int64_t(x.size()) / spec.hidden;
  inputs.x = {{inputs.numTokens, spec.hidden}, std::vector<double>(x.begin(), x.end())};
  inputs.weights = &memory;
  ReferenceOutputs out;
  std::string error;
  EXPECT_TRUE(runReference(spec, inputs, out, error)) << error;
  return out;
}

std::string SanitizedLayer::disagreement(const SanitizedCall &actual, int64_t tokens,
                                         const ReferenceOutputs &expected) const {
  int64_t clear = 0;
  bool half = spec.dtype.output == DataType::BF16;
  CompareOptions options;
  options.maxRel = half ? 1e-2 : 2e-5;
  std::vector<double> y, wantedY;
  for (int64_t t = 0; t < tokens; ++t) {
    if (expected.margins[size_t(t)] < 1e-5)
      continue;
    ++clear;
    for (size_t i = size_t(t * spec.hidden); i < size_t((t + 1) * spec.hidden); ++i) {
      uint16_t bits;
      float value;
      std::memcpy(&bits, &actual.y[half ? 2 * i : 0], 2);
      std::memcpy(&value, &actual.y[half ? 0 : 4 * i], 4);
      y.push_back(half ? moec_f32_of_bf16(bits) : value);
      wantedY.push_back(expected.y[i]);
    }
  }
  if (2 * clear < tokens)
    return "only " + std::to_string(clear) + " of " + std::to_string(tokens) + " tokens chose clearly";
  Comparison comparison = compareRows(y, wantedY, spec.hidden, options);
  return comparison.pass ? "" : comparison.text;
}

} // namespace moec
