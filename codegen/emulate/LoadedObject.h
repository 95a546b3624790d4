// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Object files of kernels in -> their functions, callable in this process. No linker runs and nothing is written.

#ifndef MOEC_CODEGEN_EMULATE_LOADEDOBJECT_H
#define MOEC_CODEGEN_EMULATE_LOADEDOBJECT_H

#include "codegen/emit/CompiledPackage.h"

#include "dsl/text/Result.h"

#include "runtime/moec_abi.h"

#include <memory>
#include <string>
#include <vector>

namespace moec {

class LoadedObject {
public:
  // An error is E-INTERNAL.
  static Result<std::unique_ptr<LoadedObject>> load(const std::vector<const ObjectFile *> &objects);
  ~LoadedObject();

  // The kernel of that symbol; valid as long as this object.
  Result<moec_kernel_fn> kernel(const std::string &symbol) const;
  // Any symbol's address.
  Result<void *> address(const std::string &symbol) const;

private:
  LoadedObject();
  struct Impl;
  std::unique_ptr<Impl> impl;
};

} // namespace moec

#endif
