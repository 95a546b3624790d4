// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// bad_specs/*.txt: a wrong spec -> the whole text a person reads. Case names start with the code they are about.

#include "SpecTexts.h"

#include <cstdlib>
#include <gtest/gtest.h>
#include <set>

using namespace moec;

namespace {

struct BadSpec {
  std::string label, text, expected;
};
void PrintTo(const BadSpec &one, std::ostream *os) { *os << one.label; }

const char *const files[] = {"file", "routing", "experts", "layer"};

std::string casePath(const std::string &file) { return "tests/dsl/bad_specs/" + file + ".txt"; }

std::vector<BadSpec> casesOf(const std::string &file) {
  std::vector<BadSpec> cases;
  std::istringstream lines(fileText(casePath(file)));
  std::string line, *part = nullptr;
  while (std::getline(lines, line)) {
    if (line.rfind("==== ", 0) == 0) {
      cases.push_back({line.substr(5), "", ""});
      part = &cases.back().text;
    } else if (line == "----" && !cases.empty()) {
      cases.back().text.pop_back(); // the last line end belongs to the file of cases
      part = &cases.back().expected;
    } else if (part) {
      *part += line + "\n";
    }
  }
  return cases;
}

// Texts of the cases are written by the program when asked, never by hand: what they say is reviewed as a difference.
void rewriteCases() {
  if (!std::getenv("MOEC_REWRITE"))
    return;
  for (const char *file : files) {
    std::string old = fileText(casePath(file));
    std::string out = old.substr(0, old.find("==== "));
    for (const BadSpec &one : casesOf(file))
      out += "==== " + one.label + "\n" + one.text + "\n----\n" + readText(one.text).rendered();
    std::ofstream(std::string(MOEC_SOURCE_DIR) + "/" + casePath(file), std::ios::binary) << out;
  }
}
std::vector<BadSpec> allCases() {
  rewriteCases();
  std::vector<BadSpec> all;
  for (const char *file : files)
    for (BadSpec &one : casesOf(file))
      all.push_back(std::move(one));
  return all;
}

class bad_spec : public testing::TestWithParam<BadSpec> {};

} // namespace

TEST_P(bad_spec, says) {
  ReadResult result = readText(GetParam().text);
  EXPECT_FALSE(result.spec);
  EXPECT_EQ(result.rendered(), GetParam().expected);
  EXPECT_TRUE(result.diagnostics.hasErrors());
}

INSTANTIATE_TEST_SUITE_P(spec, bad_spec, testing::ValuesIn(allCases()),
                         [](const auto &info) { return info.param.label; });

// A case labelled K_... is about E-K: its text must say so.
TEST(bad_specs, labels_name_their_code) {
  std::vector<std::string> codes = diagnosticCodes();
  std::set<std::string> seen;
  for (const BadSpec &one : allCases()) {
    EXPECT_TRUE(seen.insert(one.label).second) << one.label << " stands twice";
    std::string best;
    for (const std::string &code : codes) {
      std::string label = code.substr(2) + "-";
      std::string start = one.label.substr(0, label.size());
      std::replace(start.begin(), start.end(), '_', '-');
      if (start == label && code.size() > best.size())
        best = code;
    }
    if (!best.empty()) {
      EXPECT_NE(one.expected.find("error[" + best + "]"), std::string::npos) << one.label;
    }
  }
}

// Every code a spec can draw has a case.
TEST(bad_specs, every_code_has_a_case) {
  std::string all;
  for (const BadSpec &one : allCases())
    all += one.expected;
  const std::set<std::string> elsewhere = {"E-UNSUPPORTED", "E-TEMPLATE",      "E-SCHEDULE", // stages after the spec
                                           "E-REFERENCE",                                    // ReferenceErrorTest
                                           "E-LIMIT",                                        // ReaderLimitsTest
                                           "E-IMPORT-KEY",  "E-IMPORT-MODEL",  "E-IMPORT-LAYER", "W-IMPORT-LAYER",
                                           "W-IMPORT-KEY",  "W-IMPORT-PREFIX", "W-QUIRK"}; // ImportTest
  for (const std::string &code : diagnosticCodes())
    if (!elsewhere.count(code)) {
      EXPECT_NE(all.find("error[" + code + "]"), std::string::npos) << code;
    }
}

// A code that a source names is explained, and one that is explained is documented.
TEST(diagnostic_codes, every_code_is_explained) {
  std::set<std::string> used;
  for (const auto &entry : std::filesystem::recursive_directory_iterator(std::string(MOEC_SOURCE_DIR) + "/dsl")) {
    if (entry.path().extension() != ".cpp")
      continue;
    std::string text = fileText(std::filesystem::relative(entry.path(), MOEC_SOURCE_DIR).string());
    for (size_t at = text.find("\"E-"); at != std::string::npos; at = text.find("\"E-", at + 1)) {
      size_t end = text.find('"', at + 1);
      used.insert(text.substr(at + 1, end - at - 1));
    }
  }
  EXPECT_GE(used.size(), 40u);
  std::string readme = fileText("dsl/README.md");
  for (const std::string &code : used)
    EXPECT_TRUE(explainCode(code)) << code;
  for (const std::string &code : diagnosticCodes()) {
    EXPECT_GE(explainCode(code)->size(), 60u) << code;
    EXPECT_NE(readme.find("| `" + code + "` |"), std::string::npos) << code;
  }
  EXPECT_FALSE(explainCode("E-NOTHING"));
}
