// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The public calls of the runtime in their order, with no byte to spare.

#include "SanitizedLayer.h"

#include "runtime/moec_abi.h"

#include <algorithm>
#include <fstream>
#include <sanitizer/asan_interface.h>
#include <sstream>

extern "C" {
const moec_package *tiny_package(void);
const moec_package *odd_package(void);
const moec_package *many_package(void);
const moec_package *wide_package(void);
}

namespace moec {

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

bool SanitizedLayer::read(const SanitizedPackage &package) {
  std::ifstream file(std::string(MOEC_SOURCE_DIR) + "/" + package.specFile);
  std::stringstream text;
  text << file.rdbuf();
  return draw(text.str(), package.specFile);
}

bool SanitizedLayer::create(const SanitizedPackage &package, int threads) {
  moec_layer_options options = {};
  options.struct_size = sizeof options;
  options.max_threads = threads;
  options.max_isa = package.isa + 1;
  moec_status status = moec_layer_create(package.package(), &options, &layer);
  info.struct_size = sizeof info;
  if (status == MOEC_OK)
    status = moec_layer_get_info(layer, &info);
  if (status == MOEC_OK && info.isa == package.isa)
    return true;
  ADD_FAILURE() << lastErrorText(status) << ", instruction set " << (status == MOEC_OK ? info.isa_name : "unknown");
  return false;
}

bool SanitizedLayer::pack() {
  size_t bytes = 0;
  moec_status status = moec_layer_weights_bytes(layer, &bytes);
  packed = std::make_unique<ExactBuffer>(bytes, 64);
  std::vector<moec_tensor> list = tensorList();
  if (status == MOEC_OK)
    status = moec_weights_pack(layer, list.data(), list.size(), packed->data(), packed->size(), &weights);
  EXPECT_EQ(status, MOEC_OK) << lastErrorText(status);
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

size_t SanitizedLayer::yBytes(int64_t tokens) const {
  return size_t(tokens * spec.hidden) * dataTypeBits(spec.dtype.output) / 8;
}

size_t SanitizedLayer::workspaceBytes(int64_t tokens) const {
  size_t bytes = 0;
  EXPECT_EQ(moec_layer_workspace_bytes(layer, tokens, &bytes), MOEC_OK);
  return bytes;
}

moec_status SanitizedLayer::forward(int64_t tokens, const ExactBuffer &x, void *y, const ExactBuffer &workspace,
                                    moec_forward_args args) const {
  args.struct_size = sizeof args;
  args.num_tokens = tokens;
  args.x = x.data(), args.y = y;
  args.workspace = workspace.data(), args.workspace_bytes = workspace.size();
  return moec_layer_forward(layer, weights, &args);
}

CallResult SanitizedLayer::run(const std::vector<float> &x, Place place, const Shortage &shortage) const {
  int64_t tokens = int64_t(x.size()) / spec.hidden;
  size_t valueBytes = dataTypeBits(spec.dtype.activation) / 8, choices = size_t(tokens * info.top_k);
  ExactBuffer in(x.size() * valueBytes - shortage.x, 16, place), y(yBytes(tokens) - shortage.y, 16, place);
  ExactBuffer workspace(workspaceBytes(tokens) - shortage.workspace, 256, place);
  ExactBuffer logits(size_t(tokens * info.num_logits) * 4, 4, place), weightsOut(choices * 4, 4, place),
      ids(choices * 4, 4, place), counts(size_t(info.num_experts) * 4, 4, place);
  storeAs(spec.dtype.activation, x.data(), in.size() / valueBytes, in.data());
  moec_forward_args args = {};
  args.out_logits = logits.as<float>(), args.out_weights = weightsOut.as<float>();
  args.out_ids = ids.as<int32_t>(), args.out_counts = counts.as<int32_t>();
  ASAN_POISON_MEMORY_REGION(workspace.data(), shortage.poisoned);
  CallResult call;
  call.status = forward(tokens, in, y.data(), workspace, args);
  call.inBounds = true;
  for (const ExactBuffer *buffer : {&in, &y, &workspace, &logits, &weightsOut, &ids, &counts})
    call.inBounds = call.inBounds && buffer->canariesIntact();
  call.copy(y, logits, weightsOut, ids, counts);
  call.widenY(spec.dtype.output);
  return call;
}

moec_status SanitizedLayer::runInto(const std::vector<float> &x, void *y) const {
  int64_t tokens = int64_t(x.size()) / spec.hidden;
  ExactBuffer in(x.size() * dataTypeBits(spec.dtype.activation) / 8, 16), workspace(workspaceBytes(tokens), 256);
  storeAs(spec.dtype.activation, x.data(), x.size(), in.data());
  return forward(tokens, in, y, workspace, {});
}

} // namespace moec
