// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What MLIR says -> diagnostics with code, file, line and column.

#include "codegen/CapturedDiagnostics.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {
struct Captured : testing::Test {
  mlir::MLIRContext context{mlir::MLIRContext::Threading::DISABLED};
  mlir::Location line(unsigned number) { return mlir::FileLineColLoc::get(&context, "a.mlir", number, 3); }
};
} // namespace

TEST_F(Captured, parser_errors_have_their_place) {
  CapturedDiagnostics said(context, "E-MOE");
  EXPECT_FALSE(mlir::parseSourceString<mlir::ModuleOp>("\n  junk", mlir::ParserConfig(&context), "b.mlir"));
  Diagnostic error = said.takeFirst("nothing was said");
  EXPECT_EQ(error.code, "E-MOE");
  EXPECT_EQ(error.placedMessage().rfind("b.mlir:2:3: ", 0), 0u) << error.placedMessage();
}

TEST_F(Captured, only_errors_are_kept_in_order) {
  CapturedDiagnostics said(context, "E-TEMPLATE", "t.mlir");
  mlir::emitWarning(line(1), "a warning");
  mlir::emitError(line(2), "one").attachNote() << "a note";
  mlir::emitError(mlir::UnknownLoc::get(&context), "two");
  mlir::emitError(mlir::NameLoc::get(mlir::StringAttr::get(&context, "n"), line(4)), "three");
  std::vector<Diagnostic> all = said.takeAll();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].placedMessage(), "a.mlir:2:3: one");
  EXPECT_EQ(all[1].placedMessage(), "t.mlir: two");
  EXPECT_EQ(all[2].placedMessage(), "a.mlir:4:3: three");
}

TEST_F(Captured, joined_errors_are_the_lines_of_one) {
  CapturedDiagnostics said(context, "E-TEMPLATE");
  mlir::emitError(line(2), "one");
  mlir::emitError(line(5), "two");
  Diagnostic error = said.takeJoined("nothing was said");
  EXPECT_EQ(error.line, 2u);
  EXPECT_EQ(error.placedMessage(), "a.mlir:2:3: one\na.mlir:5:3: two");
}

TEST_F(Captured, silence_is_said) {
  CapturedDiagnostics said(context, "E-TEMPLATE", "t.mlir");
  Diagnostic error = said.takeJoined("nothing was said");
  EXPECT_EQ(error.code, "E-TEMPLATE");
  EXPECT_EQ(error.placedMessage(), "t.mlir: nothing was said");
}
