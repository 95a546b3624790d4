// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nlohmann's SAX parser over an iterator that counts: when an event arrives, the count tells where its token ended.

#include "dsl/text/JsonTree.h"

#include <charconv>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>
#include <unordered_set>

namespace moec {

namespace {

// Reads bytes and publishes how many were taken. All copies share the counter.
class CountingIterator {
public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char *;
  using reference = const char &;

  CountingIterator(const char *at, const char *begin, size_t *count) : at(at), begin(begin), count(count) {}
  reference operator*() const { return *at; }
  CountingIterator &operator++() {
    ++at;
    *count = size_t(at - begin);
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator &other) const { return at == other.at; }
  bool operator!=(const CountingIterator &other) const { return at != other.at; }

private:
  const char *at, *begin;
  size_t *count;
};

bool isNumberChar(char c) { return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'; }

// Receives the events, checks the limits, builds the tree. Every handler returns false to stop.
class TreeBuilder : public nlohmann::json_sax<nlohmann::json> {
public:
  TreeBuilder(std::string_view text, const JsonLimits &limits, DiagnosticList &diagnostics)
      : text(text), limits(limits), diagnostics(diagnostics) {}

  size_t taken = 0; // bytes the parser has read, shared with the iterator
  JsonTree tree;
  bool failed = false;

  bool null() override { return addWord(JsonKind::Null, 4, false); }
  bool boolean(bool value) override { return addWord(JsonKind::Bool, value ? 4 : 5, value); }
  bool number_integer(number_integer_t) override { return addNumber(); }
  bool number_unsigned(number_unsigned_t) override { return addNumber(); }
  bool number_float(number_float_t, const string_t &) override { return addNumber(); }
  bool string(string_t &value) override {
    auto [offset, length] = stringToken();
    if (!checkString(value, offset, length))
      return false;
    JsonNode *node = addNode(JsonKind::String, offset, length);
    if (!node)
      return false;
    node->text = value;
    return true;
  }
  bool binary(binary_t &) override { return false; } // not produced by text
  bool start_object(std::size_t) override { return open(JsonKind::Object); }
  bool start_array(std::size_t) override { return open(JsonKind::Array); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t &value) override;
  bool parse_error(std::size_t position, const std::string &lastToken,
                   const nlohmann::detail::exception &problem) override;

private:
  struct Open {
    size_t node;
    std::unordered_set<std::string> keys;
  };

  bool fail(std::string_view code, size_t offset, size_t length, std::string message, std::string hint = {}) {
    diagnostics.error(code, diagnostics.source().place(offset, length), std::move(message), std::move(hint));
    failed = true;
    return false;
  }
  bool addWord(JsonKind kind, size_t length, bool value) {
    JsonNode *node = addNode(kind, taken - length, length);
    if (node)
      node->boolean = value;
    return node != nullptr;
  }
  bool addNumber();
  bool open(JsonKind kind);
  bool close() {
    stack.pop_back();
    return true;
  }
  JsonNode *addNode(JsonKind kind, size_t offset, size_t length);
  std::pair<size_t, size_t> stringToken() const;
  bool checkString(const std::string &value, size_t offset, size_t length);

  std::string_view text;
  const JsonLimits &limits;
  DiagnosticList &diagnostics;
  std::vector<Open> stack;
  std::string pendingKey;
  size_t pendingOffset = 0, pendingLength = 0;
};

JsonNode *TreeBuilder::addNode(JsonKind kind, size_t offset, size_t length) {
  if (tree.nodes.size() >= limits.nodes) {
    fail("E-LIMIT", offset, length, "the file holds more than " + std::to_string(limits.nodes) + " values",
         "a layer spec has a few dozen; is this the right file?");
    return nullptr;
  }
  JsonNode node;
  node.kind = kind;
  node.offset = offset;
  node.length = length;
  if (!stack.empty()) {
    JsonNode &parent = tree.nodes[stack.back().node];
    parent.children.push_back(tree.nodes.size());
    if (parent.kind == JsonKind::Object) {
      node.key = pendingKey;
      node.keyOffset = pendingOffset;
      node.keyLength = pendingLength;
    }
  }
  tree.nodes.push_back(std::move(node));
  return &tree.nodes.back();
}

bool TreeBuilder::addNumber() {
  // A number ends where another character starts, so the parser may have taken one byte too many.
  size_t end = taken;
  if (end > 0 && !isNumberChar(text[end - 1]))
    --end;
  size_t begin = end;
  while (begin > 0 && isNumberChar(text[begin - 1]))
    --begin;
  if (end - begin > limits.digits)
    return fail("E-LIMIT", begin, end - begin,
                "a number of " + std::to_string(end - begin) + " characters is longer than the limit of " +
                    std::to_string(limits.digits));
  JsonNode *node = addNode(JsonKind::Number, begin, end - begin);
  if (!node)
    return false;
  node->text = std::string(text.substr(begin, end - begin));
  return true;
}

bool TreeBuilder::open(JsonKind kind) {
  if (stack.size() >= limits.depth)
    return fail("E-LIMIT", taken - 1, 1,
                "arrays and objects are nested deeper than " + std::to_string(limits.depth) + " levels");
  if (!addNode(kind, taken - 1, 1))
    return false;
  stack.push_back({tree.nodes.size() - 1, {}});
  return true;
}

// The string token that ends at `taken`: found backwards, since its decoded form says nothing about its length.
std::pair<size_t, size_t> TreeBuilder::stringToken() const {
  size_t begin = taken - 1; // the closing quote
  while (begin > 0) {
    --begin;
    if (text[begin] != '"')
      continue;
    size_t slashes = 0;
    while (slashes < begin && text[begin - slashes - 1] == '\\')
      ++slashes;
    if (slashes % 2 == 0)
      break;
  }
  return {begin, taken - begin};
}

bool TreeBuilder::checkString(const std::string &value, size_t offset, size_t length) {
  if (value.size() <= limits.stringBytes)
    return true;
  return fail("E-LIMIT", offset, length,
              "a string of " + std::to_string(value.size()) + " bytes is longer than the limit of " +
                  std::to_string(limits.stringBytes));
}

bool TreeBuilder::key(string_t &value) {
  auto [offset, length] = stringToken();
  if (!checkString(value, offset, length))
    return false;
  if (!stack.back().keys.insert(value).second) {
    size_t line = 0;
    for (size_t child : tree.nodes[stack.back().node].children)
      if (tree.nodes[child].key == value)
        line = diagnostics.source().place(tree.nodes[child].keyOffset, 1).line;
    fail("E-DUP", offset, length, "key " + quoteText(value) + " occurs twice in one object",
         "the first one is in line " + std::to_string(line) + "; keep one of them");
    if (diagnostics.isFull())
      return false;
  }
  pendingKey = value;
  pendingOffset = offset;
  pendingLength = length;
  return true;
}

// What usually leads to a syntax error at this character.
std::string syntaxHint(std::string_view text, size_t offset) {
  if (offset >= text.size())
    return "a bracket or quote is not closed";
  switch (text[offset]) {
  case '/':
  case '#':
    return "JSON has no comments";
  case '\'':
    return "JSON strings stand between double quotes";
  case '}':
  case ']':
    return "a comma before a closing bracket is not allowed";
  case '"':
    return "a comma or a colon may be missing before it";
  case '{':
  case '[':
    return "a comma or a colon may be missing before it, or the file holds more than one spec";
  case 'N':
  case 'I':
    return "JSON has no NaN and no Infinity";
  case 'T':
  case 'F':
    return "JSON writes true and false in small letters";
  default:
    return {};
  }
}

bool TreeBuilder::parse_error(std::size_t position, const std::string &, const nlohmann::detail::exception &problem) {
  std::string what = problem.what();
  if (what.find("number overflow") != std::string::npos) {
    size_t begin = std::min(position, text.size());
    while (begin > 0 && isNumberChar(text[begin - 1]))
      --begin;
    return fail("E-RANGE", begin, position - begin, "a number does not fit a 64-bit floating point value");
  }
  // The parser stops behind the character it could not use; inside a word it has read a part of it.
  size_t offset = std::min(position == 0 ? 0 : position - 1, text.size());
  if (position > text.size() || (position == text.size() && what.find("unexpected end of input") != std::string::npos))
    offset = text.size();
  auto isWord = [&](size_t i) { return std::isalnum((unsigned char)text[i]) || text[i] == '_'; };
  if (offset < text.size() && isWord(offset))
    while (offset > 0 && isWord(offset - 1))
      --offset;
  size_t length = 1;
  while (offset + length < text.size() && isWord(offset) && isWord(offset + length))
    ++length;
  std::string found = offset >= text.size() ? "the end of the file" : quoteText(text.substr(offset, length), 24);
  if (what.find("ill-formed UTF-8") != std::string::npos || what.find("invalid BOM") != std::string::npos)
    return fail("E-JSON", offset, 1, "the file is not valid UTF-8 here");
  if (what.find("invalid string: control character") != std::string::npos)
    return fail("E-JSON", offset, 1, "a string holds a control character",
                "write it as \\n, \\t or \\u00XX, or close the string on its line");
  if (what.find("invalid string") != std::string::npos && offset < text.size())
    return fail("E-JSON", offset, 1, "a string holds an escape that JSON does not know",
                "known are \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\u with four hex digits");
  return fail("E-JSON", offset, length, "not valid JSON: unexpected " + found, syntaxHint(text, offset));
}

} // namespace

const JsonNode *JsonTree::member(const JsonNode &object, std::string_view key) const {
  if (object.kind == JsonKind::Object)
    for (size_t child : object.children)
      if (nodes[child].key == key)
        return &nodes[child];
  return nullptr;
}

const JsonNode *JsonTree::item(const JsonNode &array, size_t index) const {
  return array.kind == JsonKind::Array && index < array.children.size() ? &nodes[array.children[index]] : nullptr;
}

std::string_view kindName(JsonKind kind) {
  switch (kind) {
  case JsonKind::Null:
    return "null";
  case JsonKind::Bool:
    return "a boolean";
  case JsonKind::Number:
    return "a number";
  case JsonKind::String:
    return "a string";
  case JsonKind::Array:
    return "a list";
  case JsonKind::Object:
    return "an object";
  }
  return "a value";
}

std::optional<JsonTree> readJson(std::string_view text, const JsonLimits &limits, DiagnosticList &diagnostics) {
  auto refuse = [&](std::string_view code, std::string message, std::string hint) {
    diagnostics.error(code, diagnostics.source().place(0, 1), std::move(message), std::move(hint));
    return std::nullopt;
  };
  if (text.size() > limits.bytes)
    return refuse("E-LIMIT",
                  "the file has " + std::to_string(text.size()) + " bytes, more than the limit of " +
                      std::to_string(limits.bytes),
                  "a layer spec has a few kilobytes; is this the right file?");
  if (text.substr(0, 3) == "\xef\xbb\xbf")
    return refuse("E-JSON", "the file starts with a byte order mark", "save it as UTF-8 without BOM");
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos)
    return refuse("E-JSON", "the file is empty", "moec init writes a spec to start from");
  TreeBuilder builder(text, limits, diagnostics);
  CountingIterator begin(text.data(), text.data(), &builder.taken);
  CountingIterator end(text.data() + text.size(), text.data(), &builder.taken);
  bool complete = nlohmann::json::sax_parse(begin, end, &builder);
  if (!complete || builder.failed || builder.tree.nodes.empty())
    return std::nullopt;
  return std::move(builder.tree);
}

std::optional<int64_t> integerOf(std::string_view number) {
  int64_t value = 0;
  auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error != std::errc() || end != number.data() + number.size())
    return std::nullopt;
  return value;
}

std::optional<double> doubleOf(std::string_view number) {
  double value = 0;
  auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error != std::errc() || end != number.data() + number.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

} // namespace moec
