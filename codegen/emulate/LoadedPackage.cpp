// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A compiled package linked into this process: objects go to the JIT linker as they are, so what verify and bench run
// are the bytes that ship.

#include "codegen/emulate/LoadedPackage.h"

#include "codegen/emulate/AmxTiles.h"

#include "llvm/ExecutionEngine/Orc/AbsoluteSymbols.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/SmallVectorMemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"

#include <mutex>

namespace moec {

struct LoadedPackage::Impl {
  std::unique_ptr<llvm::orc::LLJIT> jit;
  std::vector<std::string> images;
  std::vector<moec_cuda_image> imageTable;
  moec_package package; // a copy of the object's with other images

  void takeImages(const moec_package &linked, const std::vector<std::string> &from) {
    package = linked;
    images = from;
    for (const std::string &image : images)
      imageTable.push_back({image.data(), image.size()});
    package.images = imageTable.empty() ? nullptr : imageTable.data();
    package.num_images = imageTable.size();
  }
};

LoadedPackage::~LoadedPackage() = default;

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

static llvm::Expected<const moec_package *> link(std::unique_ptr<llvm::orc::LLJIT> &jit,
                                                 const CompiledPackage &compiled) {
  auto made = llvm::orc::LLJITBuilder().create();
  if (!made)
    return made.takeError();
  jit = std::move(*made);
  if (auto error = defineEmulation(*jit))
    return std::move(error);
  for (const ObjectFile &object : compiled.objects) {
    llvm::SmallVector<char, 0> bytes(object.bytes);
    auto buffer = std::make_unique<llvm::SmallVectorMemoryBuffer>(std::move(bytes), object.name, false);
    if (auto error = jit->addObjectFile(std::move(buffer)))
      return std::move(error);
  }
  auto symbol = jit->lookup(compiled.name + "_package");
  if (!symbol)
    return symbol.takeError();
  return symbol->toPtr<const moec_package *(*)()>()();
}

Result<std::unique_ptr<LoadedPackage>> LoadedPackage::load(const CompiledPackage &compiled) {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
  });
  std::unique_ptr<LoadedPackage> loaded(new LoadedPackage);
  loaded->impl = std::make_unique<Impl>();
  auto package = link(loaded->impl->jit, compiled);
  if (!package)
    return Diagnostic::error("E-INTERNAL", llvm::toString(package.takeError()));
  loaded->impl->takeImages(**package, compiled.images);
  loaded->package = &loaded->impl->package;
  return loaded;
}

} // namespace moec
