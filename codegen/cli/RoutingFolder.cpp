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

int refuse(Session &session, const std::string &path, const std::string &why) {
  return fail(session, "E-ROUTINGS", quoteText(path, 256) + ": " + escaped(why),
              "moec explain --help names what a folder of routings holds");
}

// A list of names, in `text` as JSON. False: `error`.
bool parseLabels(const std::string &text, std::vector<std::string> &names, std::string &error) {
  nlohmann::json list = nlohmann::json::parse(text, nullptr, false);
  bool good = list.is_array() && !list.empty() && list.size() <= maxLabels;
  for (size_t i = 0; good && i < list.size(); ++i)
    good = list[i].is_string() && !list[i].get_ref<const std::string &>().empty() &&
           list[i].get_ref<const std::string &>().size() <= maxLabelName;
  if (!good) {
    error = "labels are a list of 1 to " + std::to_string(maxLabels) + " names of 1 to " +
            std::to_string(maxLabelName) + " bytes";
    return false;
  }
  names = list.get<std::vector<std::string>>();
  return true;
}

// The file's own names of labels; the header was parsed before, so its size is right.
bool readMetadata(const std::string &bytes, std::vector<std::string> &names, std::string &error) {
  uint64_t headerBytes = 0;
  std::memcpy(&headerBytes, bytes.data(), 8);
  nlohmann::json header = nlohmann::json::parse(bytes.data() + 8, bytes.data() + 8 + headerBytes, nullptr, false);
  auto metadata = header.find("__metadata__");
  if (metadata == header.end() || !metadata->is_object() || !metadata->contains("labels"))
    return true;
  std::vector<std::string> own;
  if (!(*metadata)["labels"].is_string() || !parseLabels((*metadata)["labels"].get<std::string>(), own, error)) {
    error = error.empty() ? "the metadata's labels must be a text" : error;
    return false;
  }
  if (!names.empty() && names != own) {
    error = "the metadata's labels differ from those read before";
    return false;
  }
  names = own;
  return true;
}

bool isInteger(DataType type) { return type == DataType::I32 || type == DataType::I64; }

// The tensor, whose rank and kind of type must be these. False: `error`; a tensor that is not there is none.
bool take(const GoldenTensorMap &tensors, const std::string &name, size_t rank, bool integer, const GoldenTensor *&out,
          std::string &error) {
  auto found = tensors.find(name);
  out = found == tensors.end() ? nullptr : &found->second;
  if (!out || (out->shape.size() == rank && isInteger(out->type) == integer))
    return true;
  error = name + " must be a tensor of rank " + std::to_string(rank) + (integer ? " of I32 or I64" : " of F32");
  return false;
}

template <typename T> std::vector<T> valuesOf(const GoldenTensor *tensor) {
  std::vector<T> values;
  for (double value : tensor ? tensor->values() : std::vector<double>()) // an id out of int32 is out of range anyway
    values.push_back(std::is_integral_v<T> ? T(std::clamp(value, -2147483648.0, 2147483647.0)) : T(value));
  return values;
}

bool readRecord(const std::string &bytes, int64_t choices, RoutingStats &stats, std::string &error) {
  GoldenTensorMap tensors;
  const GoldenTensor *ids, *weights, *logits, *labels;
  if (!parseSafetensors(bytes, tensors, error) || !take(tensors, "ids", 2, true, ids, error) ||
      !take(tensors, "weights", 2, false, weights, error) || !take(tensors, "logits", 2, false, logits, error) ||
      !take(tensors, "labels", 1, true, labels, error))
    return false;
  RoutingRecord record;
  if (!ids || ids->shape[1] != choices) {
    error = !ids ? "the file has no tensor ids"
                 : "ids has " + std::to_string(ids->shape[1]) + " choices, the layer has " + std::to_string(choices);
    return false;
  }
  record.tokens = ids->shape[0];
  record.choices = choices;
  for (auto [name, tensor] : {std::pair("weights", weights), std::pair("logits", logits), std::pair("labels", labels)})
    if (tensor && tensor->shape[0] != record.tokens) {
      error = std::string(name) + " has " + std::to_string(tensor->shape[0]) + " rows, ids has " +
              std::to_string(record.tokens);
      return false;
    }
  record.ids = valuesOf<int32_t>(ids);
  record.weights = valuesOf<float>(weights);
  record.logits = valuesOf<float>(logits);
  record.labels = valuesOf<int32_t>(labels);
  return stats.add(record, error);
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
  std::string bytes, error, namesPath = folder + "/labels.json";
  if (int code = listFolder(session, folder, paths))
    return code;
  std::error_code ignored;
  if (std::filesystem::exists(namesPath, ignored)) {
    if (!readGoldenFile(namesPath, size_t(1) << 20, bytes, error))
      return fail(session, "E-FILE", escaped(error));
    if (!parseLabels(bytes, labelNames, error))
      return refuse(session, namesPath, error);
  }
  for (const std::string &path : paths) {
    if (!readGoldenFile(path, maxFileBytes, bytes, error))
      return fail(session, "E-FILE", escaped(error));
    if (!readRecord(bytes, choices, stats, error) || !readMetadata(bytes, labelNames, error))
      return refuse(session, path, error);
  }
  if (!labelNames.empty() && stats.labelTokens.size() > labelNames.size())
    return refuse(session, folder,
                  "label " + std::to_string(stats.labelTokens.size() - 1) + " has no name: there are " +
                      std::to_string(labelNames.size()) + " of them");
  return ExitDone;
}

} // namespace moec
