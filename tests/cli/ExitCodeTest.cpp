// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Codes -> exit codes: every code that a source names is explained and has one, and the worst of several errors counts.

#include "codegen/cli/ExitCode.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <regex>
#include <set>
#include <sstream>

using namespace moec;

namespace {

// Codes in string literals of the compiler's sources.
std::set<std::string> codesInSources() {
  std::set<std::string> codes;
  std::regex literal("\"([EW]-[A-Z][A-Z0-9-]*)\"");
  for (const char *folder : {"/dsl", "/codegen"})
    for (const auto &entry : std::filesystem::recursive_directory_iterator(std::string(MOEC_SOURCE_DIR) + folder)) {
      if (entry.path().extension() != ".cpp" && entry.path().extension() != ".h")
        continue;
      std::ostringstream text;
      text << std::ifstream(entry.path()).rdbuf();
      std::string all = text.str();
      for (std::sregex_iterator it(all.begin(), all.end(), literal), end; it != end; ++it)
        codes.insert((*it)[1]);
    }
  return codes;
}

Diagnostic error(const char *code) { return Diagnostic::error(code, "x"); }

} // namespace

TEST(ExitCode, input_is_invalid_or_unsupported) {
  for (const std::string &code : diagnosticCodes())
    EXPECT_EQ(exitCodeOf(code), code[0] == 'W'            ? ExitDone
                                : code == "E-UNSUPPORTED" ? ExitUnsupported
                                                          : ExitInvalid)
        << code;
}

TEST(ExitCode, codes_of_the_command_line_have_their_own) {
  EXPECT_EQ(exitCodeOf("E-USAGE"), ExitUsage);
  EXPECT_EQ(exitCodeOf("E-TOOL"), ExitTool);
  EXPECT_EQ(exitCodeOf("E-MACHINE"), ExitDevice);
  EXPECT_EQ(exitCodeOf("E-FILE"), ExitFile);
  EXPECT_EQ(exitCodeOf("E-MEMORY"), ExitLimit);
  EXPECT_EQ(exitCodeOf("E-INTERNAL"), ExitInternal);
  for (const std::string &code : cliCodes()) {
    EXPECT_EQ(exitCodeOf(code) == ExitDone, code[0] == 'W') << code;
    EXPECT_FALSE(explainCode(code)) << code << " is in both tables";
    // What --explain says of an error names its exit code.
    if (code[0] == 'E') {
      EXPECT_NE(explainCliCode(code)->find("Exit " + std::to_string(exitCodeOf(code)) + "."), std::string::npos)
          << code;
    }
  }
}

TEST(ExitCode, unknown_code_is_an_internal_error) {
  EXPECT_EQ(exitCodeOf("E-NOTHING"), ExitInternal);
  EXPECT_EQ(exitCodeOf(""), ExitInternal);
}

TEST(ExitCode, every_code_of_a_source_is_explained) {
  std::set<std::string> codes = codesInSources();
  EXPECT_GE(codes.size(), 70u);
  for (const std::string &code : codes)
    EXPECT_TRUE(explainCode(code) || explainCliCode(code)) << code;
}

TEST(ExitCode, worst_of_several_errors_counts) {
  Diagnostic warning = error("E-USAGE");
  warning.severity = Severity::Warning;
  EXPECT_EQ(exitCodeOf({error("E-K"), error("E-UNSUPPORTED")}), ExitUnsupported);
  EXPECT_EQ(exitCodeOf({error("E-UNSUPPORTED"), error("E-TEMPLATE"), warning}), ExitUnsupported);
  EXPECT_EQ(exitCodeOf({error("E-INTERNAL"), error("E-FILE")}), ExitInternal);
  EXPECT_EQ(exitCodeOf(std::vector<Diagnostic>()), ExitInternal) << "something failed and did not say why";
}
