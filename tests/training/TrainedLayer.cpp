// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "tests/training/TrainedLayer.h"

#include "dsl/spec/SpecReader.h"

#include <gtest/gtest.h>

#include <cstring>

namespace moec {

std::string smallTrainedSpec(const std::string &more, const std::string &dtype) {
  return R"({"moec": 1, "name": "trained", "dtype": ")" + dtype + R"(", "hidden": 24,
    "router": {"select": {"k": 2}}, "experts": {"count": 5, "intermediate": 20, "bias": {"in": true, "out": true}},
    "losses": [{"kind": "load_balance", "coef": 0.01}, {"kind": "z", "coef": 0.001}],
    "passes": ["forward", "backward"])" +
         more + "}";
}

EditablePass::EditablePass(const moec_package &original)
    : package(original), functions(original.functions, original.functions + original.num_functions),
      blob(original.plan_bytes) {
  std::memcpy(blob.data(), original.plan, original.plan_bytes);
  package.plan = blob.data();
  package.functions = functions.data();
}

moec_step *EditablePass::find(int kind, const std::string &name) {
  for (size_t i = 0; i < header().steps.count; ++i)
    if (step(i).kind == kind && text(step(i).name).find(name) != std::string::npos)
      return &step(i);
  return nullptr;
}

std::unique_ptr<TrainedLayer> TrainedLayer::make(const std::string &json) {
  auto out = std::make_unique<TrainedLayer>();
  SpecSource source;
  DiagnosticList diagnostics;
  std::optional<LayerSpec> spec = readSpec(json, "test.json", {}, source, diagnostics);
  if (!spec) {
    ADD_FAILURE() << diagnostics.all().front().message;
    return nullptr;
  }
  out->spec = *spec;
  CompileOptions options;
  options.isas = IsaSet::of(Isa(std::min<int>(moec_cpu_isa(), int(Isa::Avx512Bf16))));
  options.maxTokens = 64;
  CompileInput input;
  input.spec = &out->spec;
  std::vector<Diagnostic> errors;
  out->compiled = compileLayer(input, options, errors);
  if (!out->compiled || !out->compiled->backward) {
    ADD_FAILURE() << (errors.empty() ? "there is no backward pass" : errors.front().placedMessage());
    return nullptr;
  }
  Result<std::unique_ptr<LoadedPackage>> loaded = LoadedPackage::load(*out->compiled);
  if (!loaded || !out->weights.make(out->spec, 1)) {
    ADD_FAILURE() << (loaded ? "no memory" : loaded.error().message);
    return nullptr;
  }
  out->loaded = std::move(*loaded);
  out->forward = std::make_unique<EditablePass>(*out->loaded->get());
  out->backward = std::make_unique<EditablePass>(*out->loaded->get()->backward);
  out->forward->package.backward = &out->backward->package;
  return out;
}

std::string lastError() {
  char text[512];
  moec_last_error(text, sizeof text);
  return text;
}

BackwardCall::BackwardCall(const TrainedLayer &trained, int64_t tokens, DataType type) {
  layerRun = std::make_unique<LayerRun>(trained.package());
  packed = PageBuffer(size_t(trained.compiled->plan.packedBytes()));
  layerRun->setWeightMemory(packed.data(), packed.size());
  Result<> prepared = layerRun->prepare(1, -1, &trained.weights.tensors);
  EXPECT_TRUE(prepared) << prepared.error().message;
  if (!prepared)
    return;
  layer = layerRun->handle();
  weights = layerRun->weightsHandle();
  const moec_layer_info &info = layerRun->info();
  size_t values = size_t(tokens) * size_t(info.hidden), savedBytes = 0, workspaceBytes = 0, forwardBytes = 0;
  x = PageBuffer(values * 4 + 64), y = PageBuffer(values * 4 + 64), dy = PageBuffer(values * 4 + 64);
  fillNormal(x.data(), DataType(info.x_dtype), int64_t(values), 0, 1, 2);
  fillNormal(dy.data(), DataType(info.y_dtype), int64_t(values), 0, 1, 3);
  EXPECT_EQ(moec_layer_saved_bytes(layer, tokens, 0, &savedBytes), MOEC_OK) << lastError();
  EXPECT_EQ(moec_layer_backward_workspace_bytes(layer, tokens, 0, &workspaceBytes), MOEC_OK) << lastError();
  EXPECT_EQ(moec_layer_workspace_bytes(layer, tokens, &forwardBytes), MOEC_OK);
  saved = PageBuffer(savedBytes + 256);
  workspace = PageBuffer(std::max(workspaceBytes, forwardBytes) + 256);
  forwardArgs = LayerRun::noOptional();
  forwardArgs.num_tokens = tokens;
  forwardArgs.x = x.data(), forwardArgs.y = y.data();
  forwardArgs.workspace = workspace.data(), forwardArgs.workspace_bytes = forwardBytes;
  forwardArgs.saved = saved.data(), forwardArgs.saved_bytes = savedBytes;
  EXPECT_EQ(moec_layer_forward(layer, weights, &forwardArgs), MOEC_OK) << lastError();
  Result<CallGradients> made = CallGradients::make(*layerRun, tokens, {"x"}, type);
  EXPECT_TRUE(made);
  gradients = std::move(*made);
  coefficients.assign(size_t(info.num_losses), 0.5f);
  args.struct_size = sizeof args;
  args.num_tokens = tokens;
  args.x = x.data();
  args.grad_y = dy.data();
  args.grad_losses = coefficients.empty() ? nullptr : coefficients.data();
  args.saved = saved.data(), args.saved_bytes = savedBytes;
  args.workspace = workspace.data(), args.workspace_bytes = workspaceBytes;
  gradients.ask(args);
}

BackwardCall::~BackwardCall() = default;

} // namespace moec
