// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The visitor that reads: looks up each key of the vocabulary in the current object of a JsonTree, checks kind, range
// and spelling, and stores the value. On leaving an object it reports keys that the vocabulary does not have there.

#ifndef MOEC_DSL_SPEC_FIELDREADER_H
#define MOEC_DSL_SPEC_FIELDREADER_H

#include "dsl/spec/SpecFields.h"
#include "dsl/spec/SpecReader.h"

namespace moec {

class FieldReader : public FieldVisitor {
public:
  FieldReader(const JsonTree &tree, const ReadOptions &options, SpecSource &source, DiagnosticList &diagnostics);

  void finish(); // leaves the root: reports its unknown keys

  void flag(std::string_view key, bool &value, bool fallback) override;
  void integer(std::string_view key, int64_t &value, int64_t fallback, IntRange range, Need need) override;
  void optionalInteger(std::string_view key, std::optional<int64_t> &value, IntRange range) override;
  void number(std::string_view key, double &value, double fallback, NumberRange range, Need need) override;
  void optionalNumber(std::string_view key, std::optional<double> &value, NumberRange range) override;
  void word(std::string_view key, int &value, int fallback, const WordList &words, Need need) override;
  void text(std::string_view key, std::string &value, Need need) override;
  void numberOrWord(std::string_view key, double &value, bool &isWord, double fallback, NumberRange range,
                    std::string_view word) override;
  void integers(std::string_view key, std::vector<int64_t> &value, IntRange range, bool alone) override;
  void texts(std::string_view key, std::vector<std::string> &value) override;
  void wordSet(std::string_view key, unsigned &bits, unsigned fallback, const WordList &words) override;
  void wordsOrAll(std::string_view key, unsigned &bits, const WordList &words) override;
  void dataType(std::string_view key, DataType &value, DataType fallback) override;
  void dataTypes(std::string_view key, DataTypes &value) override;
  void activation(std::string_view key, Activation &act, std::string &name) override;
  void topK(std::string_view shorthand, RouterSelect &select) override;
  bool enter(std::string_view key, Presence presence) override;
  bool enterShort(std::string_view key, Presence presence, std::string_view mainKey, const WordList &words) override;
  size_t enterList(std::string_view key, size_t count) override;
  void enterItem(size_t index) override;
  std::vector<std::string> enterMap(std::string_view key, const std::vector<std::string> &present) override;
  void leave() override;

private:
  // An object or list being read. `node` null: the file does not hold it, so every key has its default.
  struct Frame {
    const JsonNode *node;
    std::string path;
    std::vector<std::string> asked; // keys the description knows
    bool open = false;              // a map or list: its keys are not checked
    std::string mainKey;            // of a block that is written as the word of this key alone ...
    const JsonNode *word = nullptr; // ... which is here; then `node` is null
  };

  const JsonNode *lookUp(std::string_view key, Need need);
  std::string pathOf(std::string_view key) const;
  void fail(std::string_view code, const JsonNode &node, const std::string &path, std::string message,
            std::string hint = {});
  bool expect(const JsonNode &node, JsonKind kind, const std::string &path, std::string_view expected);
  bool readInteger(const JsonNode &node, const std::string &path, IntRange range, int64_t &value);
  bool readNumber(const JsonNode &node, const std::string &path, NumberRange range, double &value);
  int readWord(const JsonNode &node, const std::string &path, const WordList &words);
  unsigned readWords(const JsonNode &list, const std::string &path, const WordList &words);
  bool readDataType(const JsonNode &node, const std::string &path, DataType &value);
  void reportUnknownKeys(const Frame &frame);
  void push(const JsonNode *node, std::string path, bool open);

  const JsonTree &tree;
  const ReadOptions &options;
  SpecSource &source;
  DiagnosticList &diagnostics;
  std::vector<Frame> frames;
};

} // namespace moec

#endif
