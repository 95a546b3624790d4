// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Golden cases: the JSON beside the tensors, and which tensor is what.

#include "codegen/check/GoldenCase.h"

#include "codegen/check/GoldenTensors.h"
#include "dsl/Reports.h"
#include "dsl/spec/SpecReader.h"
#include "dsl/text/SourceText.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>

namespace moec {

namespace {

constexpr size_t maxJsonBytes = size_t(1) << 20, maxTensorBytes = size_t(1) << 28;
constexpr size_t maxBatches = 64;
constexpr int64_t maxTokens = int64_t(1) << 20;

Diagnostic wrong(std::string message) { return Diagnostic::error("E-GOLDEN", std::move(message)); }

Diagnostic inFile(Diagnostic error, const std::string &path) {
  error.file = path;
  return error;
}

Result<> readMeta(const nlohmann::json &root, GoldenCase &out) {
  if (!root.is_object() || !root.contains("spec") || !root.contains("batches") || !root["batches"].is_array())
    return wrong("a golden case is a JSON object with 'spec' and a list 'batches'");
  std::string dtype = root.contains("dtype") && root["dtype"].is_string() ? root["dtype"].get<std::string>() : "f32";
  auto type = parseDataType(dtype);
  if (!type || !isReferenceType(*type))
    return wrong("dtype is " + quoteText(dtype) + "; expected f32, bf16 or f16");
  out.dtype = *type;
  if (root.contains("tolerance") && root["tolerance"].is_object() && root["tolerance"].contains("y_rel") &&
      root["tolerance"]["y_rel"].is_number())
    out.tolerance = root["tolerance"]["y_rel"].get<double>();
  if (out.tolerance && !(*out.tolerance >= 0 && std::isfinite(*out.tolerance)))
    return wrong("tolerance.y_rel must be a number from 0");
  if (root.contains("gradients") && root["gradients"].is_object() && root["gradients"].contains("batch") &&
      root["gradients"]["batch"].is_number_integer())
    out.lossBatch = root["gradients"]["batch"].get<int64_t>();
  if (root.contains("loss_coef") && root["loss_coef"].is_number())
    out.lossCoef = root["loss_coef"].get<double>();
  out.specText = root["spec"].dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
  return {};
}

Result<> readSpecOf(const std::string &path, GoldenCase &out) {
  ReadOptions options;
  options.defaultName = out.name;
  options.dtype = std::string(dataTypeName(out.dtype));
  options.reports = allReports();
  SpecSource source;
  DiagnosticList diagnostics;
  auto spec = readSpec(out.specText, path + " (spec)", options, source, diagnostics);
  if (!spec)
    return wrong(render(diagnostics, false));
  out.spec = std::move(*spec);
  return {};
}

Result<> readBatches(const nlohmann::json &list, const GoldenTensorMap &tensors, GoldenCase &out) {
  auto number = [](const nlohmann::json &entry, const char *key) {
    bool good = entry.is_object() && entry.contains(key) && entry[key].is_number_unsigned() &&
                entry[key].get<uint64_t>() <= uint64_t(maxTokens);
    return good ? entry[key].get<int64_t>() : -1;
  };
  if (list.empty() || list.size() > maxBatches)
    return wrong("found " + std::to_string(list.size()) + " batches; expected 1 to " + std::to_string(maxBatches));
  for (const auto &entry : list) {
    GoldenBatch batch;
    batch.index = number(entry, "index");
    batch.batch = number(entry, "batch");
    batch.tokensPerSequence = number(entry, "tokens_per_sequence");
    if (batch.index < 0 || batch.batch < 0 || batch.tokensPerSequence < 0 || batch.numTokens() > maxTokens)
      return wrong("a batch needs index, batch and tokens_per_sequence, with at most " + std::to_string(maxTokens) +
                   " tokens");
    std::string prefix = "b" + std::to_string(batch.index) + ".";
    for (auto it = tensors.lower_bound(prefix); it != tensors.end() && it->first.compare(0, prefix.size(), prefix) == 0;
         ++it)
      batch.tensors[it->first.substr(prefix.size())] = it->second;
    for (const char *name : {"x", "y"}) {
      const GoldenTensor *tensor = batch.find(name);
      int64_t expected = batch.numTokens() * out.spec.hidden;
      if (tensor && tensor->numElements() == expected)
        continue;
      return wrong("tensor '" + prefix + name + "' " +
                   (tensor ? "has " + std::to_string(tensor->numElements()) + " elements" : "is missing") +
                   "; expected " + std::to_string(batch.numTokens()) + " tokens of " + std::to_string(out.spec.hidden));
    }
    out.batches.push_back(std::move(batch));
  }
  return {};
}

// One expert's own tensor.
WeightStorage ofExpert(WeightStorage storage, int64_t expert) {
  for (size_t at = storage.tensor.find("{e}"); at != std::string::npos; at = storage.tensor.find("{e}", at))
    storage.tensor.replace(at, 3, std::to_string(expert));
  storage.stack = StackKind::Single;
  return storage;
}

// Where a role's tensor lies, and one expert's own.
WeightStorage storageOf(const LayerSpec &spec, const Role &role) {
  auto named = spec.weights.find(role.expert < 0 ? role.name : role.stackedName);
  WeightStorage storage = named == spec.weights.end() ? WeightStorage{role.name, {}} : named->second;
  return role.expert >= 0 ? ofExpert(storage, role.expert) : storage;
}

// Cases made from formulas keep two parameters with their batch: b0.choice_bias and b0.table.
Result<> readWeights(const GoldenTensorMap &tensors, GoldenCase &out) {
  for (Role role : tensorsOf(out.spec)) {
    WeightStorage storage = storageOf(out.spec, role);
    std::string prefix = "w.";
    bool beside = role.name == "router.choice_bias" || role.name == "router.table";
    std::string last = role.name.substr(role.name.find('.') + 1);
    if (beside && !tensors.count(prefix + storage.tensor) && tensors.count("b0." + last)) {
      prefix = "b0.";
      storage.tensor = last;
    }
    auto stored = tensors.find(prefix + storage.tensor);
    if (role.name == "router.table" && stored != tensors.end() && !stored->second.shape.empty())
      role.shape[0] = stored->second.shape[0];
    if (*std::min_element(role.shape.begin(), role.shape.end()) < 0)
      return wrong(role.name + " has no size");
    Result<GoldenTensor> assembled = assembleRole(role, storage, prefix, tensors);
    if (!assembled)
      return assembled.takeError();
    out.weights[role.name] = std::move(*assembled);
  }
  return {};
}

// Parameters that training leaves alone have none.
Result<> readGradients(const GoldenTensorMap &tensors, GoldenCase &out) {
  auto dy = tensors.find("g.dy"), x = tensors.find("g.x");
  if (dy == tensors.end() || x == tensors.end())
    return {};
  out.dy = dy->second;
  out.gradients["x"] = x->second;
  for (const Role &role : tensorsOf(out.spec)) {
    WeightStorage storage = storageOf(out.spec, role);
    std::string prefix = "g.w.", first = ofExpert(storage, 0).tensor;
    if (!tensors.count(prefix + first))
      continue;
    Result<GoldenTensor> assembled = assembleRole(role, storage, prefix, tensors);
    if (!assembled)
      return assembled.takeError();
    out.gradients[role.name] = std::move(*assembled);
  }
  return {};
}

} // namespace

const GoldenTensor *GoldenBatch::find(const std::string &name) const {
  auto it = tensors.find(name);
  return it == tensors.end() ? nullptr : &it->second;
}

std::optional<double> GoldenCase::lossOf(size_t index, int64_t batch) const {
  const LossSpec &loss = spec.losses[index];
  std::string name = loss.kind;
  if (loss.kind == "cv2")
    name += loss.is("of", "load") ? "_load" : loss.is("of", "counts") ? "_counts" : "_importance";
  auto found = losses.find(name);
  return found == losses.end() || batch != lossBatch ? std::nullopt : std::optional<double>(found->second);
}

MemoryWeights GoldenCase::view() const {
  MemoryWeights view;
  if (weights.empty())
    return view; // nothing was read: the spec may not be valid
  for (Role role : tensorsOf(spec)) {
    auto it = weights.find(role.name);
    if (it == weights.end())
      continue;
    role.shape = it->second.shape;
    view.add(role, it->second.type, it->second.bytes.data());
  }
  return view;
}

Result<std::vector<std::string>> listGoldenCases(const std::string &folder) {
  namespace fs = std::filesystem;
  std::error_code status;
  fs::directory_iterator it(folder, status), end;
  std::vector<std::string> names;
  while (!status && it != end) {
    fs::path path = it->path();
    std::error_code ignored;
    if (path.extension() == ".json" && fs::is_regular_file(fs::path(path).replace_extension(".safetensors"), ignored))
      names.push_back(path.stem().string());
    it.increment(status);
  }
  if (status)
    return inFile(Diagnostic::error("E-FILE", "cannot be listed: " + status.message()), folder);
  std::sort(names.begin(), names.end());
  return names;
}

Result<GoldenCase> readGoldenCase(const std::string &folder, const std::string &name) {
  GoldenCase out;
  out.name = name;
  std::string jsonPath = folder + "/" + name + ".json", tensorPath = folder + "/" + name + ".safetensors";
  Result<std::string> text = readGoldenFile(jsonPath, maxJsonBytes);
  if (!text)
    return text.takeError();
  nlohmann::json root = nlohmann::json::parse(*text, nullptr, false);
  if (Result<> meta = readMeta(root, out); !meta)
    return inFile(meta.takeError(), jsonPath);
  if (Result<> spec = readSpecOf(jsonPath, out); !spec)
    return spec.takeError();
  Result<std::string> bytes = readGoldenFile(tensorPath, maxTensorBytes);
  if (!bytes)
    return bytes.takeError();
  Result<GoldenTensorMap> tensors = parseSafetensors(*bytes);
  if (!tensors)
    return inFile(tensors.takeError(), tensorPath);
  for (const auto &[key, tensor] : *tensors)
    if (key.rfind("g.loss.", 0) == 0 && tensor.numElements() == 1)
      out.losses[key.substr(7)] = tensor.values()[0];
  Result<> rest = readBatches(root["batches"], *tensors, out);
  if (rest)
    rest = readWeights(*tensors, out);
  if (rest)
    rest = readGradients(*tensors, out);
  if (!rest)
    return inFile(rest.takeError(), tensorPath);
  return out;
}

ReferenceInputs referenceInputs(const GoldenCase &golden, const GoldenBatch &batch, const ReferenceWeights &weights) {
  ReferenceInputs inputs;
  inputs.numTokens = batch.numTokens();
  inputs.batch = batch.batch;
  inputs.tokensPerSequence = batch.tokensPerSequence;
  inputs.weights = &weights;
  inputs.x = {batch.tensors.at("x").shape, batch.tensors.at("x").values()};
  for (const char *name :
       {"residual", "jitter", "noise", "uniform", "token_ids", "expert_ids", "expert_weights", "group_ids", "replace",
        "replace_ids", "priority", "capacity", "top_k", "hidden_mask", "output_mask", "expert_mask", "midpoint_mask"})
    if (const GoldenTensor *tensor = batch.find(name))
      inputs.extra[name] = {tensor->shape, tensor->values()};
  for (const char *name : {"noise", "jitter", "replace", "hidden_mask", "output_mask", "expert_mask", "midpoint_mask"})
    inputs.training |= batch.find(name) != nullptr;
  return inputs;
}

} // namespace moec
