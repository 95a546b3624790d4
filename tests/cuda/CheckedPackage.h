// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Folders of a bundle -> packages loaded by dlopen, as a program would.

#ifndef MOEC_TESTS_CUDA_CHECKEDPACKAGE_H
#define MOEC_TESTS_CUDA_CHECKEDPACKAGE_H

#include "codegen/check/LayerRun.h"

#include "dsl/LayerSpec.h"

#include <optional>
#include <string>
#include <vector>

namespace moec {

// Whether the result is one; if not, `error` is its message.
bool succeeded(const Result<> &result, std::string &error);

// FOLDER/libNAME.so; the library stays open. Null: `error`.
const moec_package *openPackage(const std::string &folder, const std::string &name, std::string &error);

// A case of a bundle: FOLDER/CASE.json, a spec, and FOLDER/CASE/libNAME.so of the layer NAME that it describes. Null:
// `error`.
const moec_package *openCase(const std::string &folder, const std::string &name, std::optional<LayerSpec> &spec,
                             std::string &error);

// Weights packed on `device`, for the CPU kernels of this machine where it is null. False: `error`.
bool prepareOn(const DeviceContext *device, const RoleTensors &tensors, LayerRun &layer, std::string &error);

// A file of a spec, read; nullopt: `error`.
std::optional<LayerSpec> readSpecFile(const std::string &path, std::string &error);

std::vector<std::string> stemsIn(const std::string &folder, const std::string &extension); // sorted

} // namespace moec

#endif
