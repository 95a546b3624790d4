// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The public calls of the runtime in their order, every buffer between guard pages.

#include "CompiledLayer.h"
#include "codegen/emulate/LoadedPackage.h"

#include <algorithm>
#include <cstring>

namespace moec {

const std::vector<CpuTarget> &cpuTargets() {
  static const std::vector<CpuTarget> targets = {{"baseline", Isa::Baseline, false},
                                                 {"avx2", Isa::Avx2, false},
                                                 {"avx512", Isa::Avx512, false},
                                                 {"avx512_bf16", Isa::Avx512Bf16, false},
                                                 {"amx_emulated", Isa::Amx, true}};
  return targets;
}

bool machineRuns(const CpuTarget &target) { return target.emulated || moec_cpu_isa() >= int(target.isa); }

void PrintTo(const CpuTarget &target, std::ostream *os) { *os << target.name; }
std::string targetTestName(const testing::TestParamInfo<CpuTarget> &info) { return info.param.name; }

std::unique_ptr<CompiledLayer> CompiledLayer::make(const std::string &json, const CpuTarget &target,
                                                   const std::string &schedule, int64_t workspaceLimit) {
  std::unique_ptr<CompiledLayer> layer(new CompiledLayer);
  if (!layer->draw(json, "test.json") || !layer->compile(target, schedule, workspaceLimit) || !layer->createLayers())
    return nullptr;
  layer->pack();
  return layer;
}

bool CompiledLayer::compile(const CpuTarget &target, const std::string &schedule, int64_t workspaceLimit) {
  CompileOptions options;
  options.isas = IsaSet::of(target.isa);
  options.emulateTiles = target.emulated;
  options.maxTokens = 1024;
  options.workspaceLimit = workspaceLimit;
  options.scheduleText = schedule;
  options.scheduleName = "test.schedule";
  CompileInput input;
  input.spec = &spec;
  std::vector<Diagnostic> errors;
  package = compileLayer(input, options, errors);
  for (const Diagnostic &error : errors)
    ADD_FAILURE() << error.code << ": " << error.placedMessage();
  if (!package)
    return false;
  auto linked = LoadedPackage::load(*package);
  if (!linked) {
    ADD_FAILURE() << linked.error().message;
    return false;
  }
  loaded = std::move(*linked);
  return true;
}

bool CompiledLayer::createLayers() {
  for (int threads = 1; threads <= 3; ++threads) {
    moec_layer_options options = {};
    options.struct_size = sizeof options;
    options.max_threads = threads;
    moec_status status = moec_layer_create(loaded->get(), &options, &layers[threads - 1]);
    if (status != MOEC_OK) {
      ADD_FAILURE() << lastErrorText(status);
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

void CompiledLayer::pack() {
  size_t bytes = 0;
  ASSERT_EQ(moec_layer_weights_bytes(layers[0], &bytes), MOEC_OK);
  for (moec_weights *&weights : packed) {
    moec_weights_destroy(weights);
    weights = nullptr;
  }
  packedBytes = std::make_unique<GuardedBuffer>(bytes, 4096, Edge::Back);
  std::vector<moec_tensor> list = tensorList();
  moec_status status =
      moec_weights_pack(layers[0], list.data(), list.size(), packedBytes->data(), packedBytes->size(), &packed[0]);
  ASSERT_EQ(status, MOEC_OK) << lastErrorText(status);
  packedBytes->makeReadOnly();
  for (int i = 1; i < 3; ++i) {
    status = moec_weights_map(layers[i], packedBytes->data(), packedBytes->size(), 0, &packed[i]);
    ASSERT_EQ(status, MOEC_OK) << lastErrorText(status);
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
  storeAs(spec.dtype.activation, x.data(), x.size(), in.data());
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
  EXPECT_EQ(result.status, MOEC_OK) << lastErrorText(result.status);
  lastWorkspace.assign(workspace.as<unsigned char>(), workspace.as<unsigned char>() + workspaceBytes);
  result.inBounds = true;
  for (GuardedBuffer *buffer : {&y, &workspace, &logits, &weights, &ids, &counts})
    result.inBounds = result.inBounds && buffer->canariesIntact();
  result.copy(y, logits, weights, ids, counts);
  result.widenY(spec.dtype.output);
  return result;
}

} // namespace moec
