// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text of MLIR -> the limits of brackets, operators and aliases, with the place where one is passed.

#include "codegen/TextNesting.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

std::string repeated(const std::string &text, int64_t count) {
  std::string out;
  for (int64_t i = 0; i < count; ++i)
    out += text;
  return out;
}

// "2:7 message", empty: the text may be parsed.
std::string said(const std::string &text) {
  Result<> checked = checkNesting(text, "f.mlir", "E-MOE");
  if (checked)
    return "";
  const Diagnostic &error = checked.error();
  EXPECT_EQ(error.file, "f.mlir");
  EXPECT_EQ(error.code, "E-MOE");
  return std::to_string(error.line) + ":" + std::to_string(error.column) + " " + error.message;
}

} // namespace

TEST(TextNesting, brackets) {
  for (const char *open : {"(", "[", "{", "<"})
    EXPECT_EQ(said("a\n" + repeated(open, maxTextNesting)), "") << open;
  EXPECT_EQ(said("a\n" + repeated("[", maxTextNesting + 1)), "2:258 brackets are nested deeper than 256 levels");
  EXPECT_EQ(said(repeated("([{<>}])", 10000)), "");
  EXPECT_EQ(said(repeated("() -> (", 1000)).substr(0, 5), "1:179") << "an arrow closes nothing";
  EXPECT_EQ(said(repeated("(d0 >= 0, ", 1000)).find("brackets") != std::string::npos, true) << "nor does a comparison";
}

TEST(TextNesting, strings_and_comments_hold_neither) {
  EXPECT_EQ(said("\"" + repeated("[", 1000) + "\\\"" + repeated("[", 1000) + "\""), "");
  EXPECT_EQ(said("// " + repeated("([-", 1000) + "\nx"), "");
  EXPECT_EQ(said("\"unterminated\n" + repeated("[", 300)).substr(0, 2), "2:") << "a string ends with its line";
}

TEST(TextNesting, operators) {
  EXPECT_EQ(said("affine_map<(d0) -> (d0" + repeated(" + d0", maxTextOperators) + ")>"), "");
  for (const char *op : {" + d0", " * d0", "-", " mod 2", " floordiv 2", " ceildiv 2"})
    EXPECT_NE(said("affine_map<(d0) -> (d0" + repeated(op, maxTextOperators + 1) + ")>"), "") << op;
  EXPECT_EQ(said("dense<[" + repeated("-1, ", 5000) + "-1]>"), "") << "numbers of a list";
  EXPECT_EQ(said(repeated("%x = arith.constant -1.0 : f32\n", 5000)), "");
}

TEST(TextNesting, aliases) {
  std::string chain = "!t0 = tuple<i32>\n", twice = chain;
  for (int i = 1; i < 300; ++i)
    chain += "!t" + std::to_string(i) + " = tuple<!t" + std::to_string(i - 1) + ">\n";
  for (int i = 1; i < 40; ++i)
    twice += "!t" + std::to_string(i) + " = tuple<!t" + std::to_string(i - 1) + ", !t" + std::to_string(i - 1) + ">\n";
  EXPECT_NE(said(chain).find("aliases are nested deeper than 256 levels"), std::string::npos) << said(chain);
  EXPECT_NE(said(twice).find("an alias expands to more than 65536 bytes"), std::string::npos) << said(twice);
  // Uses in a function are no definition, and its lines do not belong to the last alias.
  std::string uses = "#map = affine_map<(d0) -> (d0 mod 4)>\n!t = tensor<?x4xf32>\nfunc.func @f(%x: !t) {\n";
  EXPECT_EQ(said(uses + repeated("  \"a.b\"(%x) {m = #map} : (!t) -> !t\n", 20000) + "}\n"), "");
}
