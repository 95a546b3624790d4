// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tensors by name and type, their shapes against each other.

#include "RoutingFolder.h"

#include "codegen/check/GoldenTensors.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <filesystem>

namespace moec {

namespace {

constexpr size_t maxFileBytes = size_t(1) << 30, maxFiles = 10000, maxLabels = 1000, maxLabelName = 64;
constexpr int64_t tokensOfPart = 1 << 14;

int refuse(Session &session, const std::string &path, const std::string &why) {
  return fail(session, "E-ROUTINGS", quoteText(path, 256) + ": " + escaped(why),
              "moec explain --help names what a folder of routings holds");
}

Diagnostic wrong(std::string message) { return Diagnostic::error("E-ROUTINGS", std::move(message)); }

// A list of names, in `text` as JSON.
Result<std::vector<std::string>> parseLabels(const std::string &text) {
  nlohmann::json list = nlohmann::json::parse(text, nullptr, false);
  bool good = list.is_array() && !list.empty() && list.size() <= maxLabels;
  for (size_t i = 0; good && i < list.size(); ++i)
    good = list[i].is_string() && !list[i].get_ref<const std::string &>().empty() &&
           list[i].get_ref<const std::string &>().size() <= maxLabelName;
  if (!good)
    return wrong("labels are a list of 1 to " + std::to_string(maxLabels) + " names of 1 to " +
                 std::to_string(maxLabelName) + " bytes");
  return list.get<std::vector<std::string>>();
}

// The file's own names of labels; the header was parsed before, so its size is right.
Result<> readMetadata(const std::string &bytes, std::vector<std::string> &names) {
  uint64_t headerBytes = 0;
  std::memcpy(&headerBytes, bytes.data(), 8);
  nlohmann::json header = nlohmann::json::parse(bytes.data() + 8, bytes.data() + 8 + headerBytes, nullptr, false);
  auto metadata = header.find("__metadata__");
  if (metadata == header.end() || !metadata->is_object() || !metadata->contains("labels"))
    return {};
  if (!(*metadata)["labels"].is_string())
    return wrong("the metadata's labels must be a text");
  Result<std::vector<std::string>> own = parseLabels((*metadata)["labels"].get<std::string>());
  if (!own)
    return own.takeError();
  if (!names.empty() && names != *own)
    return wrong("the metadata's labels differ from those read before");
  names = *own;
  return {};
}

bool isInteger(DataType type) { return type == DataType::I32 || type == DataType::I64; }

// The tensor, whose rank and kind of type must be these; null: there is no tensor of that name.
Result<const TensorView *> find(const TensorViewMap &tensors, const std::string &name, size_t rank, bool integer) {
  auto found = tensors.find(name);
  const TensorView *out = found == tensors.end() ? nullptr : &found->second;
  if (!out || (out->shape.size() == rank && isInteger(out->type) == integer))
    return out;
  return wrong(name + " must be a tensor of rank " + std::to_string(rank) + (integer ? " of I32 or I64" : " of F32"));
}

// Rows `first` to `first` + `rows` of a table.
template <typename T> std::vector<T> valuesOf(const TensorView *tensor, int64_t first, int64_t rows) {
  std::vector<T> values;
  if (!tensor || !rows)
    return values;
  int64_t columns = tensor->shape.size() > 1 ? tensor->shape[1] : 1;
  for (double value : tensor->values(first * columns, rows * columns)) // an id out of int32 is out of range anyway
    values.push_back(std::is_integral_v<T> ? T(std::clamp(value, -2147483648.0, 2147483647.0)) : T(value));
  return values;
}

Result<> readRecord(const std::string &bytes, int64_t choices, RoutingStats &stats) {
  Result<TensorViewMap> tensors = viewSafetensors(bytes);
  if (!tensors)
    return tensors.takeError();
  struct Wanted {
    const char *name;
    size_t rank;
    bool integer;
  };
  std::vector<const TensorView *> found;
  for (const Wanted &wanted :
       {Wanted{"ids", 2, true}, Wanted{"weights", 2, false}, Wanted{"logits", 2, false}, Wanted{"labels", 1, true}}) {
    Result<const TensorView *> tensor = find(*tensors, wanted.name, wanted.rank, wanted.integer);
    if (!tensor)
      return tensor.takeError();
    found.push_back(*tensor);
  }
  const TensorView *ids = found[0], *weights = found[1], *logits = found[2], *labels = found[3];
  if (!ids)
    return wrong("the file has no tensor ids");
  if (ids->shape[1] != choices)
    return wrong("ids has " + std::to_string(ids->shape[1]) + " choices, the layer has " + std::to_string(choices));
  int64_t tokens = ids->shape[0];
  for (auto [name, tensor] : {std::pair("weights", weights), std::pair("logits", logits), std::pair("labels", labels)})
    if (tensor && tensor->shape[0] != tokens)
      return wrong(std::string(name) + " has " + std::to_string(tensor->shape[0]) + " rows, ids has " +
                   std::to_string(tokens));
  // Part by part, so that the file is the most that is held in memory.
  int64_t first = 0;
  do {
    RoutingRecord part;
    part.tokens = std::min(tokens - first, tokensOfPart);
    part.choices = choices;
    part.ids = valuesOf<int32_t>(ids, first, part.tokens);
    part.weights = valuesOf<float>(weights, first, part.tokens);
    part.logits = valuesOf<float>(logits, first, part.tokens);
    part.labels = valuesOf<int32_t>(labels, first, part.tokens);
    if (Result<> added = stats.add(part); !added)
      return added;
    first += part.tokens;
  } while (first < tokens);
  return {};
}

// Files of the folder in the order of their names.
int listFolder(Session &session, const std::string &folder, std::vector<std::string> &paths) {
  namespace fs = std::filesystem;
  std::error_code status;
  fs::directory_iterator it(folder, status), end;
  for (; !status && it != end && paths.size() <= maxFiles; it.increment(status))
    if (it->path().extension() == ".safetensors")
      paths.push_back(it->path().string());
  if (status)
    return fail(session, "E-FILE", "cannot list " + quoteText(folder, 256) + ": " + status.message());
  if (paths.empty() || paths.size() > maxFiles)
    return refuse(session, folder,
                  paths.empty() ? "it holds no *.safetensors"
                                : "it holds more than " + std::to_string(maxFiles) + " *.safetensors");
  std::sort(paths.begin(), paths.end());
  return ExitDone;
}

} // namespace

int readRoutings(Session &session, const std::string &folder, int64_t choices, RoutingStats &stats,
                 std::vector<std::string> &labelNames) {
  std::vector<std::string> paths;
  std::string namesPath = folder + "/labels.json";
  if (int code = listFolder(session, folder, paths))
    return code;
  std::error_code ignored;
  if (std::filesystem::exists(namesPath, ignored)) {
    Result<std::string> bytes = readGoldenFile(namesPath, size_t(1) << 20);
    if (!bytes)
      return fail(session, "E-FILE", escaped(bytes.error().placedMessage()));
    Result<std::vector<std::string>> names = parseLabels(*bytes);
    if (!names)
      return refuse(session, namesPath, names.error().message);
    labelNames = std::move(*names);
  }
  for (const std::string &path : paths) {
    Result<std::string> bytes = readGoldenFile(path, maxFileBytes);
    if (!bytes)
      return fail(session, "E-FILE", escaped(bytes.error().placedMessage()));
    Result<> read = readRecord(*bytes, choices, stats);
    if (read)
      read = readMetadata(*bytes, labelNames);
    if (!read)
      return refuse(session, path, read.error().message);
  }
  if (!labelNames.empty() && stats.labelTokens.size() > labelNames.size())
    return refuse(session, folder,
                  "label " + std::to_string(stats.labelTokens.size() - 1) + " has no name: there are " +
                      std::to_string(labelNames.size()) + " of them");
  return ExitDone;
}

} // namespace moec
