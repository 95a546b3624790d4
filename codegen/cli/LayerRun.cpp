// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Public runtime calls in the order of moec.h, their errors turned into texts.

#include "LayerRun.h"

#include <cstring>

namespace moec {

int failToPrepare(Session &session, const LayerRun &layer, ExitCode exit, const std::string &code, const std::string &error) {
  return layer.isaMissing() ? fail(session, ExitDevice, "E-MACHINE", error) : fail(session, exit, code, error);
}

std::string lastRuntimeError(moec_status status) {
  char text[512];
  moec_last_error(text, sizeof text);
  return std::string(moec_status_name(status)) + ": " + text;
}

moec_forward_args LayerRun::noOptional() {
  moec_forward_args args = {};
  args.struct_size = sizeof args;
  return args;
}

std::unique_ptr<LayerRun> LayerRun::load(const CompiledPackage &compiled, std::string &error) {
  std::unique_ptr<LayerRun> run(new LayerRun());
  run->package = LoadedPackage::load(compiled, error);
  return run->package ? std::move(run) : nullptr;
}

void LayerRun::release() {
  moec_weights_destroy(weights);
  moec_layer_destroy(layer);
  weights = nullptr;
  layer = nullptr;
}

LayerRun::~LayerRun() { release(); }

bool LayerRun::prepare(int threads, int maxIsa, const RoleTensors *tensors, std::string &error) {
  release();
  auto check = [&](moec_status status) {
    missing = status == MOEC_ISA_MISSING;
    if (status != MOEC_OK)
      error = lastRuntimeError(status);
    return status == MOEC_OK;
  };
  moec_layer_options options = {};
  options.struct_size = sizeof options;
  options.max_threads = threads;
  options.max_isa = maxIsa + 1;
  options.spin_us = -1;
  facts.struct_size = sizeof facts;
  if (!check(moec_layer_create(package->get(), &options, &layer)) || !check(moec_layer_get_info(layer, &facts)))
    return false;
  size_t bytes = 0;
  if (!check(moec_layer_weights_bytes(layer, &bytes)))
    return false;
  if (!tensors)
    return check(moec_weights_map(layer, packed.data(), packed.size(), &weights));
  packed = PageBuffer(bytes);
  if (!packed.data()) {
    error = "no memory for " + std::to_string(bytes) + " bytes of packed weights";
    return false;
  }
  std::vector<moec_tensor> list;
  for (const auto &[role, tensor] : *tensors) {
    moec_tensor entry = {};
    entry.role = role.c_str();
    entry.data = tensor.data;
    entry.dtype = moec_dtype(tensor.type);
    entry.rank = int32_t(tensor.shape.size());
    for (size_t i = 0; i < tensor.shape.size() && i < 4; ++i)
      entry.dims[i] = tensor.shape[i];
    list.push_back(entry);
  }
  return check(moec_weights_pack(layer, list.data(), list.size(), packed.data(), packed.size(), &weights));
}

bool LayerRun::forward(int64_t numTokens, const void *x, void *y, moec_forward_args args, std::string &error) {
  size_t bytes = 0;
  moec_status status = moec_layer_workspace_bytes(layer, numTokens, &bytes);
  if (status == MOEC_OK && workspace.size() < bytes) {
    workspace = PageBuffer(bytes);
    if (!workspace.data()) {
      error = "no memory for a workspace of " + std::to_string(bytes) + " bytes";
      return false;
    }
  }
  if (status == MOEC_OK) {
    if (poison)
      std::memset(workspace.data(), 0xff, bytes);
    args.num_tokens = numTokens;
    args.x = x;
    args.y = y;
    args.workspace = workspace.data();
    args.workspace_bytes = bytes;
    status = moec_layer_forward(layer, weights, &args);
  }
  if (status != MOEC_OK)
    error = lastRuntimeError(status);
  return status == MOEC_OK;
}

} // namespace moec
