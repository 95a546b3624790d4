// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/FunctionUses.h"

#include "codegen/moe/MoeDialect.h"

using namespace mlir;

namespace moec {

Value FunctionUses::apply(OpBuilder &builder, Location loc, StringRef name, const char *key, Value x) {
  Result<> loaded = library.load(name);
  if (loaded && form == Form::Apply)
    return moe::ApplyOp::create(builder, loc, x.getType(), x, name, /*derivative=*/false);
  if (loaded)
    return library.apply(builder, loc, name, x);
  Diagnostic error = loaded.takeError();
  error.path = key;
  error.hint = "a function file holds one func.func @NAME(%x: f32) -> f32";
  bool known = llvm::any_of(errors, [&](const Diagnostic &one) {
    return one.path == error.path && one.placedMessage() == error.placedMessage();
  });
  if (!known)
    errors.push_back(std::move(error));
  return x;
}

} // namespace moec
