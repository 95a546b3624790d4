// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LaunchPlan and kernel names -> manifest.json: what a program in another language needs to call the package and to
// plan its memory, printed from the structs that the runtime walks.

#ifndef MOEC_CODEGEN_EMIT_MANIFEST_H
#define MOEC_CODEGEN_EMIT_MANIFEST_H

#include "codegen/emit/CompiledPackage.h"
#include "codegen/package/CallMemory.h"

#include "dsl/text/Sha256.h"

#include "llvm/ADT/ArrayRef.h"

#include <string>
#include <utility>
#include <vector>

namespace moec {

// "sha256 of every other file" of the package, by relative path, in the order given.
using FileDigests = std::vector<std::pair<std::string, Sha256Digest>>;

// `library`: as --emit names it; `calls`: functions that it exports as __tvm_ffi_NAME.
std::string manifestText(const CompiledPackage &package, llvm::StringRef library,
                         llvm::ArrayRef<llvm::StringLiteral> calls, const FileDigests &files);

// Workspace bytes of a call without reports (codegen/package/CallMemory.h) on a CUDA device: only buffers that the
// target's kernels use, and the target's tables.
int64_t cudaWorkspaceBytes(const LaunchPlan &plan, const CudaTargetPlan &target, int64_t numTokens);
// The maximum over the package's CPU code, with so many threads, and its CUDA targets.
int64_t largestWorkspaceBytes(const CompiledPackage &package, int64_t numTokens, int64_t workers = 1);

// "0.1.0", of runtime/moec.h.
std::string moecVersion();
std::string specHashText(const LaunchPlan &plan); // 64 hex digits
// Whether it is a mask of dropout with a row for each slot.
bool isMaskOfSlots(const moec_buffer &buffer);

// Names of the reports that calls of the package may ask for.
std::vector<llvm::StringRef> reportsOf(const LaunchPlan &plan);

// The plan's determinism in a word: "off", "run", "batch".
llvm::StringRef determinismWord(uint32_t determinism);

// The instruction sets in `mask`, lowest first: {"baseline", "avx2"}.
std::vector<std::string> isaNames(uint32_t mask);

// What the package holds kernels for: instruction sets, then CUDA architectures, lowest first.
std::vector<std::string> machineNames(const CompiledPackage &package);

} // namespace moec

#endif
