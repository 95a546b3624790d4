// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The visitor that prints. Values equal to their fallback are skipped unless their key is required; blocks
// that stay empty are skipped with them.

#include "dsl/spec/SpecPrinter.h"

#include "dsl/spec/SpecFields.h"
#include "dsl/text/Sha256.h"

#include <charconv>
#include <nlohmann/json.hpp>

namespace moec {

namespace {

std::string jsonString(std::string_view text) {
  return nlohmann::json(std::string(text)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

class FieldPrinter : public FieldVisitor {
public:
  FieldPrinter() { containers.push_back({"", true, false, {}, {}}); }

  std::string take() { return render(containers[0], 0) + "\n"; }

  void flag(std::string_view key, bool &value, bool fallback) override {
    if (value != fallback)
      put(key, value ? "true" : "false");
  }
  void integer(std::string_view key, int64_t &value, int64_t fallback, IntRange, Need need) override {
    if (value != fallback || need == Need::Required)
      put(key, std::to_string(value));
  }
  void optionalInteger(std::string_view key, std::optional<int64_t> &value, IntRange) override {
    if (value)
      put(key, std::to_string(*value));
  }
  void number(std::string_view key, double &value, double fallback, NumberRange, Need need) override {
    if (value != fallback || need == Need::Required)
      put(key, printNumber(value));
  }
  void optionalNumber(std::string_view key, std::optional<double> &value, NumberRange) override {
    if (value)
      put(key, printNumber(*value));
  }
  void word(std::string_view key, int &value, int fallback, const WordList &words, Need need) override {
    if (value != fallback || need == Need::Required)
      put(key, jsonString(words[value]));
  }
  void text(std::string_view key, std::string &value, Need need) override {
    if (!value.empty() || need == Need::Required)
      put(key, jsonString(value));
  }
  void numberOrWord(std::string_view key, double &value, bool &isWord, double, NumberRange,
                    std::string_view word) override {
    put(key, isWord ? jsonString(word) : printNumber(value));
  }
  void integers(std::string_view key, std::vector<int64_t> &value, IntRange, bool alone) override {
    if (value.empty())
      return;
    std::string list;
    for (int64_t item : value)
      list += (list.empty() ? "" : ", ") + std::to_string(item);
    put(key, alone && value.size() == 1 ? list : "[" + list + "]");
  }
  void texts(std::string_view key, std::vector<std::string> &value) override {
    std::string list;
    for (const std::string &item : value)
      list += (list.empty() ? "" : ", ") + jsonString(item);
    if (!value.empty())
      put(key, "[" + list + "]");
  }
  void wordSet(std::string_view key, unsigned &bits, unsigned fallback, const WordList &words) override {
    std::string list;
    for (size_t i = 0; i < words.size(); ++i)
      if (bits >> i & 1)
        list += (list.empty() ? "" : ", ") + jsonString(words[i]);
    if (bits != fallback)
      put(key, "[" + list + "]");
  }
  void wordsOrAll(std::string_view key, unsigned &bits, const WordList &words) override {
    if (bits + 1 == 1u << words.size())
      put(key, jsonString("all"));
    else
      wordSet(key, bits, 0, words);
  }
  void dataType(std::string_view key, DataType &value, DataType fallback) override {
    if (value != fallback)
      put(key, jsonString(dataTypeName(value)));
  }
  void dataTypes(std::string_view key, DataTypes &value) override {
    if (value.accumulate == DataType::F32 && value.weight == value.activation && value.router == value.weight &&
        value.output == value.activation) {
      dataType(key, value.activation, DataType::F32);
      return;
    }
    enter(key, Presence::Always);
    dataType("activation", value.activation, DataType::F32);
    dataType("weight", value.weight, DataType::F32);
    dataType("router", value.router, value.weight);
    dataType("accumulate", value.accumulate, DataType::F32);
    dataType("output", value.output, value.activation);
    leave();
  }
  void activation(std::string_view key, Activation &act, std::string &name) override {
    if (act != Activation::Silu)
      put(key, jsonString(act == Activation::Custom ? std::string_view(name) : activationWords[int(act)]));
  }
  void topK(std::string_view, RouterSelect &) override {} // the select block is the canonical form

  bool enter(std::string_view key, Presence presence) override {
    if (presence == Presence::Absent)
      return false;
    containers.push_back({std::string(key), true, presence == Presence::Present, {}, {}});
    return true;
  }
  bool enterShort(std::string_view key, Presence presence, std::string_view mainKey, const WordList &) override {
    if (!enter(key, presence))
      return false;
    containers.back().mainKey = mainKey;
    return true;
  }
  size_t enterList(std::string_view key, size_t count) override {
    if (count)
      containers.push_back({std::string(key), false, true, {}, {}});
    return count;
  }
  void enterItem(size_t) override { containers.push_back({"", true, true, {}, {}}); }
  std::vector<std::string> enterMap(std::string_view key, const std::vector<std::string> &present) override {
    if (!present.empty())
      enter(key, Presence::Present);
    return present;
  }
  void leave() override {
    Container done = std::move(containers.back());
    containers.pop_back();
    if (!done.mainKey.empty() && done.entries.size() == 1 && done.entries[0].first == done.mainKey)
      return put(done.key, done.entries[0].second);
    if (done.keepEmpty || !done.entries.empty())
      put(done.key, render(done, int(containers.size())));
  }

private:
  struct Container {
    std::string key;
    bool object, keepEmpty;
    std::vector<std::pair<std::string, std::string>> entries;
    std::string mainKey; // of a block that is printed as this key's value if it has no other; empty: none
  };

  void put(std::string_view key, std::string text) {
    containers.back().entries.emplace_back(std::string(key), std::move(text));
  }

  // `depth`: levels of brackets around it.
  static std::string render(const Container &container, int depth) {
    const char *open = container.object ? "{" : "[", *close = container.object ? "}" : "]";
    if (container.entries.empty())
      return std::string(open) + close;
    std::string out = open, inner(2 * size_t(depth) + 2, ' ');
    for (const auto &[key, text] : container.entries) {
      out += (&text == &container.entries.front().second ? "\n" : ",\n") + inner;
      out += container.object ? jsonString(key) + ": " + text : text;
    }
    return out + "\n" + std::string(2 * size_t(depth), ' ') + close;
  }

  std::vector<Container> containers;
};

} // namespace

std::string printNumber(double value) {
  char buffer[32];
  auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value);
  return error == std::errc() ? std::string(buffer, end) : "0";
}

std::string printSpec(const LayerSpec &spec) {
  LayerSpec copy = spec;
  FieldPrinter printer;
  describeSpec(printer, copy);
  return printer.take();
}

std::array<uint8_t, 32> specHash(const LayerSpec &spec) { return sha256(printSpec(spec)); }

} // namespace moec
