// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files of a bundle.

#include "CheckedPackage.h"

#include "dsl/spec/SpecReader.h"

#include <algorithm>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace moec {

bool succeeded(const Result<> &result, std::string &error) {
  if (!result)
    error = result.error().message;
  return bool(result);
}

const moec_package *openPackage(const std::string &folder, const std::string &name, std::string &error) {
  void *library = dlopen((folder + "/lib" + name + ".so").c_str(), RTLD_NOW | RTLD_LOCAL);
  void *entry = library ? dlsym(library, (name + "_package").c_str()) : nullptr;
  if (!entry) {
    error = dlerror();
    return nullptr;
  }
  return reinterpret_cast<const moec_package *(*)()>(entry)();
}

std::optional<LayerSpec> readSpecFile(const std::string &path, std::string &error) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  SpecSource source;
  DiagnosticList diagnostics;
  std::optional<LayerSpec> spec = file ? readSpec(text.str(), path, {}, source, diagnostics) : std::nullopt;
  if (!spec)
    error = path + " cannot be read";
  return spec;
}

const moec_package *openCase(const std::string &folder, const std::string &name, std::optional<LayerSpec> &spec,
                             std::string &error) {
  spec = readSpecFile(folder + "/" + name + ".json", error);
  return spec ? openPackage(folder + "/" + name, spec->name, error) : nullptr;
}

bool prepareOn(const DeviceContext *device, const RoleTensors &tensors, LayerRun &layer, std::string &error) {
  const int oneThread = 1, anyIsa = -1;
  return succeeded(device ? layer.prepare(*device, tensors) : layer.prepare(oneThread, anyIsa, &tensors), error);
}

std::vector<std::string> stemsIn(const std::string &folder, const std::string &extension) {
  std::vector<std::string> stems;
  std::error_code code;
  for (const auto &entry : std::filesystem::directory_iterator(folder, code))
    if (entry.path().extension() == extension)
      stems.push_back(entry.path().stem().string());
  std::sort(stems.begin(), stems.end());
  return stems;
}

} // namespace moec
