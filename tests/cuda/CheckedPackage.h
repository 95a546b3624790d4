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

// One package of a bundle: FOLDER/libNAME.so; the library stays open.
const moec_package *openPackage(const std::string &folder, const std::string &name, std::string &error);

// FOLDER/NAME.json, read; nullopt: `error`.
std::optional<LayerSpec> readSpecFile(const std::string &path, std::string &error);

std::vector<std::string> stemsIn(const std::string &folder, const std::string &extension); // sorted

// One line of the results: "pass KIND NAME: text".
class Report {
public:
  void add(const std::string &kind, const std::string &name, bool passed, const std::string &text);
  void skip(const std::string &kind, const std::string &name, const std::string &why);
  int summary(const std::string &kind) const; // prints "KIND: N checks, ..."; 0 when none failed

private:
  size_t passed = 0, failed = 0, skipped = 0;
};

} // namespace moec

#endif
