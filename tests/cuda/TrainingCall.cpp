// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The public calls of the runtime, on memory that stays. Both calls share a workspace, one after the other.

#include "TrainingCall.h"

#include <algorithm>
#include <cmath>

namespace moec {

static size_t bytesOf(DataType type, int64_t elements) { return size_t(elements) * size_t(dataTypeBits(type)) / 8; }

TrainingCall::TrainingCall(const LayerRun &layer, const DeviceContext &device, int64_t tokens, DataType matrices)
    : layer(layer), device(device), tokens(tokens), matrices(matrices) {
  const moec_layer_info &info = layer.info();
  DataType xType = DataType(info.x_dtype), yType = DataType(info.y_dtype);
  int64_t wide = tokens * info.hidden;
  size_t ofForward = 0, ofBackward = 0, ofSaved = 0;
  moec_layer_workspace_bytes(layer.handle(), tokens, &ofForward);
  moec_layer_backward_workspace_bytes(layer.handle(), tokens, 0, &ofBackward);
  moec_layer_saved_bytes(layer.handle(), tokens, 0, &ofSaved);
  x = DeviceMemory(device, bytesOf(xType, wide));
  y = DeviceMemory(device, bytesOf(yType, wide));
  dy = DeviceMemory(device, bytesOf(yType, wide));
  saved = DeviceMemory(device, ofSaved);
  workspace = DeviceMemory(device, std::max(ofForward, ofBackward));
  outputs.push_back({xType, DeviceMemory(device, bytesOf(xType, wide))});
  parameters.resize(size_t(info.num_roles));
  for (int32_t i = 0; i < info.num_roles; ++i) {
    const char *name = nullptr;
    int32_t rank = 0, kind = MOEC_GRADIENT_NONE;
    int64_t dims[4], elements = 1;
    moec_layer_role(layer.handle(), i, &name, &rank, dims);
    moec_layer_role_gradient(layer.handle(), i, &kind);
    if (kind == MOEC_GRADIENT_NONE)
      continue;
    for (int32_t d = 0; d < rank; ++d)
      elements *= dims[d];
    DataType type = kind == MOEC_GRADIENT_MATRIX ? matrices : DataType::F32;
    outputs.push_back({type, DeviceMemory(device, bytesOf(type, elements))});
    parameters[size_t(i)] = outputs.back().memory.data();
  }
  const unsigned nonBlocking = 1; // does not wait for the default stream
  device.driver->stream_create(&stream, nonBlocking);
}

TrainingCall::~TrainingCall() {
  if (stream)
    device.driver->stream_destroy(stream);
}

bool TrainingCall::ready() const {
  bool good = x.data() && y.data() && dy.data() && saved.data() && workspace.data() && stream;
  return good && std::all_of(outputs.begin(), outputs.end(), [](const Output &o) { return o.memory.data(); });
}

bool TrainingCall::setInput(const std::vector<char> &xBytes, const std::vector<char> &dyBytes) {
  bool good = xBytes.size() == x.size() && dyBytes.size() == dy.size() && x.upload(xBytes.data()) &&
              dy.upload(dyBytes.data()) && saved.fill(0xff);
  for (Output &output : outputs)
    good = good && output.memory.fill(0xff);
  return good && device.driver->stream_synchronize(nullptr) == MOEC_CUDA_SUCCESS;
}

moec_status TrainingCall::forward() {
  moec_forward_args args = LayerRun::noOptional();
  args.num_tokens = tokens;
  args.x = x.data();
  args.y = y.data();
  args.workspace = workspace.data();
  args.workspace_bytes = workspace.size();
  args.saved = saved.data();
  args.saved_bytes = saved.size();
  args.stream = stream;
  return moec_layer_forward(layer.handle(), layer.weightsHandle(), &args);
}

moec_status TrainingCall::backward() {
  moec_backward_args args = {};
  args.struct_size = sizeof args;
  args.num_tokens = tokens;
  args.x = x.data();
  args.grad_y = dy.data();
  args.saved = saved.data();
  args.saved_bytes = saved.size();
  args.workspace = workspace.data();
  args.workspace_bytes = workspace.size();
  args.grad_x = outputs.front().memory.data();
  args.grad_parameters = parameters.data();
  args.grad_dtype = int32_t(matrices);
  args.stream = stream;
  return moec_layer_backward(layer.handle(), layer.weightsHandle(), &args);
}

std::vector<char> TrainingCall::gradients() {
  std::vector<char> bytes;
  if (device.driver->stream_synchronize(stream) != MOEC_CUDA_SUCCESS)
    return bytes;
  for (const Output &output : outputs) {
    size_t at = bytes.size();
    bytes.resize(at + output.memory.size());
    if (!output.memory.download(bytes.data() + at))
      return {};
  }
  return bytes;
}

bool TrainingCall::isWritten() {
  if (device.driver->stream_synchronize(stream) != MOEC_CUDA_SUCCESS)
    return false;
  for (const Output &output : outputs) {
    size_t size = output.memory.size(), part = std::min<size_t>(size, 4096);
    std::vector<char> bytes(part);
    auto from = reinterpret_cast<moec_cuda_pointer>(output.memory.data());
    for (size_t at : {size_t(0), size - part}) {
      if (device.driver->memcpy_dtoh(bytes.data(), from + at, part) != MOEC_CUDA_SUCCESS)
        return false;
      for (size_t i = 0; i < part / bytesOf(output.type, 1); ++i)
        if (!std::isfinite(loadElement(bytes.data(), output.type, int64_t(i))))
          return false;
    }
  }
  return true;
}

} // namespace moec
