// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Hostile files: limits, broken bytes, truncation. The answer is always a diagnostic with a place, never a crash.

#include "SpecTexts.h"

#include "dsl/spec/SpecPrinter.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

// Message of the first diagnostic: "E-LIMIT 1:17 the text".
std::string firstOf(const std::string &text) {
  ReadResult result = readText(text);
  EXPECT_FALSE(result.spec);
  if (result.diagnostics.all().empty())
    return "nothing";
  const Diagnostic &first = result.diagnostics.all()[0];
  return first.code + " " + std::to_string(first.line) + ":" + std::to_string(first.column) + " " + first.message;
}

// A spec that is right but for what is put behind "experts".
std::string withRest(const std::string &rest) {
  return "{\"moec\": 1, \"hidden\": 8, \"router\": {\"top_k\": 1}, \"experts\": {\"count\": 2, \"intermediate\": 2}" +
         rest + "}";
}

std::string repeat(const std::string &text, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i)
    out += text;
  return out;
}

} // namespace

TEST(reader_limits, bytes) {
  std::string text = withRest("");
  ASSERT_TRUE(readText(text + std::string((1 << 20) - text.size(), ' ')).spec);
  EXPECT_EQ(firstOf(text + std::string((1 << 20) - text.size() + 1, ' ')),
            "E-LIMIT 1:1 the file has 1048577 bytes, more than the limit of 1048576");
}

TEST(reader_limits, depth) {
  EXPECT_EQ(firstOf(repeat("[", 16) + repeat("]", 16)), "E-TYPE 1:1 a spec must be an object, found a list");
  EXPECT_EQ(firstOf(repeat("[", 17) + repeat("]", 17)),
            "E-LIMIT 1:17 arrays and objects are nested deeper than 16 levels");
  EXPECT_EQ(firstOf(repeat("[", 1000000)), "E-LIMIT 1:17 arrays and objects are nested deeper than 16 levels");
  EXPECT_EQ(firstOf(repeat("{\"a\":", 100000)), "E-LIMIT 1:81 arrays and objects are nested deeper than 16 levels");
}

TEST(reader_limits, nodes) {
  EXPECT_EQ(firstOf("[" + repeat("1,", 9998) + "1]"), "E-TYPE 1:1 a spec must be an object, found a list");
  EXPECT_EQ(firstOf("[" + repeat("1,", 9999) + "1]"), "E-LIMIT 1:20000 the file holds more than 10000 values");
}

TEST(reader_limits, strings) {
  std::string fits(4096, 'a'), over(4097, 'a');
  EXPECT_EQ(firstOf(withRest(", \"name\": \"" + fits + "\"")).substr(0, 6), "E-NAME");
  EXPECT_EQ(firstOf(withRest(", \"name\": \"" + over + "\"")),
            "E-LIMIT 1:102 a string of 4097 bytes is longer than the limit of 4096");
  EXPECT_EQ(firstOf(withRest(", \"" + over + "\": 1")),
            "E-LIMIT 1:94 a string of 4097 bytes is longer than the limit of 4096");
  // The decoded length counts, and the place is found for escapes as well.
  EXPECT_EQ(firstOf(withRest(", \"name\": \"" + repeat("\\\"\\\\", 3000) + "\"")),
            "E-LIMIT 1:102 a string of 6000 bytes is longer than the limit of 4096");
}

TEST(reader_limits, numbers) {
  EXPECT_EQ(firstOf(withRest(", \"hidden2\": 0." + std::string(30, '1'))).substr(0, 5), "E-KEY");
  EXPECT_EQ(firstOf(withRest(", \"hidden2\": 0." + std::string(31, '1'))),
            "E-LIMIT 1:105 a number of 33 characters is longer than the limit of 32");
  EXPECT_EQ(firstOf("-" + std::string(100000, '9')).substr(0, 7), "E-RANGE");
}

TEST(reader_limits, diagnostics_are_bounded) {
  std::string keys;
  for (int i = 0; i < 9000; ++i)
    keys += ",\"x" + std::to_string(i) + "\":0";
  ReadResult result = readText(withRest(keys));
  EXPECT_EQ(result.diagnostics.all().size(), DiagnosticList::maxDiagnostics);
  std::string text = result.rendered(), last = "layer.json: more problems are not listed\n";
  EXPECT_EQ(text.substr(text.size() - last.size()), last);
}

TEST(reader_bytes, refused_with_a_place) {
  EXPECT_EQ(firstOf(""), "E-JSON 1:1 the file is empty");
  EXPECT_EQ(firstOf(" \n\t"), "E-JSON 1:1 the file is empty");
  EXPECT_EQ(firstOf("\xef\xbb\xbf{}"), "E-JSON 1:1 the file starts with a byte order mark");
  EXPECT_EQ(firstOf(std::string("{\0}", 3)), "E-JSON 1:2 not valid JSON: unexpected \"\\x00\"");
  EXPECT_EQ(firstOf("\x01\x02"), "E-JSON 1:1 not valid JSON: unexpected \"\\x01\"");
  EXPECT_EQ(firstOf("{\"a\nb\": 1}"), "E-JSON 1:4 a string holds a control character");
  EXPECT_EQ(firstOf("{\"\\x41\": 1}"), "E-JSON 1:4 a string holds an escape that JSON does not know");
  EXPECT_EQ(firstOf("{\"\xff\": 1}"), "E-JSON 1:3 the file is not valid UTF-8 here");
  EXPECT_EQ(firstOf("{\"\xed\xa0\x80\": 1}").substr(0, 6), "E-JSON"); // a surrogate
  EXPECT_EQ(firstOf("{\"\xc0\xaf\": 1}").substr(0, 6), "E-JSON");     // overlong
  EXPECT_EQ(firstOf("nul"), "E-JSON 1:4 not valid JSON: unexpected the end of the file");
  EXPECT_EQ(firstOf("{\"moec\": 01}"), "E-JSON 1:10 not valid JSON: unexpected \"01\"");
  EXPECT_EQ(firstOf("{\"moec\": +1}"), "E-JSON 1:10 not valid JSON: unexpected \"+\"");
  EXPECT_EQ(firstOf("{\"moec\": 1.}").substr(0, 6), "E-JSON");
  EXPECT_EQ(firstOf("{} {}"), "E-JSON 1:4 not valid JSON: unexpected \"{\"");
}

// Every prefix of a good file is a bad file.
TEST(reader_bytes, truncated_anywhere) {
  std::string text = fileText("examples/tiny.json");
  size_t whole = text.find_last_of('}') + 1;
  for (size_t n = 0; n < whole; ++n) {
    ReadResult result = readText(text.substr(0, n));
    ASSERT_FALSE(result.spec) << n;
    ASSERT_TRUE(result.diagnostics.hasErrors()) << n;
    ASSERT_GE(result.diagnostics.all()[0].line, 1u) << n;
    ASSERT_FALSE(result.rendered().empty());
  }
  EXPECT_TRUE(readText(text.substr(0, whole)).spec);
}

TEST(reader_options, name_dtype_and_activations) {
  ReadOptions options;
  options.defaultName = "My Layer-3.json";
  options.dtype = "bf16";
  options.activations = {"mish"};
  std::string text = "{\"moec\": 1, \"hidden\": 8, \"router\": {\"top_k\": 1}, "
                     "\"experts\": {\"count\": 2, \"intermediate\": 2, \"act\": \"mish\"}}";
  ReadResult result = readText(text, options);
  ASSERT_TRUE(result.spec) << result.rendered();
  EXPECT_EQ(result.spec->name, "my_layer_3");
  EXPECT_EQ(result.spec->dtype.weight, DataType::BF16);
  EXPECT_EQ(result.spec->dtype.accumulate, DataType::F32);
  EXPECT_EQ(result.spec->experts.act, Activation::Custom);
  EXPECT_EQ(result.spec->experts.actName, "mish");
  EXPECT_NE(printSpec(*result.spec).find("\"act\": \"mish\""), std::string::npos);
  EXPECT_EQ(layerNameOf("a/b/Qwen3-30B.json"), "qwen3_30b");
  EXPECT_EQ(layerNameOf("3x.json"), "layer_3x");
  EXPECT_EQ(layerNameOf("moec.json"), "layer_moec");
  EXPECT_EQ(layerNameOf(""), "layer_");
  EXPECT_TRUE(isLayerName(layerNameOf(std::string(200, '-'))));
}

TEST(spec_source, locates_keys) {
  std::string text = fileText("examples/tiny.json");
  ReadResult result = readText(text);
  ASSERT_TRUE(result.spec);
  auto at = [&](const char *path) {
    SourcePlace place = result.source.locate(path);
    return std::to_string(place.line) + ":" + std::to_string(place.column);
  };
  EXPECT_EQ(at("hidden"), "4:13");
  EXPECT_EQ(at("router.score"), "5:24");
  EXPECT_EQ(at("router.select.k"), "5:44"); // through the shorthand
  EXPECT_EQ(at("router.normalize.kind"), "5:70");
  EXPECT_EQ(at("router.groups.count"), "5:13"); // not written: the object around it
  EXPECT_EQ(at("shared.gate"), "1:1");
  EXPECT_EQ(result.source.spelled("router.select.k"), "router.top_k");
  EXPECT_EQ(result.source.locateKey("hidden").column, 3u);
  EXPECT_EQ(SpecSource().locate("hidden").line, 0u);
  ReadResult preset = readText(fileText("dsl/presets/gpt-oss-20b.json"));
  SourcePlace place = preset.source.locate("weights.experts.gate_bias.part");
  EXPECT_EQ(preset.source.text().line(place.line).substr(place.column - 1, place.length), "\"even\"");
}
