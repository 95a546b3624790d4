// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text of a layer with bytes, words and lines changed: a plan or a diagnostic, never a crash.

#include "tests/build/BuiltLayer.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/StringExtras.h"

#include <gtest/gtest.h>

#include <random>

using namespace moec;

namespace {

const char *const words[] = {"0",          "1",
                             "2",          "3",
                             "5",          "64",
                             "65537",      "-1",
                             "?",          "f32",
                             "bf16",       "i32",
                             "i1",         "elem",
                             "row",        "col",
                             "%x",         "%w",
                             "%r",         "%ids",
                             "{}",         "scalar",
                             "segment",    "sum",
                             "max",        "tensor<?xf32>",
                             "x",          ":",
                             ",",          "->",
                             "\"y\"",      "\"x\"",
                             "gathered",   "9223372036854775807",
                             "moe.softmax"};

// One random edit: another word in place of one, a line twice or gone, two lines swapped.
std::string mutate(const std::string &text, std::mt19937 &random) {
  auto below = [&](size_t n) { return size_t(random() % n); };
  llvm::SmallVector<llvm::StringRef> lines;
  llvm::StringRef(text).split(lines, '\n');
  size_t a = below(lines.size()), b = below(lines.size());
  std::string edited;
  switch (below(8)) {
  case 0:
    lines.insert(lines.begin() + a, lines[b]);
    break;
  case 1:
    lines.erase(lines.begin() + a);
    break;
  case 2:
    std::swap(lines[a], lines[b]);
    break;
  default: {
    auto isWord = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '%' || c == '?'; };
    edited = lines[a].str();
    size_t begin = edited.empty() ? 0 : below(edited.size()), end = begin;
    while (end < edited.size() && isWord(edited[end]))
      ++end;
    while (begin > 0 && isWord(edited[begin - 1]))
      --begin;
    llvm::SmallVector<llvm::StringRef> own; // a word of the text fits more often
    lines[b].split(own, ' ', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
    std::string word = own.empty() || below(2) ? words[below(std::size(words))] : own[below(own.size())].str();
    edited.replace(begin, std::max<size_t>(end - begin, 1), word);
    lines[a] = edited;
  }
  }
  return llvm::join(lines, "\n");
}

// 0 not parsed, 1 refused after parsing, 2 planned
int compileText(const std::string &text) {
  BuiltLayer built;
  loadMoeDialects(built.context);
  unsigned errors = 0;
  mlir::ScopedDiagnosticHandler handler(&built.context, [&](mlir::Diagnostic &) {
    ++errors;
    return mlir::success();
  });
  built.module = mlir::parseSourceString<mlir::ModuleOp>(text, mlir::ParserConfig(&built.context));
  bool planned = built.module && built.fuse() && built.makePlan();
  EXPECT_TRUE(planned || errors > 0) << "no diagnostic for\n" << text;
  return planned ? 2 : built.module ? 1 : 0;
}

TEST(MutatedText, mutated_text_never_crashes) {
  std::string text = readFile(std::string(MOEC_SOURCE_DIR) + "/tests/fuse/tiny.mlir");
  text = text.substr(text.find("func.func"));
  ASSERT_EQ(compileText(text), 2);
  std::mt19937 random(20);
  int outcomes[3] = {};
  for (int i = 0; i < 6000; ++i) {
    std::string changed = text;
    for (int edits = 1 + int(random() % 2); edits > 0; --edits)
      changed = mutate(changed, random);
    ++outcomes[compileText(changed)];
  }
  // The edits reach all three answers, or they show nothing.
  EXPECT_GT(outcomes[0], 100);
  EXPECT_GT(outcomes[1], 10);
  EXPECT_GT(outcomes[2], 10);
}

// rowSpaceOf recurses along a chain of ops, so that a layer's ops are limited.
TEST(MutatedText, layer_l4_op_count) {
  std::string text =
      "func.func @deep(%v0: tensor<?x8xf32> {moe.role = \"x\"}) -> (tensor<?x8xf32> {moe.role = \"y\"}) {\n";
  const int count = 50000;
  for (int i = 0; i < count; ++i)
    text += "  %v" + std::to_string(i + 1) + " = moe.softmax %v" + std::to_string(i) + " : tensor<?x8xf32>\n";
  text += "  return %v" + std::to_string(count) + " : tensor<?x8xf32>\n}\n";
  mlir::MLIRContext context;
  loadMoeDialects(context);
  std::string message;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
    message = diagnostic.str();
    return mlir::success();
  });
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, mlir::ParserConfig(&context));
  ASSERT_TRUE(module);
  EXPECT_FALSE(findLayer(*module));
  EXPECT_EQ(message, "'func.func' op L4: a layer has at most 4096 ops, found 50001");
}

} // namespace
