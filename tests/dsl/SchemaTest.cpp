// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// layer.schema.json and dsl/README.md say the same as the vocabulary the reader uses, key by key and word by word.

#include "SpecTexts.h"

#include "dsl/Presets.h"
#include "dsl/spec/SpecVocabulary.h"

#include <gtest/gtest.h>
#include <map>
#include <set>

using namespace moec;
using nlohmann::json;

namespace {

using Words = std::map<std::string, std::set<std::string>>; // path -> words allowed there

// Collects properties and their words. References point into the same file.
void collect(const json &root, const json &node, const std::string &path, Words &out) {
  if (node.contains("$ref")) {
    collect(root, root.at(json::json_pointer(node["$ref"].get<std::string>().substr(1))), path, out);
    return;
  }
  if (node.contains("enum"))
    for (const json &word : node["enum"])
      out[path].insert(word.is_null() ? "" : word.get<std::string>());
  for (const json &choice : node.value("anyOf", json::array()))
    collect(root, choice, path, out);
  const std::string prefix = path.empty() ? "" : path + ".";
  if (node.contains("properties")) {
    EXPECT_TRUE(node.contains("additionalProperties")) << path;
    for (const auto &[key, value] : node["properties"].items()) {
      out[prefix + key];
      collect(root, value, prefix + key, out);
    }
  }
  if (node.contains("additionalProperties") && node["additionalProperties"].is_object()) {
    out[prefix + "*"];
    collect(root, node["additionalProperties"], prefix + "*", out);
  }
  if (node.contains("items"))
    collect(root, node["items"], node["items"].contains("properties") ? path + "[]" : path, out);
}

} // namespace

TEST(schema, same_keys_and_words_as_the_reader) {
  json schema = json::parse(layerSchema(), nullptr, false);
  ASSERT_TRUE(schema.is_object());
  Words written;
  collect(schema, schema, "", written);
  Words known;
  for (const VocabularyKey &key : specVocabulary()) {
    known[key.path].insert(key.words.begin(), key.words.end());
    if (key.kind == "type" || key.path == "dtype")
      known[key.path] = {"f32", "bf16", "f16", "fp8_e4m3", "fp8_e5m2", "i8", "i4", "mxfp4"};
  }
  // The vocabulary shows a list inside a level without its items: they are those of router itself.
  Words items;
  for (const auto &[path, words] : known)
    if (path.rfind("router.transform[].", 0) == 0)
      items["router.levels[]" + path.substr(6)] = words;
  known.insert(items.begin(), items.end());
  for (const auto &[path, words] : known) {
    EXPECT_TRUE(written.count(path)) << path << " is missing in the schema";
    EXPECT_EQ(written[path], words) << path;
  }
  for (const auto &[path, words] : written)
    EXPECT_TRUE(known.count(path)) << path << " is not in the vocabulary";
  EXPECT_GE(known.size(), 150u);
}

TEST(schema, embedded_text_is_the_file) { EXPECT_EQ(layerSchema(), fileText("dsl/layer.schema.json")); }

TEST(schema, ranges_of_integers_are_those_of_the_reader) {
  json schema = json::parse(layerSchema(), nullptr, false);
  ASSERT_TRUE(schema.is_object());
  EXPECT_EQ(schema["properties"]["hidden"]["maximum"], 1 << 20);
  EXPECT_EQ(schema["properties"]["experts"]["properties"]["count"]["maximum"], 1 << 16);
  EXPECT_EQ(schema["properties"]["router"]["properties"]["top_k"]["maximum"], 256);
  EXPECT_EQ(schema["required"], json({"moec", "hidden", "router", "experts"}));
}

TEST(readme, documents_every_key_and_word) {
  std::string readme = fileText("dsl/README.md");
  for (const VocabularyKey &key : specVocabulary()) {
    if (key.path.rfind("router.levels[].", 0) == 0 && key.path != "router.levels[].count")
      continue; // the keys of router again
    size_t row = readme.find("| `" + key.path + "` |");
    ASSERT_NE(row, std::string::npos) << key.path;
    std::string line = readme.substr(row, readme.find('\n', row) - row);
    for (const std::string &word : key.words)
      EXPECT_NE(line.find(word), std::string::npos) << key.path << " " << word;
  }
}
