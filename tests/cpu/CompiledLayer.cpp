// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The public calls of the runtime in their order, every buffer between guard pages.

#include "CompiledLayer.h"

#include "dsl/SpecReader.h"
#include "runtime/float_convert.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

namespace moec {

const std::vector<CpuTarget> &cpuTargets() {
  static const std::vector<CpuTarget> targets = {{"baseline", Isa::Baseline, false},
                                                 {"avx2", Isa::Avx2, false},
                                                 {"avx512", Isa::Avx512, false},
                                                 {"amx_emulated", Isa::Amx, true}};
  return targets;
}

bool machineRuns(const CpuTarget &target) { return target.emulated || moec_cpu_isa() >= int(target.isa); }

void PrintTo(const CpuTarget &target, std::ostream *os) { *os << target.name; }
std::string targetTestName(const testing::TestParamInfo<CpuTarget> &info) { return info.param.name; }

bool CallResult::sameBits(const CallResult &other) const {
  auto same = [](const auto &a, const auto &b) {
    return a.size() == b.size() && (a.empty() || !std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])));
  };
  return same(yBytes, other.yBytes) && same(logits, other.logits) && same(weights, other.weights) &&
         same(ids, other.ids) && same(counts, other.counts);
}

bool CallResult::sameRowBits(const CallResult &other, int64_t token) const {
  auto same = [&](const auto &a, const auto &b, size_t rowsOfA, size_t rowsOfB) {
    size_t row = a.size() / rowsOfA;
    return row == b.size() / rowsOfB && !std::memcmp(&a[token * row], &b[token * row], row * sizeof(a[0]));
  };
  size_t mine = logits.size(), theirs = other.logits.size(), columns = std::max<size_t>(counts.size(), 1);
  mine /= columns, theirs /= columns;
  return same(yBytes, other.yBytes, mine, theirs) && same(ids, other.ids, mine, theirs) &&
         same(weights, other.weights, mine, theirs);
}

static std::string lastError(moec_status status) {
  char text[512];
  moec_last_error(text, sizeof text);
  return std::string(moec_status_name(status)) + ": " + text;
}

static int64_t elements(const Role &role) {
  int64_t size = 1;
  for (int64_t extent : role.shape)
    size *= extent;
  return size;
}

float CompiledLayer::rounded(DataType type, float value) const {
  return type == DataType::BF16 ? moec_f32_of_bf16(moec_bf16_of_f32(value)) : value;
}

std::unique_ptr<CompiledLayer> CompiledLayer::make(const std::string &json, const CpuTarget &target,
                                                   const std::string &schedule) {
  SpecSource source;
  DiagnosticList diagnostics;
  auto read = readSpec(json, "test.json", {}, source, diagnostics);
  if (!read) {
    ADD_FAILURE() << render(diagnostics, false);
    return nullptr;
  }
  std::unique_ptr<CompiledLayer> layer(new CompiledLayer);
  layer->spec = *read;
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 0.5f);
  for (const Role &role : rolesOf(layer->spec)) {
    layer->roles[role.name] = role;
    std::vector<float> values(elements(role));
    for (float &value : values)
      value = normal(random);
    layer->tensors[role.name].resize(values.size());
    layer->set(role.name, values);
  }
  if (!layer->compile(target, schedule) || !layer->createLayers())
    return nullptr;
  layer->pack();
  return layer;
}

bool CompiledLayer::compile(const CpuTarget &target, const std::string &schedule) {
  CompileOptions options;
  options.isas = IsaSet::of(target.isa);
  options.emulateTiles = target.emulated;
  options.maxTokens = 1024;
  options.scheduleText = schedule;
  options.scheduleName = "test.schedule";
  CompileInput input;
  input.spec = &spec;
  std::vector<CompileError> errors;
  package = compileLayer(input, options, errors);
  for (const CompileError &error : errors)
    ADD_FAILURE() << error.code << ": " << error.message;
  std::string error;
  if (package && !(loaded = LoadedPackage::load(*package, error)))
    ADD_FAILURE() << error;
  return package && loaded;
}

bool CompiledLayer::createLayers() {
  for (int threads = 1; threads <= 3; ++threads) {
    moec_layer_options options = {};
    options.struct_size = sizeof options;
    options.max_threads = threads;
    options.spin_us = -1;
    moec_status status = moec_layer_create(loaded->get(), &options, &layers[threads - 1]);
    if (status != MOEC_OK) {
      ADD_FAILURE() << lastError(status);
      return false;
    }
  }
  info.struct_size = sizeof info;
  return moec_layer_get_info(layers[0], &info) == MOEC_OK;
}

CompiledLayer::~CompiledLayer() {
  for (int i = 0; i < 3; ++i) {
    moec_weights_destroy(packed[i]);
    moec_layer_destroy(layers[i]);
  }
}

void CompiledLayer::set(const std::string &role, const std::vector<float> &values) {
  std::vector<float> &tensor = tensors.at(role);
  ASSERT_EQ(values.size(), tensor.size()) << role;
  for (size_t i = 0; i < values.size(); ++i)
    tensor[i] = rounded(spec.dtype.weight, values[i]);
}

void CompiledLayer::fill(const std::string &role, float value) {
  set(role, std::vector<float>(tensors.at(role).size(), value));
}

void CompiledLayer::scale(const std::string &role, float factor) {
  std::vector<float> values = tensors.at(role);
  for (float &value : values)
    value *= factor;
  set(role, values);
}

void CompiledLayer::pack() {
  size_t bytes = 0;
  ASSERT_EQ(moec_layer_weights_bytes(layers[0], &bytes), MOEC_OK);
  for (moec_weights *&weights : packed) {
    moec_weights_destroy(weights);
    weights = nullptr;
  }
  packedBytes = std::make_unique<GuardedBuffer>(bytes, 4096, Edge::Back);
  std::vector<moec_tensor> list;
  for (const auto &[name, role] : roles) {
    moec_tensor tensor = {};
    tensor.role = name.c_str();
    tensor.data = tensors.at(name).data();
    tensor.dtype = MOEC_F32;
    tensor.rank = int32_t(role.shape.size());
    std::copy(role.shape.begin(), role.shape.end(), tensor.dims);
    list.push_back(tensor);
  }
  moec_status status =
      moec_weights_pack(layers[0], list.data(), list.size(), packedBytes->data(), packedBytes->size(), &packed[0]);
  ASSERT_EQ(status, MOEC_OK) << lastError(status);
  packedBytes->makeReadOnly();
  for (int i = 1; i < 3; ++i) {
    status = moec_weights_map(layers[i], packedBytes->data(), packedBytes->size(), &packed[i]);
    ASSERT_EQ(status, MOEC_OK) << lastError(status);
  }
}

std::vector<float> CompiledLayer::randomX(int64_t numTokens, unsigned seed) const {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> x(numTokens * spec.hidden);
  for (float &value : x)
    value = rounded(spec.dtype.activation, normal(random));
  return x;
}

static void storeAs(DataType type, const std::vector<float> &values, void *to) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (type == DataType::BF16)
      static_cast<uint16_t *>(to)[i] = moec_bf16_of_f32(values[i]);
    else
      static_cast<float *>(to)[i] = values[i];
  }
}

static void fillWorkspace(GuardedBuffer &buffer, Workspace how, const std::vector<unsigned char> &previous) {
  buffer.fill(how == Workspace::Nan ? 0x7fc00000u : 0xffffffffu);
  if (how == Workspace::Previous && !previous.empty())
    std::memcpy(buffer.data(), previous.data(), std::min(previous.size(), buffer.size()));
}

CallResult CompiledLayer::run(const std::vector<float> &x, const CallSetup &setup) {
  CallResult result;
  int64_t t = int64_t(x.size()) / spec.hidden;
  moec_layer *layer = layers[setup.threads - 1];
  size_t workspaceBytes = 0;
  moec_layer_workspace_bytes(layer, t, &workspaceBytes);
  size_t xBytes = x.size() * dataTypeBits(spec.dtype.activation) / 8;
  size_t yBytes = x.size() * dataTypeBits(spec.dtype.output) / 8;
  GuardedBuffer in(xBytes, 16, setup.edge), y(yBytes, 16, setup.edge), workspace(workspaceBytes, 256, setup.edge);
  GuardedBuffer logits(t * info.num_logits * 4, 4, setup.edge), weights(t * info.top_k * 4, 4, setup.edge),
      ids(t * info.top_k * 4, 4, setup.edge), counts(info.num_experts * 4, 4, setup.edge);
  storeAs(spec.dtype.activation, x, in.data());
  in.makeReadOnly();
  for (GuardedBuffer *buffer : {&y, &logits, &weights, &ids, &counts})
    buffer->fill(0xffffffffu);
  fillWorkspace(workspace, setup.workspace, lastWorkspace);
  moec_forward_args args = {};
  args.struct_size = sizeof args;
  args.num_tokens = t;
  args.x = in.data(), args.y = y.data();
  args.workspace = workspace.data(), args.workspace_bytes = workspaceBytes;
  if (setup.optional) {
    args.out_logits = logits.as<float>(), args.out_weights = weights.as<float>();
    args.out_ids = ids.as<int32_t>(), args.out_counts = counts.as<int32_t>();
  }
  result.status = moec_layer_forward(layer, packed[setup.threads - 1], &args);
  EXPECT_EQ(result.status, MOEC_OK) << lastError(result.status);
  lastWorkspace.assign(workspace.as<unsigned char>(), workspace.as<unsigned char>() + workspaceBytes);
  result.inBounds = true;
  for (GuardedBuffer *buffer : {&y, &workspace, &logits, &weights, &ids, &counts})
    result.inBounds = result.inBounds && buffer->canariesIntact();
  auto copy = [](auto &to, const GuardedBuffer &from) {
    to.resize(from.size() / sizeof(to[0]));
    if (from.size())
      std::memcpy(to.data(), from.data(), from.size());
  };
  copy(result.yBytes, y), copy(result.logits, logits), copy(result.weights, weights);
  copy(result.ids, ids), copy(result.counts, counts);
  for (size_t i = 0; i < x.size(); ++i)
    result.y.push_back(spec.dtype.output == DataType::BF16 ? moec_f32_of_bf16(y.as<uint16_t>()[i]) : y.as<float>()[i]);
  return result;
}

ReferenceOutputs CompiledLayer::oracle(const std::vector<float> &x) const {
  MemoryWeights weights;
  for (const auto &[name, role] : roles)
    weights.add(role, DataType::F32, tensors.at(name).data());
  ReferenceInputs inputs;
  inputs.numTokens = int64_t(x.size()) / spec.hidden;
  inputs.x = {{inputs.numTokens, spec.hidden}, std::vector<double>(x.begin(), x.end())};
  inputs.weights = &weights;
  ReferenceOutputs out;
  std::string error;
  EXPECT_TRUE(runReference(spec, inputs, out, error)) << error;
  return out;
}

double toleranceOf(const LayerSpec &spec) {
  bool half = spec.dtype.activation == DataType::BF16 || spec.dtype.weight == DataType::BF16;
  return half ? 1e-2 : 2e-5;
}

std::string disagreement(const LayerSpec &spec, const CallResult &actual, const ReferenceOutputs &expected) {
  int64_t h = spec.hidden, k = expected.choices, tokens = int64_t(actual.y.size()) / h, clear = 0;
  CompareOptions options;
  options.maxRel = toleranceOf(spec);
  options.nmse = options.maxRel * options.maxRel;
  bool roundedLogits = spec.dtype.activation == DataType::BF16 && spec.router.logitDType == LogitDType::Activation;
  double margin = roundedLogits ? 2e-2 : 1e-5;
  std::vector<double> y, wantedY, weights, wantedWeights;
  std::vector<int64_t> ids, wantedIds;
  for (int64_t t = 0; t < tokens; ++t) {
    if (!expected.margins.empty() && expected.margins[t] < margin)
      continue;
    ++clear;
    y.insert(y.end(), &actual.y[t * h], &actual.y[t * h] + h);
    wantedY.insert(wantedY.end(), &expected.y[t * h], &expected.y[t * h] + h);
    for (int64_t j = t * k; j < (t + 1) * k && !actual.ids.empty(); ++j) {
      ids.push_back(actual.ids[j]), weights.push_back(actual.weights[j]);
      wantedIds.push_back(expected.ids[j]), wantedWeights.push_back(expected.weights[j]);
    }
  }
  if (2 * clear < tokens)
    return "only " + std::to_string(clear) + " of " + std::to_string(tokens) + " tokens chose clearly";
  if (Comparison c = compareChoices(ids, weights, wantedIds, wantedWeights, k, options); !c.pass)
    return "choices: " + c.text;
  if (Comparison c = compareRows(y, wantedY, h, options); !c.pass)
    return "y: " + c.text;
  return "";
}

} // namespace moec
