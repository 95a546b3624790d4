// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Public runtime calls in the order of moec.h, their errors turned into diagnostics.

#include "codegen/check/LayerRun.h"

#include "codegen/check/DeviceArguments.h"

#include "runtime/layer/aliased_forward.h"

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

static const char *codeOf(moec_status status) {
  switch (status) {
  case MOEC_ISA_MISSING:
  case MOEC_UNSUPPORTED_DEVICE:
    return "E-MACHINE";
  case MOEC_OUT_OF_MEMORY:
    return "E-MEMORY";
  default:
    return "E-INTERNAL";
  }
}

static Result<> check(moec_status status) {
  if (status != MOEC_OK)
    return Diagnostic::error(codeOf(status), lastRuntimeError(status));
  return {};
}

Result<size_t> LayerRun::create(const moec_layer_options &options) {
  release();
  facts.struct_size = sizeof facts;
  size_t weightBytes = 0;
  Result<> made = check(moec_layer_create(package, &options, &layer));
  if (made)
    made = check(moec_layer_get_info(layer, &facts));
  if (made)
    made = check(moec_layer_weights_bytes(layer, &weightBytes));
  if (!made)
    return made.takeError();
  return weightBytes;
}

// NOTE: only layers that train read the weights of noise that is only of training.
static bool isOfTrainingAlone(const moec_layer *layer, const moec_layer_info &facts, const std::string &role) {
  bool known = false;
  for (int32_t i = 0; i < facts.num_roles; ++i) {
    const char *name = nullptr;
    int32_t rank = 0;
    int64_t dims[4];
    known |= moec_layer_role(layer, i, &name, &rank, dims) == MOEC_OK && role == name;
  }
  return role == "router.noise_weight" && !facts.trains && !known;
}

Result<> LayerRun::pack(const RoleTensors &tensors, void *buffer, size_t bytes) {
  if (!buffer)
    return Diagnostic::error("E-MEMORY", "no memory for " + std::to_string(bytes) + " bytes of packed weights");
  std::vector<moec_tensor> list;
  for (const auto &[role, tensor] : tensors) {
    if (isOfTrainingAlone(layer, facts, role))
      continue;
    moec_tensor entry = {};
    entry.role = role.c_str();
    entry.data = tensor.data;
    entry.dtype = moec_dtype(tensor.type);
    entry.rank = int32_t(tensor.shape.size());
    for (size_t i = 0; i < tensor.shape.size() && i < 4; ++i)
      entry.dims[i] = tensor.shape[i];
    list.push_back(entry);
  }
  return check(moec_weights_pack(layer, list.data(), list.size(), buffer, bytes, &weights));
}

Result<size_t> LayerRun::createOnCpu(int threads, int maxIsa) {
  moec_layer_options options = {};
  options.struct_size = sizeof options;
  options.max_threads = threads;
  options.max_isa = maxIsa + 1;
  device = nullptr;
  return create(options);
}

Result<> LayerRun::prepare(int threads, int maxIsa, const RoleTensors *tensors) {
  Result<size_t> bytes = createOnCpu(threads, maxIsa);
  if (!bytes)
    return bytes.takeError();
  if (!tensors)
    return check(moec_weights_map(layer, packed.data(), packed.size(), 0, &weights));
  if (weightMemory.first && weightMemory.second >= *bytes)
    return pack(*tensors, weightMemory.first, *bytes);
  packed = PageBuffer(*bytes);
  return pack(*tensors, packed.data(), *bytes);
}

Result<> LayerRun::prepareShared(int threads, int maxIsa, const LayerRun &owner) {
  Result<size_t> bytes = createOnCpu(threads, maxIsa);
  if (!bytes)
    return bytes.takeError();
  const void *buffer = owner.packed.data() ? owner.packed.data() : owner.weightMemory.first;
  size_t size = owner.packed.data() ? owner.packed.size() : owner.weightMemory.second;
  return check(moec_weights_map(layer, buffer, size, 0, &weights));
}

Result<> LayerRun::load(int threads, int maxIsa, const std::string &path, const std::string &prefix) {
  return load(threads, maxIsa, {{path.c_str(), prefix.c_str()}});
}

Result<> LayerRun::load(int threads, int maxIsa, const std::vector<moec_weights_source> &sources) {
  Result<size_t> bytes = createOnCpu(threads, maxIsa);
  if (!bytes)
    return bytes.takeError();
  packed = PageBuffer(*bytes);
  return check(moec_weights_load_sources(layer, sources.data(), sources.size(), packed.data(), *bytes, &weights));
}

Result<> LayerRun::prepare(const DeviceContext &context, const RoleTensors &tensors) {
  moec_layer_options options = {};
  options.struct_size = sizeof options;
  options.device = MOEC_DEVICE_CUDA;
  options.cuda_driver = context.driver;
  device = &context;
  Result<size_t> bytes = create(options);
  if (!bytes)
    return bytes.takeError();
  devicePacked = DeviceMemory(context, *bytes);
  return pack(tensors, devicePacked.data(), *bytes);
}

Result<void *> LayerRun::workspaceOf(size_t bytes) {
  if (workspace.size() < bytes)
    workspace = PageBuffer(bytes);
  if (!workspace.data())
    return Diagnostic::error("E-MEMORY", "no memory for a workspace of " + std::to_string(bytes) + " bytes");
  if (poison)
    std::memset(workspace.data(), 0xff, bytes);
  return workspace.data();
}

Result<> LayerRun::forward(int64_t numTokens, const void *x, void *y, moec_forward_args args) {
  args.num_tokens = numTokens;
  args.x = x;
  args.y = y;
  if (inputs)
    inputs->fill(args);
  if (Result<> sized = check(moec_layer_workspace_bytes_call(layer, &args, &args.workspace_bytes)); !sized)
    return sized;
  if (device)
    return forwardOnDevice(args);
  Result<void *> space = workspaceOf(args.workspace_bytes);
  if (!space)
    return space.takeError();
  args.workspace = *space;
  args.probe = probe;
  return check(moec_layer_forward_aliased(layer, weights, &args, distinctGroups));
}

Result<size_t> LayerRun::savedBytes(int64_t numTokens) const {
  size_t bytes = 0;
  Result<> sized = check(moec_layer_saved_bytes(layer, numTokens, inputs ? inputs->tokensPerSequence : 0, &bytes));
  if (!sized)
    return sized.takeError();
  return bytes;
}

Result<> LayerRun::backward(int64_t numTokens, const void *x, moec_backward_args args) {
  args.struct_size = sizeof args;
  args.num_tokens = numTokens;
  args.x = x;
  if (inputs)
    inputs->fill(args);
  if (Result<> sized =
          check(moec_layer_backward_workspace_bytes(layer, numTokens, args.tokens_per_sequence, &args.workspace_bytes));
      !sized)
    return sized;
  if (device)
    return backwardOnDevice(args);
  Result<void *> space = workspaceOf(args.workspace_bytes);
  if (!space)
    return space.takeError();
  args.workspace = *space;
  args.probe = probe;
  return check(moec_layer_backward(layer, weights, &args));
}

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

static size_t bytesOf(int32_t dtype) { return size_t(dataTypeBits(DataType(dtype))) / 8; }

Result<> LayerRun::forwardOnDevice(moec_forward_args args) {
  size_t wide = size_t(args.num_tokens) * size_t(facts.hidden);
  DeviceArguments call(*device);
  call.readInputs(inputs, args);
  call.read(args.x, wide * bytesOf(facts.x_dtype));
  call.write(args.y, wide * bytesOf(facts.y_dtype));
  call.write(args.saved, args.saved_bytes);
  const moec_output *row = moec_outputs;
#define WRITE(ROLE, name, DTYPE, SHAPE, NEEDS, text)                                                                   \
  call.write(args.out_##name, size_t(outputElements(facts, *row++, args.num_tokens)) * 4);
  MOEC_OUTPUTS(WRITE)
#undef WRITE
  args.workspace = call.space(args.workspace_bytes, poison);
  return call.finish([&] { return check(moec_layer_forward(layer, weights, &args)); });
}

Result<> LayerRun::backwardOnDevice(moec_backward_args args) {
  size_t wide = size_t(args.num_tokens) * size_t(facts.hidden);
  DeviceArguments call(*device);
  call.readInputs(inputs, args);
  call.read(args.x, wide * bytesOf(facts.x_dtype));
  call.read(args.grad_y, wide * bytesOf(facts.y_dtype));
  call.read(args.grad_losses, size_t(facts.num_losses) * 4);
  call.read(args.saved, args.saved_bytes);
  call.write(args.grad_x, wide * bytesOf(facts.x_dtype));
  call.write(args.grad_residual, wide * bytesOf(facts.x_dtype));
  call.write(args.grad_expert_weights, size_t(args.num_tokens) * size_t(facts.top_k) * 4);
  std::vector<void *> parameters(size_t(facts.num_roles), nullptr);
  for (int32_t i = 0; args.grad_parameters && i < facts.num_roles; ++i) {
    const char *name = nullptr;
    int32_t rank = 0, kind = MOEC_GRADIENT_NONE;
    int64_t dims[4];
    if (Result<> known = check(moec_layer_role(layer, i, &name, &rank, dims)); !known)
      return known;
    if (Result<> known = check(moec_layer_role_gradient(layer, i, &kind)); !known)
      return known;
    size_t bytes = kind == MOEC_GRADIENT_MATRIX ? bytesOf(args.grad_dtype) : 4;
    for (int32_t d = 0; d < rank; ++d)
      bytes *= size_t(dims[d]);
    parameters[size_t(i)] = args.grad_parameters[i];
    call.write(parameters[size_t(i)], bytes);
  }
  args.grad_parameters = parameters.data();
  args.workspace = call.space(args.workspace_bytes, poison);
  return call.finish([&] { return check(moec_layer_backward(layer, weights, &args)); });
}

} // namespace moec
