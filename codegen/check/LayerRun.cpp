// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Public runtime calls in the order of moec.h, their errors turned into texts.

#include "codegen/check/LayerRun.h"

#include <cstring>

namespace moec {

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

void LayerRun::release() {
  moec_weights_destroy(weights);
  moec_layer_destroy(layer);
  weights = nullptr;
  layer = nullptr;
}

LayerRun::~LayerRun() { release(); }

bool LayerRun::check(moec_status status, std::string &error) {
  missing = status == MOEC_ISA_MISSING || status == MOEC_UNSUPPORTED_DEVICE;
  noMemory = status == MOEC_OUT_OF_MEMORY;
  if (status != MOEC_OK)
    error = lastRuntimeError(status);
  return status == MOEC_OK;
}

bool LayerRun::create(const moec_layer_options &options, size_t &weightBytes, std::string &error) {
  release();
  facts.struct_size = sizeof facts;
  return check(moec_layer_create(package, &options, &layer), error) &&
         check(moec_layer_get_info(layer, &facts), error) &&
         check(moec_layer_weights_bytes(layer, &weightBytes), error);
}

bool LayerRun::pack(const RoleTensors &tensors, void *buffer, size_t bytes, std::string &error) {
  if (!buffer) {
    noMemory = true;
    error = "no memory for " + std::to_string(bytes) + " bytes of packed weights";
    return false;
  }
  std::vector<moec_tensor> list;
  for (const auto &[role, tensor] : tensors) {
    moec_tensor entry = {};
    entry.role = role.c_str();
    entry.data = tensor.data;
    entry.dtype = moec_dtype(tensor.type);
    entry.rank = int32_t(tensor.shape.size());
    for (size_t i = 0; i < tensor.shape.size() && i < 4; ++i)
      entry.dims[i] = tensor.shape[i];
    list.push_back(entry);
  }
  return check(moec_weights_pack(layer, list.data(), list.size(), buffer, bytes, &weights), error);
}

bool LayerRun::createOnCpu(int threads, int maxIsa, size_t &weightBytes, std::string &error) {
  moec_layer_options options = {};
  options.struct_size = sizeof options;
  options.max_threads = threads;
  options.max_isa = maxIsa + 1;
  options.spin_us = -1;
  device = nullptr;
  return create(options, weightBytes, error);
}

bool LayerRun::prepare(int threads, int maxIsa, const RoleTensors *tensors, std::string &error) {
  size_t bytes = 0;
  if (!createOnCpu(threads, maxIsa, bytes, error))
    return false;
  if (!tensors)
    return check(moec_weights_map(layer, packed.data(), packed.size(), &weights), error);
  if (weightMemory.first && weightMemory.second >= bytes)
    return pack(*tensors, weightMemory.first, bytes, error);
  packed = PageBuffer(bytes);
  return pack(*tensors, packed.data(), bytes, error);
}

bool LayerRun::load(int threads, int maxIsa, const std::string &path, const std::string &prefix, std::string &error) {
  size_t bytes = 0;
  if (!createOnCpu(threads, maxIsa, bytes, error))
    return false;
  packed = PageBuffer(bytes);
  return check(moec_weights_load(layer, path.c_str(), prefix.c_str(), packed.data(), bytes, &weights), error);
}

bool LayerRun::prepare(const DeviceContext &context, const RoleTensors &tensors, std::string &error) {
  size_t bytes = 0;
  moec_layer_options options = {};
  options.struct_size = sizeof options;
  options.device = MOEC_DEVICE_CUDA;
  options.cuda_device = -1;
  options.cuda_driver = context.driver;
  device = &context;
  if (!create(options, bytes, error))
    return false;
  devicePacked = DeviceMemory(context, bytes);
  return pack(tensors, devicePacked.data(), bytes, error);
}

bool LayerRun::forward(int64_t numTokens, const void *x, void *y, moec_forward_args args, std::string &error) {
  args.num_tokens = numTokens;
  args.x = x;
  args.y = y;
  if (inputs)
    inputs->fill(args);
  if (!check(moec_layer_workspace_bytes_call(layer, &args, &args.workspace_bytes), error))
    return false;
  if (device)
    return forwardOnDevice(args, error);
  if (workspace.size() < args.workspace_bytes)
    workspace = PageBuffer(args.workspace_bytes);
  if (!workspace.data()) {
    error = "no memory for a workspace of " + std::to_string(args.workspace_bytes) + " bytes";
    return false;
  }
  if (poison)
    std::memset(workspace.data(), 0xff, args.workspace_bytes);
  args.workspace = workspace.data();
  return check(moec_layer_forward_probed(layer, weights, &args, probe), error);
}

namespace {
// A host pointer of the call's arguments while it points at device memory.
struct Moved {
  void *host = nullptr;
  DeviceMemory memory;
};
} // namespace

int64_t outputElements(const moec_layer_info &info, const moec_output &output, int64_t tokens) {
  switch (output.shape) {
  case MOEC_SHAPE_TN:
    return info.num_logits * tokens;
  case MOEC_SHAPE_TK:
    return info.top_k * tokens;
  case MOEC_SHAPE_E:
    return info.top_k ? info.num_experts : 0;
  case MOEC_SHAPE_N:
    return output.role == MOEC_ROLE_LOSSES ? info.num_losses : info.num_choice_counts;
  default:
    return 1;
  }
}

bool LayerRun::forwardOnDevice(moec_forward_args args, std::string &error) {
  size_t tokens = size_t(args.num_tokens);
  std::vector<Moved> moved;
  auto move = [&](auto &pointer, size_t bytes) {
    if (!pointer)
      return true;
    void *host = const_cast<void *>(static_cast<const void *>(pointer));
    moved.push_back({host, DeviceMemory(*device, bytes)});
    pointer = static_cast<std::remove_reference_t<decltype(pointer)>>(moved.back().memory.data());
    return pointer && moved.back().memory.upload(host);
  };
  auto elementBytes = [](uint32_t type) { return size_t(dataTypeBits(DataType(type))) / 8; };
  std::vector<DeviceMemory> given;
  bool complete = true;
  for (const auto &[name, data] : inputs ? inputs->bytes : std::map<std::string, std::vector<char>>()) {
    given.emplace_back(*device, data.size());
    *inputField(args, name) = given.back().data();
    complete = complete && given.back().data() && given.back().upload(data.data());
  }
  DeviceMemory space(*device, args.workspace_bytes);
  args.workspace = space.data();
  auto moveOutputs = [&] {
    const moec_output *row = moec_outputs;
#define MOVE(ROLE, name, DTYPE, SHAPE, NEEDS, text)                                                                    \
  &&move(args.out_##name, size_t(outputElements(facts, *row++, args.num_tokens)) * 4)
    return true MOEC_OUTPUTS(MOVE);
#undef MOVE
  };
  if (!complete || !args.workspace || (poison && !space.fill(0xff)) ||
      !move(args.x, tokens * size_t(facts.hidden) * elementBytes(uint32_t(facts.x_dtype))) ||
      !move(args.y, tokens * size_t(facts.hidden) * elementBytes(uint32_t(facts.y_dtype))) || !moveOutputs()) {
    error = "no device memory for a call of " + std::to_string(tokens) + " tokens";
    return false;
  }
  if (device->beforeRun)
    device->beforeRun();
  bool done = check(moec_layer_forward(layer, weights, &args), error) && device->synchronize(error);
  if (device->complaints)
    if (std::string said = device->complaints(); !said.empty()) {
      error = said;
      return false;
    }
  for (size_t i = 1; done && i < moved.size(); ++i) // all but x
    done = moved[i].memory.download(moved[i].host);
  return done;
}

} // namespace moec
