// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The file: 8 bytes with the length of the header (little-endian), the header as JSON, the arrays one after another.
#include "safetensors.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace train {

using nlohmann::json;

[[noreturn]] static void fail(const std::string &path, const std::string &what) {
  throw std::runtime_error(path + ": " + what);
}

static StoredTensor read_tensor(const std::string &path, const std::string &name, const json &entry, const char *data,
                                size_t bytes) {
  if (entry.at("dtype") != "F32")
    fail(path, name + " is " + entry.at("dtype").get<std::string>() + ", expected F32");
  StoredTensor tensor;
  size_t begin = entry.at("data_offsets").at(0), end = entry.at("data_offsets").at(1), count = 1;
  for (const json &extent : entry.at("shape")) {
    tensor.shape.push_back(extent.get<int64_t>());
    if (tensor.shape.back() < 0 || tensor.shape.back() > (int64_t(1) << 31) || count > bytes)
      fail(path, name + " has a shape that does not fit the file");
    count *= static_cast<size_t>(tensor.shape.back());
  }
  if (begin > end || end > bytes || end - begin != count * sizeof(float))
    fail(path, name + " lies outside of the file, or has another size than its shape");
  tensor.values.resize(count);
  if (count)
    std::memcpy(tensor.values.data(), data + begin, end - begin);
  return tensor;
}

SafeTensors read_safetensors(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  if (!file)
    fail(path, "cannot be read");
  uint64_t length = 0;
  if (bytes.size() >= 8)
    std::memcpy(&length, bytes.data(), 8);
  if (bytes.size() < 8 || length > bytes.size() - 8)
    fail(path, "is not safetensors: the header is longer than the file");
  const char *text = bytes.data() + 8, *data = text + length;
  SafeTensors content;
  try {
    json header = json::parse(text, data);
    for (const auto &[name, entry] : header.items()) {
      if (name == "__metadata__")
        content.texts = entry.get<std::map<std::string, std::string>>();
      else
        content.tensors[name] = read_tensor(path, name, entry, data, bytes.size() - 8 - length);
    }
  } catch (const json::exception &error) {
    fail(path, std::string("is not safetensors: ") + error.what());
  }
  return content;
}

void write_safetensors(const std::string &path, const SafeTensors &content) {
  json header = {{"__metadata__", content.texts}};
  uint64_t at = 0;
  for (const auto &[name, tensor] : content.tensors) {
    uint64_t size = tensor.values.size() * sizeof(float);
    header[name] = {{"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {at, at + size}}};
    at += size;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' '); // the arrays begin at a multiple of 8
  uint64_t length = text.size();
  std::string unfinished = path + ".unfinished";
  std::ofstream file(unfinished, std::ios::binary);
  file.write(reinterpret_cast<const char *>(&length), 8);
  file.write(text.data(), static_cast<std::streamsize>(length));
  for (const auto &[name, tensor] : content.tensors)
    file.write(reinterpret_cast<const char *>(tensor.values.data()),
               static_cast<std::streamsize>(tensor.values.size() * sizeof(float)));
  file.close();
  if (!file || std::rename(unfinished.c_str(), path.c_str()) != 0) {
    std::remove(unfinished.c_str());
    fail(path, "cannot be written");
  }
}

} // namespace train
