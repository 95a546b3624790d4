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
// The message of the error; empty: it was emitted.
static std::string emitCalls(const std::vector<std::string> &names, Sanitizer sanitizer) {
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
  Result<Bytes> bytes = emitModule(*module, isaFacts(Isa::Baseline), EmitForm::Object, sanitizer);
  return bytes ? "" : bytes.error().code + " " + bytes.error().message;
}

TEST(SymbolCheck, memory_functions_and_the_package_are_allowed) {
  EXPECT_EQ(emitCalls({"memcpy", "memmove", "memset", "moec_other"}, Sanitizer::None), "");
}

TEST(SymbolCheck, other_libraries_are_named) {
  EXPECT_EQ(emitCalls({"memcpy", "powf", "expf"}, Sanitizer::None),
            "E-INTERNAL the emitted object needs expf, powf; a package needs memcpy, memmove, memset and moec_* only");
}

TEST(SymbolCheck, sanitizers_bring_their_own) {
  EXPECT_EQ(emitCalls({"__asan_report_load4"}, Sanitizer::Address), "");
  EXPECT_EQ(
      emitCalls({"__tsan_read4"}, Sanitizer::Address),
      "E-INTERNAL the emitted object needs __tsan_read4; a package needs memcpy, memmove, memset and moec_* only");
}

TEST(SymbolCheck, bytes_that_are_no_object) {
  Result<> checked = checkSymbols("not an object", Sanitizer::None);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().message.rfind("the emitted object cannot be read back: ", 0), 0u)
      << checked.error().message;
}
