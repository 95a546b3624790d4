// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// 20,000 mutated specs from a fixed seed: no crash, and whatever is refused is refused with a place inside the file.

#include "SpecTexts.h"

#include "dsl/Presets.h"
#include "dsl/spec/SpecPrinter.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

// xorshift64*: the same numbers on every machine.
struct Random {
  uint64_t state;
  uint64_t next() {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 2685821657736338717ull;
  }
  size_t below(size_t n) { return n ? next() % n : 0; }
};

const char *const tokens[] = {"{",          "}",       "[",         "]",         ",",
                              ":",          "\"",      "null",      "true",      "false",
                              "0",          "-1",      "1e308",     "1e-320",    "9223372036854775808",
                              "0.5",        "\"\"",    "\"top_k\"", "\"k\"",     "\"{e}\"",
                              "\\u0000",    "\xff",    "\"soft\"",  "\"table\"", "\"hierarchical\"",
                              "\"linear\"", "\"mlp\"", "65536",     "1048576",   "[1, 2]",
                              "{}"};

std::string mutated(std::string text, const std::vector<std::string> &corpus, Random &random) {
  for (size_t edits = 1 + random.below(3); edits > 0; --edits) {
    size_t at = random.below(text.size() + 1), length = random.below(12);
    const char *token = tokens[random.below(std::size(tokens))];
    switch (random.below(6)) {
    case 0:
      text.insert(at, token);
      break;
    case 1:
      text.erase(at, length);
      break;
    case 2:
      text.replace(at, std::min(length, text.size() - at), token);
      break;
    case 3:
      if (at < text.size())
        text[at] = char(random.below(256));
      break;
    case 4: { // a value replaced: from a colon to the next comma or bracket
      size_t colon = text.find(": ", at);
      size_t end = colon == std::string::npos ? colon : text.find_first_of(",}]\n", colon);
      if (end != std::string::npos)
        text.replace(colon + 2, end - colon - 2, token);
      break;
    }
    default: { // a line of another spec
      const std::string &other = corpus[random.below(corpus.size())];
      size_t from = other.find('\n', random.below(other.size()));
      size_t to = from == std::string::npos ? from : other.find('\n', from + 1);
      size_t line = text.find('\n', at);
      if (to != std::string::npos && line != std::string::npos)
        text.insert(line, other.substr(from, to - from));
      break;
    }
    }
  }
  return text;
}

} // namespace

TEST(spec_fuzz, mutated_specs_never_crash) {
  std::vector<std::string> corpus;
  for (const std::string &name : presetNames())
    corpus.push_back(*presetText(name));
  for (const GoldenSpec &golden : goldenSpecs())
    corpus.push_back(golden.text);
  Random random{0x9e3779b97f4a7c15ull};
  size_t valid = 0, refused = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text = mutated(corpus[random.below(corpus.size())], corpus, random);
    ReadResult result = readText(text);
    ASSERT_EQ(result.spec.has_value(), !result.diagnostics.hasErrors()) << text;
    if (result.spec) {
      ++valid;
      std::string printed = printSpec(*result.spec);
      ReadResult again = readText(printed);
      ASSERT_TRUE(again.spec) << text << "\n" << printed << again.rendered();
      ASSERT_EQ(printSpec(*again.spec), printed);
      rolesOf(*result.spec);
      continue;
    }
    ++refused;
    size_t lines = 1 + std::count(text.begin(), text.end(), '\n');
    for (const Diagnostic &diagnostic : result.diagnostics.all()) {
      ASSERT_GE(diagnostic.line, 1u) << text;
      ASSERT_LE(diagnostic.line, lines) << text;
      ASSERT_GE(diagnostic.column, 1u) << text;
      ASSERT_LE(diagnostic.column, text.size() + 1) << text;
      ASSERT_TRUE(explainCode(diagnostic.code)) << diagnostic.code;
      ASSERT_FALSE(diagnostic.message.empty());
    }
    for (char c : result.rendered())
      ASSERT_TRUE(c == '\n' || (unsigned char)c >= 0x20) << text;
  }
  // Both sides of the checker are exercised.
  EXPECT_GE(valid, 400u);
  EXPECT_GE(refused, 10000u);
}
