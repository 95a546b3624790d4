// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Element by element: row r of a part is row r, out + r, 2 r or 2 r + 1 of what is stored.

#include "CheckpointFile.h"

#include <nlohmann/json.hpp>

#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

namespace moec {

namespace {

struct Storage {
  std::string role, tensor;
  std::set<std::string> words;

  explicit Storage(const std::string &line) {
    std::istringstream text(line);
    text >> role >> tensor;
    for (std::string word; text >> word;)
      words.insert(word);
  }
  bool is(const char *word) const { return words.count(word) > 0; }
  bool isPart() const { return is("first_half") || is("second_half") || is("even") || is("odd"); }
  int64_t storedRow(int64_t row, int64_t rows) const {
    return is("second_half") ? rows + row : is("even") ? 2 * row : is("odd") ? 2 * row + 1 : row;
  }
};

std::string safetensorsType(DataType type) {
  switch (type) {
  case DataType::BF16:
    return "BF16";
  case DataType::F16:
    return "F16";
  case DataType::I32:
    return "I32";
  case DataType::I64:
    return "I64";
  default:
    return "F32";
  }
}

// The tensor of this name, made when it is not there.
GoldenTensor &tensorOf(std::map<std::string, GoldenTensor> &tensors, const std::string &name, DataType type,
                       std::vector<int64_t> shape) {
  GoldenTensor &tensor = tensors[name];
  if (tensor.bytes.empty()) {
    size_t bytes = size_t(dataTypeBits(type) / 8);
    for (int64_t extent : shape)
      bytes *= size_t(extent);
    tensor.type = type;
    tensor.shape = std::move(shape);
    tensor.bytes.resize(bytes);
  }
  return tensor;
}

} // namespace

void CheckpointFile::store(const std::string &prefix, const std::string &line, const GoldenTensor &parameter,
                           bool hasExperts) {
  Storage storage(line);
  std::vector<int64_t> shape = parameter.shape;
  int64_t experts = hasExperts ? shape.front() : 1;
  bool matrix = shape.size() > size_t(hasExperts) + 1;
  int64_t rows = shape[size_t(hasExperts)], columns = matrix ? shape.back() : 1,
          size = dataTypeBits(parameter.type) / 8;
  int64_t storedRows = storage.isPart() ? 2 * rows : rows;
  bool perExpert = storage.is("per_expert"), swapped = storage.is("in_out");
  std::vector<int64_t> one = {storedRows};
  if (matrix)
    one = swapped ? std::vector<int64_t>{columns, storedRows} : std::vector<int64_t>{storedRows, columns};
  std::vector<int64_t> all = one;
  bool mixed = storage.is("interleaved_columns");
  if (storage.is("flat_rows"))
    all.front() *= experts;
  else if (mixed)
    all[swapped ? 0 : 1] *= experts;
  else if (hasExperts && !perExpert)
    all.insert(all.begin(), experts);
  for (int64_t e = 0; e < experts; ++e) {
    std::string name = prefix + storage.tensor;
    if (size_t at = name.find("{e}"); at != std::string::npos)
      name.replace(at, 3, std::to_string(e));
    GoldenTensor &tensor = tensorOf(tensors, name, parameter.type, perExpert ? one : all);
    int64_t base = perExpert ? 0 : e * storedRows * columns;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c) {
        int64_t row = storage.storedRow(r, rows), to = base + (swapped ? c * storedRows + row : row * columns + c);
        if (mixed) // column c of expert e is one of E beside each other
          to = swapped ? (c * experts + e) * storedRows + row : (row * columns + c) * experts + e;
        std::memcpy(&tensor.bytes[size_t(to * size)], &parameter.bytes[size_t(((e * rows + r) * columns + c) * size)],
                    size_t(size));
      }
  }
}

void CheckpointFile::write(const std::string &path) const {
  nlohmann::ordered_json header;
  size_t at = 0;
  for (const auto &[name, tensor] : tensors) {
    header[name] = {{"dtype", safetensorsType(tensor.type)},
                    {"shape", tensor.shape},
                    {"data_offsets", {at, at + tensor.bytes.size()}}};
    at += tensor.bytes.size();
  }
  std::string text = header.dump();
  uint64_t bytes = text.size();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char *>(&bytes), 8);
  file << text;
  for (const auto &[name, tensor] : tensors)
    file.write(reinterpret_cast<const char *>(tensor.bytes.data()), std::streamsize(tensor.bytes.size()));
}

} // namespace moec
