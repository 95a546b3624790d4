// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A kernel that calls other libraries must not become an object file.

#include "codegen/emit/SymbolCheck.h"
#include "codegen/emit/ObjectEmitter.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"

#include <gtest/gtest.h>

using namespace moec;

// A kernel that calls every function in `names`.
static bool emitCalls(const std::vector<std::string> &names, Sanitizer sanitizer, std::string &error) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  mlir::DialectRegistry registry;
  mlir::registerBuiltinDialectTranslation(registry);
  mlir::registerLLVMDialectTranslation(registry);
  context.appendDialectRegistry(registry);
  context.loadDialect<mlir::LLVM::LLVMDialect>();
  std::string declarations, calls;
  for (const std::string &name : names) {
    declarations += "llvm.func @" + name + "()\n";
    calls += "  llvm.call @" + name + "() : () -> ()\n";
  }
  auto module = mlir::parseSourceString<mlir::ModuleOp>(
      declarations + "llvm.func @moec_kernel() {\n" + calls + "  llvm.return\n}\n", mlir::ParserConfig(&context));
  EXPECT_TRUE(module);
  llvm::SmallVector<char, 0> bytes;
  return module && emitModule(*module, isaFacts(Isa::Baseline), EmitForm::Object, sanitizer, bytes, error);
}

TEST(SymbolCheck, memory_functions_and_the_package_are_allowed) {
  std::string error;
  EXPECT_TRUE(emitCalls({"memcpy", "memmove", "memset", "moec_other"}, Sanitizer::None, error)) << error;
}

TEST(SymbolCheck, other_libraries_are_named) {
  std::string error;
  EXPECT_FALSE(emitCalls({"memcpy", "powf", "expf"}, Sanitizer::None, error));
  EXPECT_EQ(error, "the emitted object needs expf, powf; a package needs memcpy, memmove, memset and moec_* only");
}

TEST(SymbolCheck, sanitizers_bring_their_own) {
  std::string error;
  EXPECT_TRUE(emitCalls({"__asan_report_load4"}, Sanitizer::Address, error)) << error;
  EXPECT_FALSE(emitCalls({"__tsan_read4"}, Sanitizer::Address, error));
  EXPECT_EQ(error, "the emitted object needs __tsan_read4; a package needs memcpy, memmove, memset and moec_* only");
}

TEST(SymbolCheck, bytes_that_are_no_object) {
  std::string error;
  EXPECT_FALSE(checkSymbols("not an object", Sanitizer::None, error));
  EXPECT_EQ(error.rfind("the emitted object cannot be read back: ", 0), 0u) << error;
}
