// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rendering: places, cut lines, escapes, colour, JSON; spelling; element types.

#include "dsl/text/Diagnostic.h"
#include "dsl/DataType.h"
#include "dsl/text/Spelling.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

std::string rendered(const std::string &text, size_t offset, size_t length, const std::string &hint = "") {
  DiagnosticList list;
  list.setSource("a.json", text);
  list.error("E-KEY", list.source().place(offset, length), "message", hint);
  return render(list, false);
}

} // namespace

TEST(diagnostic, first_and_last_line) {
  EXPECT_EQ(rendered("abc\ndef", 0, 2), "a.json:1:1: error[E-KEY]: message\n    1 | abc\n      | ^^\n");
  EXPECT_EQ(rendered("abc\r\ndef", 6, 9), "a.json:2:2: error[E-KEY]: message\n    2 | def\n      |  ^^\n");
  EXPECT_EQ(rendered("abc", 99, 1), "a.json:1:4: error[E-KEY]: message\n    1 | abc\n      |    ^\n");
  EXPECT_EQ(rendered("", 0, 1), "a.json:1:1: error[E-KEY]: message\n    1 | \n      | ^\n");
}

TEST(diagnostic, columns_count_characters) {
  // Two-byte and four-byte characters are one column each; a tab is shown as a space.
  EXPECT_EQ(rendered("\t\xc3\xa4\xf0\x9f\x98\x80x", 7, 1),
            "a.json:1:4: error[E-KEY]: message\n    1 |  \xc3\xa4\xf0\x9f\x98\x80x\n      |    ^\n");
}

TEST(diagnostic, bytes_of_the_file_cannot_reach_the_terminal) {
  EXPECT_EQ(rendered("\x1b[2J\xff\xe2\x80\xaex", 8, 1),
            "a.json:1:7: error[E-KEY]: message\n    1 | \\x1b[2J\\xff\\u202ex\n      |                  ^\n");
  EXPECT_EQ(quoteText("a\nb\x7f"), "\"a\\x0ab\\x7f\"");
  EXPECT_EQ(quoteText("abcdef", 3), "\"abc...\"");
  DiagnosticList list;
  list.setSource("\x1b]0;x.json", "");
  EXPECT_EQ(list.fileName(), "\\x1b]0;x.json");
}

TEST(diagnostic, long_lines_are_cut_around_the_place) {
  std::string text = std::string(500, 'a') + "XY" + std::string(500, 'b');
  EXPECT_EQ(rendered(text, 500, 2), "a.json:1:501: error[E-KEY]: message\n    1 | ..." + std::string(40, 'a') + "XY" +
                                        std::string(55, 'b') + "...\n      | " + std::string(43, ' ') + "^^\n");
}

TEST(diagnostic, hints_are_wrapped_and_indented) {
  EXPECT_EQ(rendered("x", 0, 1, "one\ntwo"),
            "a.json:1:1: error[E-KEY]: message\n    1 | x\n      | ^\n  hint: one\n        two\n");
  std::string words;
  for (int i = 0; i < 30; ++i)
    words += "word" + std::to_string(i) + " ";
  std::string text = rendered("x", 0, 1, words);
  for (size_t at = 0, end; at < text.size(); at = end + 1) {
    end = text.find('\n', at);
    EXPECT_LE(end - at, 110u);
  }
}

TEST(diagnostic, severity_colour_json_and_file_as_a_whole) {
  DiagnosticList list;
  list.setSource("a.json", "x");
  list.add(Severity::Warning, "E-KEY", {}, "odd");
  EXPECT_FALSE(list.hasErrors());
  EXPECT_EQ(render(list, false), "a.json: warning[E-KEY]: odd\n");
  EXPECT_EQ(render(list, true), "\033[1ma.json: \033[0m\033[1;35mwarning[E-KEY]\033[0m: \033[1modd\033[0m\n");
  list.error("E-K", list.source().place(0, 1), "bad \"k\"", "fix", "router.select.k");
  EXPECT_EQ(renderJson(list.all()[1]),
            "{\"severity\":\"error\",\"code\":\"E-K\",\"file\":\"a.json\",\"line\":1,\"column\":1,\"length\":1,"
            "\"path\":\"router.select.k\",\"message\":\"bad \\\"k\\\"\",\"hint\":\"fix\"}");
}

TEST(spelling, nearest_word) {
  EXPECT_EQ(editDistance("kitten", "sitting"), 3u);
  EXPECT_EQ(editDistance("gaet", "gate"), 1u); // neighbours swapped
  EXPECT_EQ(editDistance("", "abc"), 3u);
  std::vector<std::string> words = {"softmax", "sigmoid", "relu"};
  EXPECT_EQ(closestSpelling("sofmax", words), "softmax");
  EXPECT_EQ(closestSpelling("swish", words), std::nullopt);
  EXPECT_EQ(closestSpelling("", words), std::nullopt);
  EXPECT_EQ(closestSpelling(std::string(100000, 'a'), words), std::nullopt);
}

TEST(data_type, names_and_bits) {
  for (int i = 0; i <= int(DataType::F64); ++i)
    EXPECT_EQ(parseDataType(dataTypeName(DataType(i))), DataType(i));
  EXPECT_EQ(parseDataType("float32"), std::nullopt);
  EXPECT_EQ(dataTypeBits(DataType::BF16), 16);
  EXPECT_EQ(dataTypeBits(DataType::MXFP4), 4);
  EXPECT_EQ(dataTypeBits(DataType::F64), 64);
}

TEST(diagnostic, place_and_context_become_text) {
  Diagnostic error = Diagnostic::error("E-TEMPLATE", "is wrong", "mend it", "experts.act");
  EXPECT_EQ(error.placedMessage(), "is wrong");
  error.file = "f.mlir";
  EXPECT_EQ(error.placedMessage(), "f.mlir: is wrong");
  error.setPlace({2, 8, 1});
  EXPECT_EQ(error.placedMessage(), "f.mlir:2:8: is wrong");
  Diagnostic outer = error.within("kernel k");
  EXPECT_EQ(outer.placedMessage(), "kernel k: f.mlir:2:8: is wrong");
  EXPECT_EQ(outer.code, "E-TEMPLATE");
  EXPECT_EQ(outer.hint, "mend it");
  EXPECT_EQ(outer.path, "experts.act");
}

TEST(diagnostic, list_takes_diagnostics_of_other_files) {
  DiagnosticList list;
  list.setSource("layer.json", "{\n  \"act\": \"wave\" }");
  Diagnostic elsewhere = Diagnostic::error("E-TEMPLATE", "is wrong", "", "act"), here = elsewhere;
  elsewhere.file = "wave.mlir";
  elsewhere.setPlace({5, 1, 1});
  here.file = "layer.json";
  here.setPlace({1, 1, 1});
  list.add(elsewhere, {2, 10, 6});
  list.add(here, {2, 10, 6});
  EXPECT_EQ(render(list.all()[0], list.source(), false),
            "layer.json:2:10: error[E-TEMPLATE]: wave.mlir:5:1: is wrong\n    2 |   \"act\": \"wave\" }\n"
            "      |          ^^^^^^\n");
  EXPECT_EQ(list.all()[1].line, 1u) << "a place in the list's own file is kept";
  EXPECT_EQ(list.all()[1].message, "is wrong");
}
