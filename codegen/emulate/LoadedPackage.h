// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A compiled package in -> the same, callable in this process.

#ifndef MOEC_CODEGEN_EMULATE_LOADEDPACKAGE_H
#define MOEC_CODEGEN_EMULATE_LOADEDPACKAGE_H

#include "codegen/emit/CompiledPackage.h"

#include "dsl/text/Result.h"

#include <memory>
#include <string>

struct moec_package;

namespace moec {

// A package in this process. A compiled one is linked by the JIT linker: it runs the bytes that would ship; CUDA images
// are `compiled.images`.
class LoadedPackage {
public:
  static Result<std::unique_ptr<LoadedPackage>> load(const CompiledPackage &compiled); // an error is E-INTERNAL
  // libNAME.so at `path`, by the dynamic linker. The error, E-TOOL, is that linker's text.
  static Result<std::unique_ptr<LoadedPackage>> open(const std::string &path, const std::string &name);
  ~LoadedPackage();
  const moec_package *get() const { return package; }

private:
  LoadedPackage() = default;
  struct Impl;
  std::unique_ptr<Impl> impl;
  const moec_package *package = nullptr;
};

} // namespace moec

#endif
