// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A module of llvm.func kernels in -> one relocatable object for one ISA, or its LLVM IR or assembly as text.

#ifndef MOEC_CODEGEN_EMIT_OBJECTEMITTER_H
#define MOEC_CODEGEN_EMIT_OBJECTEMITTER_H

#include "codegen/Target.h"
#include "codegen/emit/Sanitizer.h"
#include "codegen/plan/LaunchPlan.h"

#include "dsl/text/Result.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"

#include <memory>
#include <string>
#include <vector>

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm

namespace moec {

enum class EmitForm { Object, LlvmIr, Assembly };

// Lowers scf, arith, math and vector to the llvm dialect, in place. The error, E-INTERNAL, is MLIR's.
Result<> lowerToLlvmDialect(mlir::ModuleOp module);

using Bytes = llvm::SmallVector<char, 0>;

// Translates an llvm-dialect module, optimises and emits it for `isa`; every function gets hidden visibility. All
// errors from here on are E-INTERNAL.
Result<Bytes> emitModule(mlir::ModuleOp module, const IsaFacts &isa, EmitForm form, Sanitizer sanitizer);

Result<std::unique_ptr<llvm::TargetMachine>> makeCpuMachine(const IsaFacts &isa); // code generator for `isa`
Result<Bytes> writeModule(llvm::Module &module, llvm::TargetMachine &machine, EmitForm form);

struct PlanObjectInput {
  std::string name;
  std::vector<char> plan;
  std::vector<std::string> functions; // kernel symbols in table order; an empty name is a null entry
  std::vector<char> cudaPlan;         // empty: CPU only
  std::vector<std::string> images;    // what cudaPlan's targets name
  const PlanObjectInput *backward = nullptr;
};

// The object that defines NAME_package: the plans' bytes, the function table, the images and the moec_package that
// refers to them. The other objects define the functions.
Result<Bytes> emitPlanObject(const PlanObjectInput &input);

} // namespace moec

#endif
