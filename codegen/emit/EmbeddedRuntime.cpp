// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files of the build tree, included by the assembler. CMake defines their folder.

#include "EmbeddedRuntime.h"

#define MOEC_EMBED(symbol, file)                                                                                       \
  __asm__(".pushsection .rodata\n"                                                                                     \
          ".balign 16\n"                                                                                               \
          ".hidden " #symbol "_begin\n.globl " #symbol "_begin\n" #symbol "_begin:\n"                                  \
          ".incbin \"" MOEC_LINK_INPUTS "/" file "\"\n"                                                                \
          ".hidden " #symbol "_end\n.globl " #symbol "_end\n" #symbol "_end:\n"                                        \
          ".popsection\n");                                                                                            \
  extern "C" __attribute__((visibility("hidden"))) const char symbol##_begin[], symbol##_end[];

MOEC_EMBED(moec_runtime_archive, "libmoec_embedded_runtime.a")
MOEC_EMBED(moec_libc_stub, "libc_stub.so")
MOEC_EMBED(moec_loader_stub, "loader_stub.so")

namespace moec {

static llvm::StringRef between(const char *begin, const char *end) { return {begin, size_t(end - begin)}; }

llvm::StringRef embeddedRuntimeArchive() { return between(moec_runtime_archive_begin, moec_runtime_archive_end); }
llvm::ArrayRef<llvm::StringLiteral> embeddedCalls() {
  static constexpr llvm::StringLiteral calls[] = {"forward",
                                                  "call",
                                                  "backward",
                                                  "pack",
                                                  "load",
                                                  "bind",
                                                  "options",
                                                  "weights_bytes",
                                                  "workspace_bytes",
                                                  "saved_bytes",
                                                  "backward_workspace_bytes",
                                                  "info",
                                                  "last_error"};
  return calls;
}

llvm::StringRef embeddedLibcStub() { return between(moec_libc_stub_begin, moec_libc_stub_end); }
llvm::StringRef embeddedLoaderStub() { return between(moec_loader_stub_begin, moec_loader_stub_end); }

} // namespace moec
