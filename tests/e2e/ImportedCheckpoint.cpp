// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "ImportedCheckpoint.h"

#include "codegen/check/OracleCheck.h"
#include "codegen/check/RandomSpec.h"
#include "dsl/Reports.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace moec {

static std::string output(const std::string &command, int &status) {
  std::string text;
  FILE *pipe = popen((command + " 2>&1").c_str(), "r");
  char buffer[4096];
  for (size_t n; pipe && (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    text.append(buffer, n);
  status = pipe ? pclose(pipe) : -1;
  return text;
}

std::string importIn(const WorkFolder &folder, const std::string &flags, std::string &error) {
  int status = 0;
  std::string said = output(std::string(MOEC_TOOL) + " import hf " + (folder / "config.json") + " -o " +
                                (folder / "layer.json") + " " + flags,
                            status);
  const std::string before = "names of tensors begin with \"", after = "\"; the third argument of moec_weights_load";
  size_t begin = said.find(before), end = said.find(after);
  if (status == 0 && end != std::string::npos)
    return said.substr(begin + before.size(), end - begin - before.size());
  error = said;
  return "";
}

LayerSpec specIn(const WorkFolder &folder) {
  std::ostringstream text;
  text << std::ifstream(folder / "layer.json").rdbuf();
  SpecSource source;
  DiagnosticList diagnostics;
  std::optional<LayerSpec> spec = readSpec(text.str(), "layer.json", {}, source, diagnostics);
  EXPECT_TRUE(spec) << render(diagnostics, false);
  return spec.value_or(LayerSpec{});
}

Package::Package(const WorkFolder &folder) {
  int status = 0;
  error = output(std::string(MOEC_TOOL) + " compile " + (folder / "layer.json") +
                     " --emit shared -q --reports all --max-tokens 64 -o " + (folder / "package"),
                 status);
  if (status == 0)
    library = dlopen((folder / "package/lib/liblayer.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  if (auto get = library ? reinterpret_cast<const moec_package *(*)()>(dlsym(library, "layer_package")) : nullptr)
    package = get();
}

Package::~Package() {
  if (library)
    dlclose(library);
}

void storeRoles(const LayerSpec &spec, const std::map<std::string, GoldenTensor> &parameters, const std::string &prefix,
                const std::string &layout, CheckpointFile &file) {
  std::istringstream lines(layout);
  std::map<std::string, Role> left;
  for (const Role &role : rolesOf(spec))
    left[role.name] = role;
  for (std::string line; std::getline(lines, line);) {
    auto role = left.find(line.substr(0, line.find(' ')));
    ASSERT_TRUE(role != left.end()) << line;
    file.store(prefix, line, parameters.at(role->first), role->second.expertAxis);
    left.erase(role);
  }
  EXPECT_TRUE(left.empty()) << left.begin()->first;
}

void PrintTo(const Referenced &referenced, std::ostream *os) { *os << referenced.label; }

void checkReferenced(const Referenced &referenced) {
  WorkFolder folder;
  std::ofstream(folder / "config.json") << referenced.config;
  std::string error;
  SpecSource source;
  DiagnosticList diagnostics;
  ReadOptions options;
  options.reports = allReports(); // as Package compiles
  std::optional<LayerSpec> spec = readSpec(referenced.spec, "spec", options, source, diagnostics);
  ASSERT_TRUE(spec) << render(diagnostics, false);
  RandomLayer weights;
  ASSERT_TRUE(weights.make(*spec, 5));
  std::map<std::string, GoldenTensor> parameters;
  for (const auto &[role, tensor] : weights.tensors) {
    size_t bytes = size_t(dataTypeBits(tensor.type) / 8);
    for (int64_t extent : tensor.shape)
      bytes *= size_t(extent);
    auto *data = static_cast<const unsigned char *>(tensor.data);
    parameters[role] = {tensor.type, tensor.shape, {data, data + bytes}};
  }
  CheckpointFile file;
  ASSERT_NO_FATAL_FAILURE(storeRoles(*spec, parameters, referenced.prefix, referenced.layout, file));
  file.write(folder / "model.safetensors");
  std::string prefix = importIn(folder, referenced.flags, error);
  ASSERT_EQ(prefix, referenced.prefix) << error;
  Package package(folder);
  ASSERT_TRUE(package.package) << package.error;
  LayerRun layer(package.package);
  Result<> loaded = layer.load(1, -1, folder / "model.safetensors", prefix);
  ASSERT_TRUE(loaded) << loaded.error().message;
  constexpr int64_t tokens = 9;
  PageBuffer x(size_t(tokens * spec->hidden) * 4);
  fillNormal(x.data(), spec->dtype.activation, tokens * spec->hidden, 0, 1, 3);
  CallInputs given;
  ReferenceInputs oracle;
  randomInputs(*spec, tokens, 4, given, oracle);
  layer.setInputs(&given);
  CallOutputs out(layer.info(), tokens);
  OracleResult result;
  Result<> ran = out.run(layer, x.data());
  ASSERT_TRUE(ran) << ran.error().message;
  EXPECT_TRUE(compareToOracle(*spec, weights, x.data(), oracle, out, result, error)) << error;
}

namespace layouts {

std::string lines(const std::string &block, const std::string &stem, const std::string &names,
                  const std::string &words) {
  std::istringstream text(names);
  std::string gate, up, down;
  text >> gate >> up >> down;
  auto line = [&](const char *role, const std::string &name) {
    return block + role + " " + stem + name + (words.empty() ? "" : " ") + words + "\n";
  };
  return (gate == "-" ? "" : line("gate", gate)) + line("up", up) + line("down", down);
}
std::string halves(const std::string &block, const std::string &both, const std::string &down,
                   const std::string &axes) {
  return block + "gate " + both + " " + axes + " first_half\n" + block + "up " + both + " " + axes + " second_half\n" +
         block + "down " + down + " " + axes + "\n";
}

} // namespace layouts

} // namespace moec
