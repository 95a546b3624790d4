// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reading of golden tensors, apart from the runtime's reader on purpose: the two check each other.
//
//   safetensors   | u64 n | n bytes of JSON: {"name": {"dtype", "shape", "data_offsets": [begin, end]}} | data |

#include "codegen/check/GoldenTensors.h"

#include "dsl/text/SourceText.h"

#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace moec {

namespace {

std::optional<DataType> storedType(const std::string &name) {
  static const std::map<std::string, DataType> names = {{"F32", DataType::F32}, {"F64", DataType::F64},
                                                        {"F16", DataType::F16}, {"BF16", DataType::BF16},
                                                        {"I32", DataType::I32}, {"I64", DataType::I64}};
  auto it = names.find(name);
  return it == names.end() ? std::nullopt : std::optional<DataType>(it->second);
}

// A list of numbers from 0 to 2^62.
bool readNumbers(const nlohmann::json &list, std::vector<int64_t> &out) {
  if (!list.is_array() || list.size() > 8)
    return false;
  for (const auto &item : list) {
    if (!item.is_number_unsigned() || item.get<uint64_t>() > (uint64_t(1) << 62))
      return false;
    out.push_back(item.get<int64_t>());
  }
  return true;
}

// Bytes of a tensor of this shape, or -1 where they exceed `limit`.
int64_t bytesOf(const std::vector<int64_t> &shape, int64_t elementBytes, int64_t limit) {
  int64_t bytes = elementBytes;
  for (int64_t extent : shape) {
    if (extent != 0 && bytes > limit / extent)
      return -1;
    bytes *= extent;
  }
  return bytes;
}

Diagnostic wrong(std::string message) { return Diagnostic::error("E-GOLDEN", std::move(message)); }

// The message of an error goes on after the tensor's name.
Result<TensorView> viewTensor(const nlohmann::json &entry, std::string_view data) {
  TensorView out;
  int64_t dataBytes = int64_t(data.size());
  auto field = [&](const char *key) {
    return entry.is_object() && entry.contains(key) ? entry[key] : nlohmann::json();
  };
  nlohmann::json dtype = field("dtype");
  auto type = dtype.is_string() ? storedType(dtype.get<std::string>()) : std::nullopt;
  if (!type)
    return wrong("has dtype " + (dtype.is_string() ? quoteText(dtype.get<std::string>()) : "missing") +
                 "; expected F32, F64, F16, BF16, I32 or I64");
  std::vector<int64_t> offsets;
  if (!readNumbers(field("shape"), out.shape) || !readNumbers(field("data_offsets"), offsets) || offsets.size() != 2)
    return wrong("needs shape, a list of at most 8 sizes, and data_offsets, two numbers");
  if (offsets[0] > offsets[1] || offsets[1] > dataBytes)
    return wrong("has data_offsets " + shapeText(offsets) + " outside the " + std::to_string(dataBytes) +
                 " bytes of data");
  out.type = *type;
  if (bytesOf(out.shape, dataTypeBits(*type) / 8, dataBytes) != offsets[1] - offsets[0])
    return wrong("has shape " + shapeText(out.shape) + " but " + std::to_string(offsets[1] - offsets[0]) + " bytes");
  out.bytes = data.substr(size_t(offsets[0]), size_t(offsets[1] - offsets[0]));
  return out;
}

} // namespace

Result<std::string> readGoldenFile(const std::string &path, size_t limit) {
  auto unusable = [&](std::string why) {
    Diagnostic error = Diagnostic::error("E-FILE", std::move(why));
    error.file = path;
    return error;
  };
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe without a writer must not block
  if (fd < 0)
    return unusable(std::string("cannot be read: ") + std::strerror(errno));
  struct stat info;
  std::string bytes;
  int number = fstat(fd, &info) != 0 ? errno : 0;
  bool regular = !number && S_ISREG(info.st_mode);
  bool fits = regular && uint64_t(info.st_size) <= limit;
  if (fits)
    bytes.resize(size_t(info.st_size));
  for (size_t done = 0; !number && done < bytes.size();) {
    ssize_t n = read(fd, bytes.data() + done, bytes.size() - done);
    if (n > 0)
      done += size_t(n);
    else if (n == 0) // it became shorter
      bytes.resize(done);
    else if (errno != EINTR)
      number = errno;
  }
  close(fd);
  if (number)
    return unusable(std::string("cannot be read: ") + std::strerror(number));
  if (!regular)
    return unusable("is not a regular file");
  if (!fits)
    return unusable("has " + std::to_string(info.st_size) + " bytes; at most " + std::to_string(limit) + " are read");
  return bytes;
}

Result<TensorViewMap> viewSafetensors(std::string_view bytes) {
  uint64_t headerBytes = 0;
  if (bytes.size() >= 8)
    std::memcpy(&headerBytes, bytes.data(), 8); // little-endian, as every target of this project
  if (bytes.size() < 8 || headerBytes > bytes.size() - 8)
    return wrong("the header does not fit into the " + std::to_string(bytes.size()) + " bytes of the file");
  std::string_view text = bytes.substr(8, headerBytes), data = bytes.substr(8 + headerBytes);
  nlohmann::json header = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  if (!header.is_object())
    return wrong("the header is not a JSON object");
  TensorViewMap out;
  size_t total = 0;
  for (const auto &[name, entry] : header.items()) {
    if (name == "__metadata__")
      continue;
    Result<TensorView> tensor = viewTensor(entry, data);
    if (!tensor)
      return wrong("tensor " + quoteText(name) + " " + tensor.error().message);
    // NOTE: tensors that share bytes would let a small file ask for any amount of memory.
    total += tensor->bytes.size();
    if (total > data.size())
      return wrong("tensors overlap: together they are larger than the " + std::to_string(data.size()) +
                   " bytes of data");
    out[name] = std::move(*tensor);
  }
  return out;
}

Result<GoldenTensorMap> parseSafetensors(const std::string &bytes) {
  Result<TensorViewMap> views = viewSafetensors(bytes);
  if (!views)
    return views.takeError();
  GoldenTensorMap out;
  for (const auto &[name, view] : *views)
    out[name] = {view.type, view.shape, {view.bytes.begin(), view.bytes.end()}};
  return out;
}

static std::vector<double> decode(DataType type, const void *bytes, size_t count) {
  std::vector<double> out(count);
  if (type == DataType::I64) {
    for (size_t i = 0; i < count; ++i) {
      int64_t value;
      std::memcpy(&value, static_cast<const char *>(bytes) + i * 8, 8);
      out[i] = double(value);
    }
    return out;
  }
  MatrixView{bytes, type, 1, int64_t(count), int64_t(count), 1}.row(0, out.data());
  return out;
}

std::vector<double> TensorView::values(int64_t first, int64_t count) const {
  return decode(type, bytes.data() + size_t(first) * size_t(dataTypeBits(type) / 8), size_t(count));
}

std::vector<double> GoldenTensor::values() const { return decode(type, bytes.data(), size_t(numElements())); }

namespace {

std::vector<int64_t> squeezed(std::vector<int64_t> shape) {
  while (shape.size() > 1 && shape[0] == 1)
    shape.erase(shape.begin());
  return shape;
}

// How one role lies in storage: `count` matrices [stored, in] (or [in, stored]), of whose rows some are the role's.
struct RoleStorage {
  int64_t count, out, in, stored;
  bool inOut, perExpert, interleaved;
  PartKind part;

  RoleStorage(const Role &role, const WeightStorage &storage) {
    size_t own = role.matrix ? 2 : 1;
    count = role.shape.size() > own ? role.shape[0] : 1;
    out = role.shape[role.shape.size() - own];
    in = role.matrix ? role.shape.back() : 1;
    part = storage.part;
    stored = part == PartKind::All ? out : 2 * out;
    inOut = role.matrix && storage.axes == AxesKind::InOut;
    perExpert = role.expertAxis && storage.stack == StackKind::PerExpert;
    interleaved = storage.stack == StackKind::InterleavedColumns;
  }
  // Row of the stored matrix that is row o of the role.
  int64_t row(int64_t o) const {
    switch (part) {
    case PartKind::All:
    case PartKind::FirstHalf:
      return o;
    case PartKind::SecondHalf:
      return out + o;
    case PartKind::Even:
      return 2 * o;
    case PartKind::Odd:
      return 2 * o + 1;
    }
    return o;
  }
  // Where element (o, i) of expert e is in its tensor; interleaved columns have the expert fastest.
  int64_t place(int64_t e, int64_t o, int64_t i) const {
    int64_t wide = interleaved ? in * count : in, column = interleaved ? i * count + e : i;
    int64_t base = perExpert || interleaved ? 0 : e * stored * in;
    return base + (inOut ? column * stored + row(o) : row(o) * wide + column);
  }
  // Shape of one stored tensor; flat_rows joins the experts' rows.
  std::vector<int64_t> shape(const Role &role, const WeightStorage &storage) const {
    std::vector<int64_t> one = inOut ? std::vector<int64_t>{in, stored} : std::vector<int64_t>{stored, in};
    if (!role.matrix)
      one = {stored};
    if (storage.stack == StackKind::FlatRows)
      one[0] *= count;
    else if (interleaved)
      one[inOut ? 0 : 1] *= count;
    else if (!perExpert && role.shape.size() > one.size())
      one.insert(one.begin(), count);
    return one;
  }
};

// Halves of a vector may be the rows of a tensor [2, out].
std::vector<int64_t> halvesJoined(std::vector<int64_t> shape, const Role &role, PartKind part) {
  bool half = part == PartKind::FirstHalf || part == PartKind::SecondHalf;
  if (half && !role.matrix && shape.size() == 2 && shape[0] == 2)
    return {2 * shape[1]};
  return shape;
}

Result<const GoldenTensor *> findStored(const std::string &name, const std::vector<int64_t> &shape, const Role &role,
                                        PartKind part, const GoldenTensorMap &tensors) {
  auto it = tensors.find(name);
  std::string found = it == tensors.end() ? "missing" : shapeText(it->second.shape);
  if (it == tensors.end() || halvesJoined(squeezed(it->second.shape), role, part) != squeezed(shape))
    return wrong("tensor " + quoteText(name) + " for " + role.name + " is " + found + "; expected " + shapeText(shape));
  return &it->second;
}

} // namespace

Result<GoldenTensor> assembleRole(const Role &role, const WeightStorage &storage, const std::string &prefix,
                                  const GoldenTensorMap &tensors) {
  RoleStorage lay(role, storage);
  std::vector<int64_t> shape = lay.shape(role, storage);
  GoldenTensor out;
  out.shape = role.shape;
  for (int64_t e = 0; e < lay.count; ++e) {
    std::string name = prefix + storage.tensor;
    if (lay.perExpert) {
      size_t brace = name.find("{e}");
      if (brace == std::string::npos)
        return wrong("storage of " + role.name + " is per_expert but its tensor " + quoteText(name) + " has no {e}");
      name.replace(brace, 3, std::to_string(e));
    }
    Result<const GoldenTensor *> found = findStored(name, shape, role, storage.part, tensors);
    if (!found)
      return found.takeError();
    const GoldenTensor *source = *found;
    if (e != 0 && source->type != out.type)
      return wrong("tensor " + quoteText(name) + " is of another type than the first expert's");
    out.type = source->type;
    int64_t bytes = dataTypeBits(out.type) / 8;
    out.bytes.resize((e + 1) * lay.out * lay.in * bytes);
    for (int64_t o = 0; o < lay.out; ++o)
      for (int64_t i = 0; i < lay.in; ++i) {
        int64_t from = lay.place(e, o, i);
        std::memcpy(&out.bytes[((e * lay.out + o) * lay.in + i) * bytes], &source->bytes[from * bytes], bytes);
      }
  }
  return out;
}

} // namespace moec
