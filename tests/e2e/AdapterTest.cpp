// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An adapter of fused experts as PEFT stores it, in a file beside its base, through moec check, moec compile, moec pack
// and moec_weights_load_sources -> the reference's outputs with the adapter's factors multiplied in.

#include "CheckpointFile.h"

#include "codegen/check/LayerRun.h"
#include "codegen/check/OracleCheck.h"
#include "codegen/check/OutputCheck.h"
#include "codegen/check/RandomSpec.h"
#include "dsl/spec/SpecReader.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <sstream>

using namespace moec;

namespace {

const char spec[] = R"({
  "moec": 1, "name": "layer", "hidden": 24,
  "router": { "top_k": 2, "normalize": { "kind": "sum" } },
  "experts": { "count": 6, "intermediate": 20, "lora": { "rank": 4, "alpha": 8, "at": "per_matrix" } },
  "weights": {
    "router.weight": { "tensor": "gate.weight" },
    "experts.gate": { "tensor": "experts.gate_up_proj", "part": "first_half" },
    "experts.up": { "tensor": "experts.gate_up_proj", "part": "second_half" },
    "experts.down": { "tensor": "experts.down_proj" },
    "experts.gate_lora_a": { "tensor": "gate_up.lora_A.weight", "stack": "flat_rows" },
    "experts.up_lora_a": { "tensor": "gate_up.lora_A.weight", "stack": "flat_rows" },
    "experts.gate_lora_b": { "tensor": "gate_up.lora_B.weight", "stack": "interleaved_columns", "part": "first_half" },
    "experts.up_lora_b": { "tensor": "gate_up.lora_B.weight", "stack": "interleaved_columns", "part": "second_half" },
    "experts.down_lora_a": { "tensor": "down.lora_A.weight", "stack": "flat_rows" },
    "experts.down_lora_b": { "tensor": "down.lora_B.weight", "stack": "interleaved_columns" }
  }
})";

struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "moec-adapter-XXXXXX").string();
    path = mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string operator/(const char *name) const { return (path / name).string(); }
};

LayerSpec readLayer() {
  SpecSource source;
  DiagnosticList diagnostics;
  std::optional<LayerSpec> read = readSpec(spec, "layer.json", {}, source, diagnostics);
  EXPECT_TRUE(read) << render(diagnostics, false);
  return read.value_or(LayerSpec{});
}

// Random parameters; gate and up have one A, as a fused projection does.
bool makeParameters(const LayerSpec &layer, RandomLayer &weights) {
  if (!weights.make(layer, 5))
    return false;
  const RoleTensor &gate = weights.tensors.at("experts.gate_lora_a"), &up = weights.tensors.at("experts.up_lora_a");
  std::memcpy(const_cast<void *>(up.data), gate.data, size_t(6 * 4 * 24) * 4);
  return true;
}

void writeFiles(const LayerSpec &layer, const RandomLayer &weights, const Folder &folder) {
  CheckpointFile base, adapter;
  for (const Role &role : rolesOf(layer)) {
    const RoleTensor &tensor = weights.tensors.at(role.name);
    size_t bytes = 4;
    for (int64_t extent : tensor.shape)
      bytes *= size_t(extent);
    auto *data = static_cast<const unsigned char *>(tensor.data);
    const WeightStorage &storage = layer.weights.at(role.name);
    std::string line = role.name + " " + storage.tensor;
    line += storage.stack == StackKind::FlatRows             ? " flat_rows"
            : storage.stack == StackKind::InterleavedColumns ? " interleaved_columns"
                                                             : "";
    line += storage.part == PartKind::FirstHalf    ? " first_half"
            : storage.part == PartKind::SecondHalf ? " second_half"
                                                   : "";
    bool adapts = role.name.find("lora") != std::string::npos;
    (adapts ? adapter : base)
        .store(adapts ? "base_model.model.layers.3.mlp." : "model.layers.3.mlp.", line,
               {tensor.type, tensor.shape, {data, data + bytes}}, role.expertAxis);
  }
  base.write(folder / "base.safetensors");
  adapter.write(folder / "adapter.safetensors");
}

int shell(const std::string &command) { return std::system((command + " >/dev/null").c_str()); }

std::string bytesOf(const std::string &path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

} // namespace

TEST(Adapter, of_fused_experts_in_a_file_of_its_own) {
  Folder folder;
  LayerSpec layer = readLayer();
  RandomLayer weights;
  ASSERT_TRUE(makeParameters(layer, weights));
  writeFiles(layer, weights, folder);
  std::ofstream(folder / "layer.json") << spec;
  std::string base = folder / "base.safetensors", adapter = folder / "adapter.safetensors",
              basePrefix = "model.layers.3.mlp.", adapterPrefix = "base_model.model.layers.3.mlp.", tool = MOEC_TOOL,
              both = " --prefix " + basePrefix + " --adapter " + adapter + " --adapter-prefix " + adapterPrefix;
  EXPECT_EQ(shell(tool + " check " + (folder / "layer.json") + " --weights " + base + both), 0);
  EXPECT_NE(
      shell(tool + " -q check " + (folder / "layer.json") + " --weights " + base + " --prefix " + basePrefix + " 2>&1"),
      0)
      << "the base alone";
  ASSERT_EQ(shell(tool + " -q compile " + (folder / "layer.json") + " --emit shared --max-tokens 64 -o " +
                  (folder / "package")),
            0);
  ASSERT_EQ(shell(tool + " -q pack " + (folder / "package") + " " + base + both + " -o " + (folder / "packed")), 0);
  ASSERT_EQ(shell(tool + " -q pack " + (folder / "layer.json") + " " + base + both + " -o " + (folder / "again")), 0);
  EXPECT_TRUE(bytesOf(folder / "packed") == bytesOf(folder / "again")) << "of the package and of its spec";

  void *library = dlopen((folder / "package/lib/liblayer.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_TRUE(library) << dlerror();
  auto get = reinterpret_cast<const moec_package *(*)()>(dlsym(library, "layer_package"));
  LayerRun run(get());
  Result<> loaded = run.load(2, -1, {{base.c_str(), basePrefix.c_str()}, {adapter.c_str(), adapterPrefix.c_str()}});
  ASSERT_TRUE(loaded) << loaded.error().message;
  constexpr int64_t tokens = 9;
  PageBuffer x(size_t(tokens * layer.hidden) * 4);
  fillNormal(x.data(), layer.dtype.activation, tokens * layer.hidden, 0, 1, 3);
  CallInputs given;
  ReferenceInputs oracle;
  randomInputs(layer, tokens, 4, given, oracle);
  run.setInputs(&given);
  CallOutputs out(run.info(), tokens);
  OracleResult result;
  std::string reason;
  Result<> ran = out.run(run, x.data());
  ASSERT_TRUE(ran) << ran.error().message;
  EXPECT_TRUE(compareToOracle(layer, weights, x.data(), oracle, out, result, reason)) << reason;

  std::string packed = bytesOf(folder / "packed");
  PageBuffer mapped(packed.size());
  std::memcpy(mapped.data(), packed.data(), packed.size());
  moec_weights *handle = nullptr;
  EXPECT_EQ(moec_weights_map(run.handle(), mapped.data(), packed.size(), MOEC_MAP_VERIFY, &handle), MOEC_OK);
  size_t packedBytes = 0;
  EXPECT_EQ(moec_layer_weights_bytes(run.handle(), &packedBytes), MOEC_OK);
  EXPECT_EQ(packedBytes, packed.size());
  moec_weights_destroy(handle);
}
