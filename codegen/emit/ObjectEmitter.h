// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A module of llvm.func kernels in -> one relocatable object for one ISA, or its LLVM IR or assembly as text.

#ifndef MOEC_CODEGEN_EMIT_OBJECTEMITTER_H
#define MOEC_CODEGEN_EMIT_OBJECTEMITTER_H

#include "codegen/Target.h"
#include "codegen/emit/Sanitizer.h"
#include "codegen/moe/LaunchPlan.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"

#include <string>
#include <vector>

namespace moec {

enum class EmitForm { Object, LlvmIr, Assembly };

// Lowers scf, arith, math and vector to the llvm dialect, in place. False: `error` holds MLIR's message.
bool lowerToLlvmDialect(mlir::ModuleOp module, std::string &error);

// Translates an llvm-dialect module, optimises and emits it for `isa`; every function gets hidden visibility.
bool emitModule(mlir::ModuleOp module, const IsaFacts &isa, EmitForm form, Sanitizer sanitizer,
                llvm::SmallVectorImpl<char> &out, std::string &error);

// The object that defines NAME_package: the plan's bytes, the function table and the moec_package that joins them.
// `functions` are kernel symbols in table order, defined by the other objects; an empty name is a null entry.
bool emitPlanObject(llvm::StringRef name, const std::vector<char> &plan, const std::vector<std::string> &functions,
                    llvm::SmallVectorImpl<char> &out, std::string &error);

} // namespace moec

#endif
