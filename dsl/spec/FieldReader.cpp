// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reading of scalars, words and lists. Every refusal says what was found and what was expected.

#include "dsl/spec/FieldReader.h"

#include "dsl/spec/SpecPrinter.h"
#include "dsl/text/Spelling.h"

#include <algorithm>

namespace moec {

namespace {

// The value of a node, for a message: `"yes"`, `12`, `an object`.
std::string foundText(const JsonNode &node) {
  switch (node.kind) {
  case JsonKind::String:
    return quoteText(node.text, 48);
  case JsonKind::Number:
    return node.text;
  case JsonKind::Bool:
    return node.boolean ? "true" : "false";
  default:
    return std::string(kindName(node.kind));
  }
}

std::string rangeText(IntRange range) { return std::to_string(range.min) + ".." + std::to_string(range.max); }

std::string rangeText(NumberRange range) {
  if (range.min <= -1e30)
    return "a number";
  std::string low = (range.aboveMin ? "greater than " : "at least ") + printNumber(range.min);
  return range.max >= 1e30 ? low : low + " and at most " + printNumber(range.max);
}

std::string listText(const std::vector<std::string> &words) {
  std::string out;
  for (const std::string &word : words)
    out += (out.empty() ? "" : ", ") + word;
  return out;
}

std::string spellingHint(std::string_view found, const std::vector<std::string> &words, std::string_view what) {
  std::string hint;
  if (auto near = closestSpelling(found, words))
    hint = "did you mean \"" + *near + "\"? ";
  return escaped(hint + std::string(what) + ": " + listText(words)); // names of function files are among the words
}

// Names of model configuration files, where people copy sizes from.
std::string_view configName(std::string_view key) {
  static const std::pair<std::string_view, std::string_view> names[] = {{"hidden_size", "hidden"},
                                                                        {"d_model", "hidden"},
                                                                        {"num_experts", "count"},
                                                                        {"num_local_experts", "count"},
                                                                        {"n_routed_experts", "count"},
                                                                        {"intermediate_size", "intermediate"},
                                                                        {"moe_intermediate_size", "intermediate"},
                                                                        {"hidden_act", "act"},
                                                                        {"activation", "act"},
                                                                        {"num_experts_per_tok", "top_k"},
                                                                        {"topk", "top_k"},
                                                                        {"k", "top_k"},
                                                                        {"routed_scaling_factor", "scale"},
                                                                        {"norm_topk_prob", "normalize"},
                                                                        {"scoring_func", "score"},
                                                                        {"n_group", "groups"},
                                                                        {"torch_dtype", "dtype"},
                                                                        {"description", "name"}};
  for (const auto &[from, to] : names)
    if (key == from)
      return to;
  return {};
}

// Frequent words that are outside of a layer spec, or not generated: a better answer than "unknown".
struct OutOfScope {
  std::string_view word, code, message, hint;
};
constexpr std::string_view notRows = "experts that mix tokens, convolutions and attention, are not generated",
                           rowForms = "an expert works on one token at a time: glu, mlp or linear";
const OutOfScope *outOfScope(std::string_view path, std::string_view word) {
  static const OutOfScope kinds[] = {{"base", "E-ROUTE-ASSIGN", "balanced assignment of tokens is not generated",
                                      "its inference form is token_choice"},
                                     {"sinkhorn", "E-ROUTE-ASSIGN", "balanced assignment of tokens is not generated",
                                      "its inference form is token_choice"}};
  static const OutOfScope forms[] = {{"conv", "E-SCOPE-EXPERT", notRows, rowForms},
                                     {"conv1d", "E-SCOPE-EXPERT", notRows, rowForms},
                                     {"conv2d", "E-SCOPE-EXPERT", notRows, rowForms},
                                     {"convolution", "E-SCOPE-EXPERT", notRows, rowForms},
                                     {"attention", "E-SCOPE-EXPERT", notRows, rowForms}};
  static const OutOfScope keys[] = {
      {"agents", "E-SCOPE-AGENTS", "a mixture of agents is not a layer", "compile the layers of each model"},
      {"attention", "E-SCOPE-ATTN", "attention is outside of a layer spec",
       "a projection of it can be a layer with experts.form linear"}};
  if (path == "router.kind")
    for (const OutOfScope &row : kinds)
      if (row.word == word)
        return &row;
  if (path == "experts.form" || path == "shared.form")
    for (const OutOfScope &row : forms)
      if (row.word == word)
        return &row;
  if (path.empty())
    for (const OutOfScope &row : keys)
      if (row.word == word)
        return &row;
  return nullptr;
}

} // namespace

FieldReader::FieldReader(const JsonTree &tree, const ReadOptions &options, SpecSource &source,
                         DiagnosticList &diagnostics)
    : tree(tree), options(options), source(source), diagnostics(diagnostics) {
  push(&tree.root(), "", false);
}

void FieldReader::push(const JsonNode *node, std::string path, bool open) {
  frames.push_back({node, std::move(path), {}, open, {}, nullptr});
}

std::string FieldReader::pathOf(std::string_view key) const {
  const std::string &parent = frames.back().path;
  return parent.empty() ? std::string(key) : parent + "." + std::string(key);
}

void FieldReader::fail(std::string_view code, const JsonNode &node, const std::string &path, std::string message,
                       std::string hint) {
  source.markUnreadable(path);
  if (diagnostics.isFull())
    return;
  diagnostics.error(code, source.text().place(node.offset, node.length), std::move(message), std::move(hint), path);
}

const JsonNode *FieldReader::lookUp(std::string_view key, Need need) {
  Frame &frame = frames.back();
  frame.asked.emplace_back(key);
  const JsonNode *node = frame.node ? tree.member(*frame.node, key) : frame.mainKey == key ? frame.word : nullptr;
  if (!node && need == Need::Required && !frame.open) {
    std::string path = pathOf(key);
    source.markUnreadable(path);
    std::string hint;
    if (key == "moec")
      hint = "add \"moec\": 1, the version of the vocabulary";
    diagnostics.error("E-MISSING", source.locate(path), "key " + quoteText(path) + " is required", hint, path);
  }
  return node;
}

bool FieldReader::expect(const JsonNode &node, JsonKind kind, const std::string &path, std::string_view expected) {
  if (node.kind == kind)
    return true;
  fail("E-TYPE", node, path, escaped(path) + " must be " + std::string(expected) + ", found " + foundText(node));
  return false;
}

void FieldReader::flag(std::string_view key, bool &value, bool) {
  const JsonNode *node = lookUp(key, Need::Optional);
  if (node && expect(*node, JsonKind::Bool, pathOf(key), "true or false"))
    value = node->boolean;
}

bool FieldReader::readInteger(const JsonNode &node, const std::string &path, IntRange range, int64_t &value) {
  std::string expected = "an integer";
  if (!expect(node, JsonKind::Number, path, expected))
    return false;
  std::optional<int64_t> read = integerOf(node.text);
  bool isInteger = node.text.find_first_of(".eE") == std::string::npos;
  if (!isInteger) {
    fail("E-TYPE", node, path, escaped(path) + " must be an integer, found " + node.text,
         "write it without fraction and exponent");
    return false;
  }
  if (!read || *read < range.min || *read > range.max) {
    bool any = range.max == std::numeric_limits<int64_t>::max();
    fail("E-RANGE", node, path,
         escaped(path) + " (" + node.text + ") is out of range, expected " +
             (any ? "a 64-bit integer" : rangeText(range)));
    return false;
  }
  value = *read;
  return true;
}

bool FieldReader::readNumber(const JsonNode &node, const std::string &path, NumberRange range, double &value) {
  if (!expect(node, JsonKind::Number, path, "a number"))
    return false;
  std::optional<double> read = doubleOf(node.text);
  bool tooSmall = read && (range.aboveMin ? *read <= range.min : *read < range.min);
  if (!read || tooSmall || *read > range.max) {
    fail("E-RANGE", node, path, escaped(path) + " (" + node.text + ") is out of range, expected " + rangeText(range));
    return false;
  }
  value = *read + 0.0; // -0 is 0
  return true;
}

void FieldReader::integer(std::string_view key, int64_t &value, int64_t, IntRange range, Need need) {
  const JsonNode *node = lookUp(key, need);
  if (!node)
    return;
  if (key == "moec" && node->kind == JsonKind::Number && integerOf(node->text) != 1) {
    fail("E-VERSION", *node, pathOf(key), "version " + node->text + " of the vocabulary is not known, expected 1");
    return;
  }
  readInteger(*node, pathOf(key), range, value);
}

void FieldReader::optionalInteger(std::string_view key, std::optional<int64_t> &value, IntRange range) {
  const JsonNode *node = lookUp(key, Need::Optional);
  int64_t read = 0;
  if (node && readInteger(*node, pathOf(key), range, read))
    value = read;
}

void FieldReader::number(std::string_view key, double &value, double, NumberRange range, Need need) {
  if (const JsonNode *node = lookUp(key, need))
    readNumber(*node, pathOf(key), range, value);
}

void FieldReader::optionalNumber(std::string_view key, std::optional<double> &value, NumberRange range) {
  const JsonNode *node = lookUp(key, Need::Optional);
  double read = 0;
  if (node && readNumber(*node, pathOf(key), range, read))
    value = read;
}

// Position in `words`, -1 after an error. An empty word stands for null.
int FieldReader::readWord(const JsonNode &node, const std::string &path, const WordList &words) {
  if (node.kind == JsonKind::Null && words[0].empty())
    return 0;
  std::vector<std::string> allowed;
  for (std::string_view word : words)
    allowed.emplace_back(word.empty() ? "null" : word);
  if (node.kind == JsonKind::String)
    for (size_t i = 0; i < words.size(); ++i)
      if (!words[i].empty() && node.text == words[i])
        return int(i);
  if (!expect(node, JsonKind::String, path, "one of " + listText(allowed)))
    return -1;
  if (const OutOfScope *row = outOfScope(path, node.text))
    fail(row->code, node, path, std::string(row->message), std::string(row->hint));
  else
    fail("E-KEY", node, path, escaped(path) + " does not know " + quoteText(node.text),
         spellingHint(node.text, allowed, "expected one of"));
  return -1;
}

void FieldReader::word(std::string_view key, int &value, int, const WordList &words, Need need) {
  const JsonNode *node = lookUp(key, need);
  if (!node)
    return;
  bool alone = frames.back().word; // the word stands for its block, and has the block's path
  int found = readWord(*node, alone ? frames.back().path : pathOf(key), words);
  if (found >= 0)
    value = found;
}

void FieldReader::text(std::string_view key, std::string &value, Need need) {
  const JsonNode *node = lookUp(key, need);
  if (node && expect(*node, JsonKind::String, pathOf(key), "a string"))
    value = node->text;
}

void FieldReader::numberOrWord(std::string_view key, double &value, bool &isWord, double, NumberRange range,
                               std::string_view word) {
  const JsonNode *node = lookUp(key, Need::Required);
  if (!node)
    return;
  std::string path = pathOf(key);
  if (node->kind == JsonKind::String && node->text == word)
    isWord = true;
  else if (node->kind == JsonKind::Number)
    readNumber(*node, path, range, value);
  else
    fail(node->kind == JsonKind::String ? "E-KEY" : "E-TYPE", *node, path,
         escaped(path) + " must be a number or \"" + std::string(word) + "\", found " + foundText(*node));
}

void FieldReader::integers(std::string_view key, std::vector<int64_t> &value, IntRange range, bool alone) {
  const JsonNode *node = lookUp(key, Need::Optional);
  if (!node)
    return;
  std::string path = pathOf(key);
  int64_t read = 0;
  if (alone && node->kind == JsonKind::Number) {
    if (readInteger(*node, path, range, read))
      value = {read};
    return;
  }
  if (!expect(*node, JsonKind::Array, path, alone ? "an integer or a list of integers" : "a list of integers"))
    return;
  std::vector<int64_t> list;
  for (size_t i = 0; i < node->children.size(); ++i)
    if (readInteger(*tree.item(*node, i), path + "[" + std::to_string(i) + "]", range, read))
      list.push_back(read);
  if (list.size() == node->children.size())
    value = std::move(list);
}

void FieldReader::texts(std::string_view key, std::vector<std::string> &value) {
  const JsonNode *node = lookUp(key, Need::Optional);
  if (!node || !expect(*node, JsonKind::Array, pathOf(key), "a list of strings"))
    return;
  for (size_t i = 0; i < node->children.size(); ++i) {
    const JsonNode &item = *tree.item(*node, i);
    if (expect(item, JsonKind::String, pathOf(key) + "[" + std::to_string(i) + "]", "a string"))
      value.push_back(item.text);
  }
}

unsigned FieldReader::readWords(const JsonNode &list, const std::string &path, const WordList &words) {
  unsigned bits = 0;
  for (size_t i = 0; i < list.children.size(); ++i) {
    std::string item = path + "[" + std::to_string(i) + "]";
    int found = readWord(*tree.item(list, i), item, words);
    if (found < 0)
      continue;
    bits |= 1u << found;
    source.addAlias(path + "." + std::string(words[found]), item); // for checks that know the word alone
  }
  return bits;
}

void FieldReader::wordSet(std::string_view key, unsigned &bits, unsigned, const WordList &words) {
  const JsonNode *node = lookUp(key, Need::Optional);
  if (!node || !expect(*node, JsonKind::Array, pathOf(key), "a list of words"))
    return;
  bits = readWords(*node, pathOf(key), words);
}

void FieldReader::wordsOrAll(std::string_view key, unsigned &bits, const WordList &words) {
  const JsonNode *node = lookUp(key, Need::Optional);
  if (!node)
    return;
  if (node->kind == JsonKind::String && node->text == "all")
    bits = (1u << words.size()) - 1;
  else if (node->kind == JsonKind::String)
    fail("E-KEY", *node, pathOf(key), escaped(pathOf(key)) + " does not know " + quoteText(node->text),
         "expected \"all\" or a list of " + listText({words.begin(), words.end()}));
  else if (expect(*node, JsonKind::Array, pathOf(key), "\"all\" or a list of words"))
    bits = readWords(*node, pathOf(key), words);
}

bool FieldReader::readDataType(const JsonNode &node, const std::string &path, DataType &value) {
  static const std::vector<std::string> names = {"f32", "bf16", "f16", "fp8_e4m3", "fp8_e5m2", "i8", "i4", "mxfp4"};
  if (!expect(node, JsonKind::String, path, "the name of a type"))
    return false;
  std::optional<DataType> read = parseDataType(node.text);
  if (!read || std::find(names.begin(), names.end(), node.text) == names.end()) {
    fail("E-KEY", node, path, escaped(path) + " does not know the type " + quoteText(node.text),
         spellingHint(node.text, names, "expected one of"));
    return false;
  }
  value = *read;
  return true;
}

void FieldReader::dataType(std::string_view key, DataType &value, DataType) {
  if (const JsonNode *node = lookUp(key, Need::Optional))
    readDataType(*node, pathOf(key), value);
}

void FieldReader::dataTypes(std::string_view key, DataTypes &value) {
  const JsonNode *node = lookUp(key, Need::Optional);
  std::string path = pathOf(key);
  if (!node) {
    if (std::optional<DataType> given = parseDataType(options.dtype))
      value.activation = value.weight = value.router = value.output = *given;
    return;
  }
  if (node->kind != JsonKind::Object) {
    DataType one = DataType::F32;
    if (node->kind == JsonKind::String ? readDataType(*node, path, one)
                                       : expect(*node, JsonKind::Object, path, "the name of a type or an object"))
      value.activation = value.weight = value.router = value.output = one;
    return;
  }
  push(node, path, false);
  dataType("activation", value.activation, DataType::F32);
  dataType("weight", value.weight, DataType::F32);
  value.router = value.weight;
  dataType("router", value.router, value.weight);
  dataType("accumulate", value.accumulate, DataType::F32);
  value.output = value.activation;
  dataType("output", value.output, value.activation);
  leave();
}

void FieldReader::activation(std::string_view key, Activation &act, std::string &name) {
  const JsonNode *node = lookUp(key, Need::Optional);
  if (!node || !expect(*node, JsonKind::String, pathOf(key), "the name of an activation"))
    return;
  std::vector<std::string> allowed;
  for (size_t i = 0; i < activationWords.size(); ++i) {
    allowed.emplace_back(activationWords[i]);
    if (node->text != activationWords[i])
      continue;
    act = Activation(i);
    name = node->text;
    return;
  }
  for (const std::string &file : options.activations)
    if (std::find(allowed.begin(), allowed.end(), file) == allowed.end())
      allowed.push_back(file);
  if (std::find(options.activations.begin(), options.activations.end(), node->text) != options.activations.end()) {
    act = Activation::Custom;
    name = node->text;
    return;
  }
  fail("E-KEY", *node, pathOf(key), escaped(pathOf(key)) + " does not know " + quoteText(node->text),
       spellingHint(node->text, allowed, "expected one of") + ", or a function file of --templates");
}

// "top_k": 2 stands for "select": {"kind": "topk", "k": 2}.
void FieldReader::topK(std::string_view shorthand, RouterSelect &select) {
  const JsonNode *node = lookUp(shorthand, Need::Optional);
  if (!node)
    return;
  std::string path = pathOf(shorthand);
  const JsonNode *both = tree.member(*frames.back().node, "select");
  if (both && (tree.member(*both, "k") || tree.member(*both, "kind"))) {
    fail("E-KEY", *node, path, "top_k is short for a select block, and the spec has both",
         "keep one of them: \"top_k\": 2 means \"select\": {\"kind\": \"topk\", \"k\": 2}");
    return;
  }
  source.addAlias(pathOf("select.k"), path);
  int64_t any = std::numeric_limits<int64_t>::max();
  if (!readInteger(*node, path, {std::numeric_limits<int64_t>::min(), any}, select.k))
    source.markUnreadable(pathOf("select.k"));
}

bool FieldReader::enter(std::string_view key, Presence presence) {
  const JsonNode *node = lookUp(key, Need::Optional);
  std::string path = pathOf(key);
  if (presence == Presence::Always) {
    if (node && !expect(*node, JsonKind::Object, path, "an object"))
      return false;
    // Required keys of a block that is not written are missing too.
    push(node, path, false);
    return true;
  }
  if (!node || node->kind == JsonKind::Null || !expect(*node, JsonKind::Object, path, "an object or null"))
    return false;
  push(node, path, false);
  return true;
}

bool FieldReader::enterShort(std::string_view key, Presence presence, std::string_view mainKey, const WordList &words) {
  const JsonNode *node = frames.back().node ? tree.member(*frames.back().node, key) : nullptr;
  std::string path = pathOf(key);
  if (node && node->kind != JsonKind::String && node->kind != JsonKind::Object && node->kind != JsonKind::Null) {
    lookUp(key, Need::Optional);
    std::vector<std::string> allowed(words.begin(), words.end());
    fail("E-TYPE", *node, path,
         path + " must be one of " + listText(allowed) + ", an object or null, found " + foundText(*node));
    return false;
  }
  if (!node || node->kind != JsonKind::String)
    return enter(key, presence);
  lookUp(key, Need::Optional);
  source.addAlias(path + "." + std::string(mainKey), path);
  push(nullptr, path, false);
  frames.back().mainKey = mainKey;
  frames.back().word = node;
  return true;
}

size_t FieldReader::enterList(std::string_view key, size_t) {
  const JsonNode *node = lookUp(key, Need::Optional);
  if (!node || !expect(*node, JsonKind::Array, pathOf(key), "a list of objects") || node->children.empty())
    return 0;
  push(node, pathOf(key), true);
  return node->children.size();
}

void FieldReader::enterItem(size_t index) {
  const JsonNode *node = tree.item(*frames.back().node, index);
  std::string path = frames.back().path + "[" + std::to_string(index) + "]";
  if (expect(*node, JsonKind::Object, path, "an object")) {
    push(node, path, false);
    return;
  }
  // A value that is not an object has no keys.
  static const JsonNode nothing;
  push(&nothing, path, true);
}

std::vector<std::string> FieldReader::enterMap(std::string_view key, const std::vector<std::string> &) {
  const JsonNode *node = lookUp(key, Need::Optional);
  std::vector<std::string> keys;
  if (!node || !expect(*node, JsonKind::Object, pathOf(key), "an object"))
    return keys;
  for (size_t child : node->children)
    keys.push_back(tree.nodes[child].key);
  if (!keys.empty())
    push(node, pathOf(key), true);
  return keys;
}

void FieldReader::reportUnknownKeys(const Frame &frame) {
  if (!frame.node || frame.open || frame.node->kind != JsonKind::Object)
    return;
  for (size_t child : frame.node->children) {
    const JsonNode &node = tree.nodes[child];
    if (diagnostics.isFull())
      return;
    if (std::find(frame.asked.begin(), frame.asked.end(), node.key) != frame.asked.end())
      continue;
    std::string path = frame.path.empty() ? node.key : frame.path + "." + node.key;
    std::string hint;
    SourcePlace place = source.text().place(node.keyOffset, node.keyLength);
    if (const OutOfScope *row = outOfScope(frame.path, node.key)) {
      diagnostics.error(row->code, place, std::string(row->message), std::string(row->hint), path);
      continue;
    }
    std::string_view config = configName(node.key);
    if (std::find(frame.asked.begin(), frame.asked.end(), config) != frame.asked.end())
      hint = "did you mean \"" + std::string(config) + "\"? allowed here: " + listText(frame.asked);
    else
      hint = spellingHint(node.key, frame.asked, "allowed here");
    diagnostics.error("E-KEY", place,
                      "unknown key " + quoteText(node.key) + (frame.path.empty() ? "" : " in " + escaped(frame.path)),
                      hint, path);
  }
}

void FieldReader::leave() {
  reportUnknownKeys(frames.back());
  frames.pop_back();
}

void FieldReader::finish() { leave(); }

} // namespace moec
