// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A visitor that writes down what it is shown, walked over a spec that has every block and every alternative.

#include "dsl/spec/SpecVocabulary.h"

#include "dsl/spec/SpecFields.h"
#include "dsl/spec/SpecPrinter.h"

#include <algorithm>

namespace moec {

namespace {

std::string rangeText(IntRange range) {
  if (range.min == std::numeric_limits<int64_t>::min())
    return {};
  return range.min == range.max ? std::to_string(range.min)
                                : std::to_string(range.min) + ".." + std::to_string(range.max);
}

std::string rangeText(NumberRange range) {
  if (range.min <= -1e30)
    return {};
  std::string low = range.aboveMin ? "> " + printNumber(range.min) : ">= " + printNumber(range.min);
  return range.max >= 1e30 ? low : low + ", <= " + printNumber(range.max);
}

class FieldCollector : public FieldVisitor {
public:
  std::vector<VocabularyKey> keys;

  void flag(std::string_view key, bool &, bool fallback) override {
    add(key, "boolean", {}, "", fallback ? "true" : "false");
  }
  void integer(std::string_view key, int64_t &, int64_t fallback, IntRange range, Need need) override {
    bool none = need == Need::Required || fallback == std::numeric_limits<int64_t>::min();
    add(key, "integer", {}, rangeText(range), none ? "required" : std::to_string(fallback));
  }
  void optionalInteger(std::string_view key, std::optional<int64_t> &, IntRange range) override {
    add(key, "integer", {}, rangeText(range), "");
  }
  void number(std::string_view key, double &, double fallback, NumberRange range, Need need) override {
    add(key, "number", {}, rangeText(range), need == Need::Required ? "required" : printNumber(fallback));
  }
  void optionalNumber(std::string_view key, std::optional<double> &, NumberRange range) override {
    add(key, "number", {}, rangeText(range), "");
  }
  void word(std::string_view key, int &, int fallback, const WordList &words, Need need) override {
    std::string value = need == Need::Required ? "required" : fallback < 0 ? "" : std::string(words[fallback]);
    add(key, "word", {words.begin(), words.end()}, "", value);
  }
  void text(std::string_view key, std::string &, Need need) override {
    add(key, "text", {}, "", need == Need::Required ? "required" : "");
  }
  void numberOrWord(std::string_view key, double &, bool &, double, NumberRange range, std::string_view word) override {
    add(key, "number", {std::string(word)}, rangeText(range), "required");
  }
  void integers(std::string_view key, std::vector<int64_t> &, IntRange range, bool alone) override {
    add(key, alone ? "integer or list" : "list", {}, rangeText(range), "");
  }
  void texts(std::string_view key, std::vector<std::string> &) override { add(key, "list", {}, "", "[]"); }
  void wordSet(std::string_view key, unsigned &, unsigned, const WordList &words) override {
    add(key, "list", {words.begin(), words.end()}, "", "[\"forward\"]");
  }
  void wordsOrAll(std::string_view key, unsigned &, const WordList &words) override {
    std::vector<std::string> all = {words.begin(), words.end()};
    all.push_back("all");
    add(key, "list", std::move(all), "", "[]");
  }
  void dataType(std::string_view key, DataType &, DataType fallback) override {
    add(key, "type", {}, "", std::string(dataTypeName(fallback)));
  }
  void dataTypes(std::string_view key, DataTypes &value) override {
    enter(key, Presence::Always);
    for (const char *part : {"activation", "weight", "router", "accumulate", "output"})
      dataType(part, value.activation, DataType::F32);
    leave();
  }
  void activation(std::string_view key, Activation &, std::string &) override {
    add(key, "activation", {activationWords.begin(), activationWords.end()}, "", "silu");
  }
  void topK(std::string_view key, RouterSelect &) override { add(key, "integer", {}, "", "select.k"); }

  bool enter(std::string_view key, Presence presence) override {
    add(key, "block", {}, "", presence == Presence::Always ? "{}" : "null");
    prefixes.push_back(prefixes.back() + std::string(key) + ".");
    return true;
  }
  bool enterShort(std::string_view key, Presence, std::string_view, const WordList &words) override {
    add(key, "word or block", {words.begin(), words.end()}, "", "null");
    prefixes.push_back(prefixes.back() + std::string(key) + ".");
    return true;
  }
  size_t enterList(std::string_view key, size_t count) override {
    add(key, "list", {}, "", "[]");
    if (count)
      prefixes.push_back(prefixes.back() + std::string(key) + "[].");
    return count;
  }
  void enterItem(size_t) override { prefixes.push_back(prefixes.back()); }
  std::vector<std::string> enterMap(std::string_view key, const std::vector<std::string> &) override {
    add(key, "block", {}, "", "{}");
    prefixes.push_back(prefixes.back() + std::string(key) + ".");
    return {"*"};
  }
  void leave() override { prefixes.pop_back(); }

private:
  // Alternatives show some keys more than once: words are joined, the first default stays.
  void add(std::string_view key, std::string kind, std::vector<std::string> words, std::string range,
           std::string fallback) {
    std::string path = prefixes.back() + std::string(key);
    for (VocabularyKey &known : keys) {
      if (known.path != path)
        continue;
      for (std::string &word : words)
        if (std::find(known.words.begin(), known.words.end(), word) == known.words.end())
          known.words.push_back(word);
      return;
    }
    keys.push_back({path, std::move(kind), std::move(words), std::move(range), std::move(fallback)});
  }

  std::vector<std::string> prefixes = {""};
};

} // namespace

std::vector<VocabularyKey> specVocabulary() {
  LayerSpec spec;
  for (TransformOp op : {TransformOp::Clamp, TransformOp::SoftCap, TransformOp::Temperature, TransformOp::Cosine}) {
    LogitTransform transform;
    transform.op = op;
    spec.router.transform.push_back(transform);
  }
  spec.router.levels.resize(1);
  for (const char *kind :
       {"load_balance", "z", "cv2", "entropy", "uniform_mse", "importance_x_load", "count_variance"}) {
    LossSpec loss;
    loss.kind = kind;
    spec.losses.push_back(loss);
  }
  FieldCollector collector;
  describeSpec(collector, spec);
  return std::move(collector.keys);
}

} // namespace moec
