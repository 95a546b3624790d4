// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The undefined symbols of an ELF object -> an error that lists those of other libraries.

#include "codegen/emit/SymbolCheck.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Object/ObjectFile.h"

#include <set>

using namespace llvm;

namespace moec {

static bool allowed(StringRef name, Sanitizer sanitizer) {
  if (name == "memcpy" || name == "memmove" || name == "memset" || name.starts_with("moec_"))
    return true;
  // The linker makes the two ends of the section.
  bool section = name == "__start_asan_globals" || name == "__stop_asan_globals";
  return (sanitizer == Sanitizer::Address && (section || name.starts_with("__asan_"))) ||
         (sanitizer == Sanitizer::Thread && name.starts_with("__tsan_"));
}

static Error collect(StringRef bytes, Sanitizer sanitizer, std::set<std::string> &foreign) {
  auto object = object::ObjectFile::createObjectFile(MemoryBufferRef(bytes, "object"));
  if (!object)
    return object.takeError();
  for (const object::SymbolRef &symbol : (*object)->symbols()) {
    Expected<uint32_t> flags = symbol.getFlags();
    if (!flags)
      return flags.takeError();
    Expected<StringRef> name = symbol.getName();
    if (!name)
      return name.takeError();
    // The table's entry 0 is undefined and has no name.
    if (*flags & object::SymbolRef::SF_Undefined && !name->empty() && !allowed(*name, sanitizer))
      foreign.insert(name->str());
  }
  return Error::success();
}

Result<> checkSymbols(StringRef object, Sanitizer sanitizer) {
  std::set<std::string> foreign;
  if (Error unreadable = collect(object, sanitizer, foreign))
    return Diagnostic::error("E-INTERNAL",
                             "the emitted object cannot be read back: " + toString(std::move(unreadable)));
  if (!foreign.empty())
    return Diagnostic::error("E-INTERNAL", "the emitted object needs " + join(foreign, ", ") +
                                               "; a package needs memcpy, memmove, memset and moec_* only");
  return {};
}

} // namespace moec
