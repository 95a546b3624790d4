// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Objects go to the JIT linker as they are, so what verify, bench and tune run are the bytes that ship.

#include "codegen/emulate/LoadedObject.h"

#include "codegen/emulate/AmxTiles.h"

#include "llvm/ExecutionEngine/Orc/AbsoluteSymbols.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/SmallVectorMemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"

#include <mutex>

namespace moec {

struct LoadedObject::Impl {
  std::unique_ptr<llvm::orc::LLJIT> jit;
};

LoadedObject::LoadedObject() : impl(std::make_unique<Impl>()) {}
LoadedObject::~LoadedObject() = default;

static llvm::Error defineEmulation(llvm::orc::LLJIT &jit) {
  llvm::orc::SymbolMap symbols;
  auto define = [&](const char *name, void *address) {
    symbols[jit.mangleAndIntern(name)] = {llvm::orc::ExecutorAddr::fromPtr(address), llvm::JITSymbolFlags::Exported};
  };
  define("moec_emulate_tile_load", reinterpret_cast<void *>(&moec_emulate_tile_load));
  define("moec_emulate_tile_store", reinterpret_cast<void *>(&moec_emulate_tile_store));
  define("moec_emulate_tile_product", reinterpret_cast<void *>(&moec_emulate_tile_product));
  return jit.getMainJITDylib().define(llvm::orc::absoluteSymbols(std::move(symbols)));
}

static llvm::Error add(llvm::orc::LLJIT &jit, const std::vector<const ObjectFile *> &objects) {
  if (auto error = defineEmulation(jit))
    return error;
  for (const ObjectFile *object : objects) {
    llvm::SmallVector<char, 0> bytes(object->bytes);
    auto buffer = std::make_unique<llvm::SmallVectorMemoryBuffer>(std::move(bytes), object->name, false);
    if (auto error = jit.addObjectFile(std::move(buffer)))
      return error;
  }
  return llvm::Error::success();
}

Result<std::unique_ptr<LoadedObject>> LoadedObject::load(const std::vector<const ObjectFile *> &objects) {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
  });
  std::unique_ptr<LoadedObject> loaded(new LoadedObject);
  auto made = llvm::orc::LLJITBuilder().create();
  if (!made)
    return Diagnostic::error("E-INTERNAL", llvm::toString(made.takeError()));
  loaded->impl->jit = std::move(*made);
  if (auto error = add(*loaded->impl->jit, objects))
    return Diagnostic::error("E-INTERNAL", llvm::toString(std::move(error)));
  return loaded;
}

Result<void *> LoadedObject::address(const std::string &symbol) const {
  auto found = impl->jit->lookup(symbol);
  if (!found)
    return Diagnostic::error("E-INTERNAL", llvm::toString(found.takeError()));
  return found->toPtr<void *>();
}

Result<moec_kernel_fn> LoadedObject::kernel(const std::string &symbol) const {
  Result<void *> found = address(symbol);
  if (!found)
    return found.takeError();
  return reinterpret_cast<moec_kernel_fn>(*found);
}

} // namespace moec
