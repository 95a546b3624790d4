// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The public calls of the runtime, on memory that stays.

#include "DeviceCall.h"

#include <cmath>

namespace moec {

static size_t rowBytes(const moec_layer_info &info, moec_dtype type, int64_t tokens) {
  return size_t(tokens * info.hidden * dataTypeBits(DataType(type)) / 8);
}

DeviceCall::DeviceCall(const LayerRun &layer, const DeviceContext &device, int64_t tokens)
    : layer(layer), device(device), tokens(tokens) {
  const moec_layer_info &info = layer.info();
  size_t bytes = 0;
  moec_layer_workspace_bytes(layer.handle(), tokens, &bytes);
  x = DeviceMemory(device, rowBytes(info, info.x_dtype, tokens));
  y = DeviceMemory(device, rowBytes(info, info.y_dtype, tokens));
  workspace = DeviceMemory(device, bytes);
  space = workspace.data(), spaceBytes = workspace.size();
  const unsigned nonBlocking = 1; // does not wait for the default stream
  device.driver->stream_create(&stream, nonBlocking);
}

DeviceCall::DeviceCall(const DeviceCall &host, int64_t tokens)
    : layer(host.layer), device(host.device), tokens(tokens),
      x(host.device, rowBytes(layer.info(), layer.info().x_dtype, tokens)),
      y(host.device, rowBytes(layer.info(), layer.info().y_dtype, tokens)), space(host.space), stream(host.stream),
      spaceBytes(host.spaceBytes), ownsStream(false) {}

DeviceCall::~DeviceCall() {
  if (stream && ownsStream)
    device.driver->stream_destroy(stream);
}

bool DeviceCall::setInput(const std::vector<char> &bytes) {
  return x.upload(bytes.data()) && y.fill(0xff) && device.driver->stream_synchronize(nullptr) == MOEC_CUDA_SUCCESS;
}

moec_status DeviceCall::enqueue() {
  moec_forward_args args = LayerRun::noOptional();
  args.num_tokens = tokens;
  args.x = x.data();
  args.y = y.data();
  args.workspace = space;
  args.workspace_bytes = spaceBytes;
  args.stream = stream;
  return moec_layer_forward(layer.handle(), layer.weightsHandle(), &args);
}

std::vector<char> DeviceCall::output() {
  std::vector<char> bytes(y.size());
  if (device.driver->stream_synchronize(stream) != MOEC_CUDA_SUCCESS || !y.download(bytes.data()))
    bytes.clear();
  return bytes;
}

bool isWritten(const LayerRun &layer, const std::vector<char> &y) {
  DataType type = DataType(layer.info().y_dtype);
  int64_t count = int64_t(y.size() * 8 / dataTypeBits(type));
  for (int64_t i = 0; i < count; ++i)
    if (!std::isfinite(loadElement(y.data(), type, i)))
      return false;
  return count > 0;
}

static std::vector<char> normalRows(const LayerRun &layer, moec_dtype type, int64_t tokens, uint64_t seed) {
  const moec_layer_info &info = layer.info();
  std::vector<char> bytes(rowBytes(info, type, tokens));
  fillNormal(bytes.data(), DataType(type), tokens * info.hidden, 0, 1, seed);
  return bytes;
}

std::vector<char> normalInput(const LayerRun &layer, int64_t tokens, uint64_t seed) {
  return normalRows(layer, layer.info().x_dtype, tokens, seed);
}

std::vector<char> normalGradient(const LayerRun &layer, int64_t tokens, uint64_t seed) {
  return normalRows(layer, layer.info().y_dtype, tokens, seed);
}

} // namespace moec
