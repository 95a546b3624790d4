// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/FunctionUses.h"

using namespace mlir;

namespace moec {

Value FunctionUses::apply(OpBuilder &builder, Location loc, StringRef name, const char *key, Value x) {
  std::string error;
  if (library.load(name, error))
    return library.apply(builder, loc, name, x);
  bool known = llvm::any_of(refusals, [&](const Refusal &one) { return one.path == key && one.message == error; });
  if (!known)
    refusals.push_back({"E-TEMPLATE", key, error, "a function file holds one func.func @NAME(%x: f32) -> f32"});
  return x;
}

} // namespace moec
