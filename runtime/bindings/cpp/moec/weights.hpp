// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// weights.hpp - definitions of Layer's functions that make Weights.
#ifndef MOEC_WEIGHTS_HPP
#define MOEC_WEIGHTS_HPP

#include "layer.hpp"

namespace moec {
inline namespace v0 {

inline Result<Weights> Layer::load(Owner owner, void *buffer, size_t bytes, const std::vector<Source> &sources) const {
  if (sources.empty())
    return Error{MOEC_INVALID_ARGUMENT, "sources is empty, expected 1 to 16"};
  std::vector<moec_weights_source> list;
  for (const Source &source : sources)
    list.push_back({source.path.c_str(), source.prefix.c_str()});
  return Weights::make(*this, std::move(owner), buffer, bytes, [&](moec_weights **out) {
    return moec_weights_load_sources(get(), list.data(), list.size(), buffer, bytes, out);
  });
}

inline Result<Weights> Layer::pack(Owner owner, void *buffer, size_t bytes, const std::vector<Tensor> &tensors) const {
  std::vector<moec_tensor> list;
  for (const Tensor &tensor : tensors) {
    std::vector<int64_t> dims = tensor.dims.empty() ? dims_of(tensor.role) : tensor.dims;
    if (dims.empty()) // a role that the layer does not have: the runtime's text lists what it has
      dims = {static_cast<int64_t>(tensor.data.count)};
    if (dims.size() > 4)
      return Error{MOEC_SHAPE, tensor.role + ": " + std::to_string(dims.size()) + " dimensions, expected 1 to 4"};
    moec_tensor c = {tensor.role.c_str(), tensor.data.data, tensor.data.dtype, static_cast<int32_t>(dims.size()), {}};
    std::string shape;
    size_t left = tensor.data.count;
    bool fits = true;
    for (size_t i = 0; i < dims.size(); ++i) {
      c.dims[i] = dims[i];
      shape += (i ? ", " : "") + std::to_string(dims[i]);
      fits = fits && dims[i] > 0 && left % static_cast<size_t>(dims[i]) == 0;
      left = fits ? left / static_cast<size_t>(dims[i]) : left;
    }
    if (!fits || left != 1)
      return Error{MOEC_SHAPE, tensor.role + ": " + std::to_string(tensor.data.count) +
                                   " elements, expected those of [" + shape + "]"};
    list.push_back(c);
  }
  return Weights::make(*this, std::move(owner), buffer, bytes, [&](moec_weights **out) {
    return moec_weights_pack(get(), list.data(), list.size(), buffer, bytes, out);
  });
}

inline Result<Weights> Layer::load_sources(const std::vector<Source> &sources) const {
  Result<std::shared_ptr<Buffer>> buffer = own_buffer();
  return buffer ? load(*buffer, (*buffer)->data(), (*buffer)->size(), sources) : buffer.error();
}
inline Result<Weights> Layer::load(const std::string &path, const std::string &prefix) const {
  return load_sources({{path, prefix}});
}
inline Result<Weights> Layer::pack(const std::vector<Tensor> &tensors) const {
  Result<std::shared_ptr<Buffer>> buffer = own_buffer();
  return buffer ? pack(*buffer, (*buffer)->data(), (*buffer)->size(), tensors) : buffer.error();
}
inline Result<Weights> Layer::load_into(void *buffer, size_t bytes, const std::vector<Source> &sources) const {
  return load(nullptr, buffer, bytes, sources);
}
inline Result<Weights> Layer::pack_into(void *buffer, size_t bytes, const std::vector<Tensor> &tensors) const {
  return pack(nullptr, buffer, bytes, tensors);
}
inline Result<Weights> Layer::map(const void *buffer, size_t bytes, bool verify) const {
  return Weights::make(*this, nullptr, buffer, bytes, [&](moec_weights **out) {
    return moec_weights_map(get(), buffer, bytes, verify ? MOEC_MAP_VERIFY : 0, out);
  });
}
inline Result<Weights> Layer::map_file(const std::string &path, bool verify) const {
  if (info().device == MOEC_DEVICE_CUDA)
    return Error{MOEC_UNSUPPORTED_DEVICE, "the layer runs on CUDA: copy the file to its device and map it there"};
  Result<MappedFile> file = MappedFile::open(path);
  if (!file)
    return file.error();
  auto owner = std::make_shared<MappedFile>(*std::move(file));
  Result<Weights> weights = Weights::make(*this, owner, owner->data(), owner->size(), [&](moec_weights **out) {
    return moec_weights_map(get(), owner->data(), owner->size(), verify ? MOEC_MAP_VERIFY : 0, out);
  });
  if (!weights)
    return Error{weights.error().status, path + ": " + weights.error().text};
  return weights;
}

} // namespace v0
} // namespace moec
#endif
