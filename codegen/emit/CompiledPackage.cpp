// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where the modules for the emulator are destroyed.

#include "codegen/emit/CompiledPackage.h"

#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

namespace moec {

CompiledPackage::CompiledPackage() = default;
CompiledPackage::~CompiledPackage() = default;

} // namespace moec
