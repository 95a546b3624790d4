// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The launch plan of a package -> moec_layer_create, and a call of the plans that are taken. Kernels are stand-ins that
// check what they are given. The input is changes of the hand-written package's plan.

#include "FuzzTarget.h"

#include "tests/runtime/TinyLayer.h"

#include <cstring>

using namespace moec::fuzz;
using namespace moec::test;

static void standIn(const moec_call *call, void *const *, void *scratch, int64_t first, int64_t last) {
  require(first >= 0 && first <= last, "a range of tasks is one");
  if (call->items)
    require(last <= call->num_items, "tasks are items of the list");
  for (int64_t i = first; call->items && i < last; ++i) {
    const moec_item &item = call->items[i];
    require(item.group >= 0 && item.row0 >= 0 && item.rows >= 1 && int64_t(item.row0) + item.rows <= call->num_rows &&
                item.panel0 >= 0 && item.panels >= 1,
            "an item names rows of the call");
  }
  require(reinterpret_cast<uintptr_t>(scratch) % 256 == 0, "scratch is aligned");
}

// Weights of ones for every role; empty: too many.
static std::vector<float> weightsFor(moec_layer *layer, const moec_layer_info &info,
                                     std::vector<moec_tensor> &tensors) {
  constexpr int64_t most = 1 << 16;
  int64_t largest = 1;
  for (int32_t i = 0; i < info.num_roles; ++i) {
    moec_tensor tensor = {};
    if (moec_layer_role(layer, i, &tensor.role, &tensor.rank, tensor.dims) != MOEC_OK)
      return {};
    int64_t elements = 1;
    for (int32_t k = 0; k < tensor.rank; ++k)
      if (__builtin_mul_overflow(elements, tensor.dims[k], &elements) || elements > most)
        return {};
    largest = std::max(largest, elements);
    tensor.dtype = MOEC_F32;
    tensors.push_back(tensor);
  }
  std::vector<float> ones(size_t(largest), 1.0f);
  for (moec_tensor &tensor : tensors)
    tensor.data = ones.data();
  return ones;
}

static void call(moec_layer *layer, moec_weights *weights, const moec_layer_info &info) {
  constexpr int64_t most = int64_t(1) << 22;
  int64_t tokens = std::min<int64_t>(5, info.max_tokens);
  size_t workspaceBytes = 0;
  if (moec_layer_workspace_bytes(layer, tokens, &workspaceBytes) != MOEC_OK || int64_t(workspaceBytes) > most ||
      info.hidden > 4096)
    return;
  AlignedBytes workspace(workspaceBytes), x(size_t(tokens * info.hidden) * 4), y(size_t(tokens * info.hidden) * 4);
  moec_forward_args args = {};
  args.struct_size = sizeof args;
  args.num_tokens = tokens;
  args.x = x.data();
  args.y = y.data();
  args.workspace = workspace.data();
  args.workspace_bytes = workspaceBytes;
  (void)moec_layer_forward(layer, weights, &args);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const moec_package *good = tiny_package();
  std::string bytes = patched({static_cast<const char *>(good->plan), size_t(good->plan_bytes)}, data, size);
  AlignedBytes plan(bytes.size());
  std::memcpy(plan.data(), bytes.data(), bytes.size());
  std::vector<moec_kernel_fn> functions(size_t(good->num_functions), standIn);
  moec_package package = *good;
  package.plan = plan.data();
  package.plan_bytes = bytes.size();
  package.functions = functions.data();
  package.cuda_plan = nullptr;
  package.cuda_plan_bytes = 0;
  moec_layer *layer = nullptr;
  if (moec_layer_create(&package, nullptr, &layer) != MOEC_OK) {
    require(!lastError().empty(), "an error says something");
    return 0;
  }
  moec_layer_info info = {};
  info.struct_size = sizeof info;
  require(moec_layer_get_info(layer, &info) == MOEC_OK, "a layer has facts");
  size_t packedBytes = 0;
  require(moec_layer_weights_bytes(layer, &packedBytes) == MOEC_OK, "a layer has a size of weights");
  std::vector<moec_tensor> tensors;
  std::vector<float> ones = weightsFor(layer, info, tensors);
  if (!ones.empty() && packedBytes <= size_t(1) << 22) {
    AlignedBytes packed(packedBytes);
    moec_weights *weights = nullptr;
    if (moec_weights_pack(layer, tensors.data(), tensors.size(), packed.data(), packedBytes, &weights) == MOEC_OK) {
      call(layer, weights, info);
      moec_weights_destroy(weights);
    }
  }
  moec_layer_destroy(layer);
  return 0;
}
