// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Roles of a layer in -> buffers, their fields of moec_backward_args, and comparisons of bits out.

#include "codegen/check/CallGradients.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace moec {

static constexpr size_t tail = 64;
static constexpr unsigned char tailByte = 0xa5;

int64_t Gradient::numElements() const {
  int64_t count = 1;
  for (int64_t extent : shape)
    count *= extent;
  return count;
}

static size_t bytesOf(const Gradient &gradient) {
  return size_t(gradient.numElements()) * size_t(dataTypeBits(gradient.type)) / 8;
}

std::vector<double> Gradient::values() const {
  std::vector<double> out(static_cast<size_t>(numElements()));
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = loadElement(data(), type, int64_t(i));
  return out;
}

// NaN in every type, and the bytes behind the end.
static bool allocate(Gradient &gradient) {
  size_t bytes = bytesOf(gradient);
  gradient.memory = PageBuffer(bytes + tail);
  if (!gradient.data())
    return false;
  std::memset(gradient.data(), 0xff, bytes);
  std::memset(static_cast<char *>(gradient.data()) + bytes, tailByte, tail);
  return true;
}

Result<CallGradients> CallGradients::make(const LayerRun &layer, int64_t tokens, const std::vector<std::string> &inputs,
                                          DataType matrices) {
  CallGradients out;
  out.matrices = matrices;
  const moec_layer_info &info = layer.info();
  for (const std::string &name : inputs) {
    Gradient gradient;
    gradient.name = name;
    gradient.type = name == "expert_weights" ? DataType::F32 : DataType(info.x_dtype);
    gradient.shape = {tokens, name == "expert_weights" ? info.top_k : info.hidden};
    out.all.push_back(std::move(gradient));
  }
  for (int32_t i = 0; i < info.num_roles; ++i) {
    const char *name = nullptr;
    int32_t rank = 0, has = 0;
    int64_t dims[4];
    if (moec_layer_role(layer.handle(), i, &name, &rank, dims) != MOEC_OK ||
        moec_layer_role_gradient(layer.handle(), i, &has) != MOEC_OK)
      return Diagnostic::error("E-INTERNAL", lastRuntimeError(MOEC_INVALID_ARGUMENT));
    if (!has)
      continue;
    Gradient gradient;
    gradient.name = name;
    gradient.role = i;
    gradient.shape.assign(dims, dims + rank);
    gradient.type = has == 2 ? matrices : DataType::F32;
    out.all.push_back(std::move(gradient));
  }
  out.pointers.resize(size_t(info.num_roles));
  for (Gradient &gradient : out.all)
    if (!allocate(gradient))
      return Diagnostic::error("E-MEMORY", "not enough memory for the gradients of " + gradient.name);
  return out;
}

void CallGradients::ask(moec_backward_args &args, Wanted wanted) {
  std::fill(pointers.begin(), pointers.end(), nullptr);
  for (Gradient &gradient : all) {
    if (wanted && !wanted(gradient))
      continue;
    if (gradient.role >= 0)
      pointers[size_t(gradient.role)] = gradient.data();
    else if (gradient.name == "x")
      args.grad_x = gradient.data();
    else if (gradient.name == "residual")
      args.grad_residual = gradient.data();
    else
      args.grad_expert_weights = static_cast<float *>(gradient.data());
  }
  args.grad_dtype = int32_t(matrices);
  args.grad_parameters = pointers.data();
}

void CallGradients::fillParameters(const CallGradients &sizes, uint64_t seed) {
  for (Gradient &gradient : all) {
    const Gradient *like = gradient.role < 0 ? nullptr : sizes.find(gradient.name);
    if (!like)
      continue;
    double most = 0;
    for (double v : like->values())
      most = std::isfinite(v) ? std::max(most, std::fabs(v)) : most;
    fillNormal(gradient.data(), gradient.type, gradient.numElements(), 0, most > 0 ? most / 2 : 1, ++seed);
  }
}

void CallGradients::copyParameters(const CallGradients &other) {
  for (Gradient &gradient : all)
    if (const Gradient *from = gradient.role < 0 ? nullptr : other.find(gradient.name))
      std::memcpy(gradient.data(), from->data(), bytesOf(gradient));
}

void CallGradients::convert(const CallGradients &other) {
  for (Gradient &gradient : all) {
    const Gradient *from = other.find(gradient.name);
    for (int64_t i = 0; from && i < gradient.numElements(); ++i)
      storeElement(gradient.data(), gradient.type, i, loadElement(from->data(), from->type, i));
  }
}

std::string CallGradients::differing(const CallGradients &other, Wanted wanted) const {
  for (const Gradient &gradient : all) {
    const Gradient *same = other.find(gradient.name);
    if (!same || (wanted && !wanted(gradient)))
      continue;
    if (std::memcmp(gradient.data(), same->data(), bytesOf(gradient)) == 0)
      continue;
    std::vector<double> own = gradient.values(), its = same->values();
    for (size_t i = 0; i < own.size(); ++i) // NaN is NaN, whatever its bits
      if (std::memcmp(&own[i], &its[i], sizeof(double)) != 0 && !(std::isnan(own[i]) && std::isnan(its[i])))
        return gradient.name;
  }
  return {};
}

std::string CallGradients::overrun() const {
  for (const Gradient &gradient : all) {
    const auto *end = static_cast<const unsigned char *>(gradient.data()) + bytesOf(gradient);
    if (!std::all_of(end, end + tail, [](unsigned char byte) { return byte == tailByte; }))
      return gradient.name;
  }
  return {};
}

const Gradient *CallGradients::find(const std::string &name) const {
  for (const Gradient &gradient : all)
    if (gradient.name == name)
      return &gradient;
  return nullptr;
}

} // namespace moec
