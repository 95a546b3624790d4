// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Lines in -> cells with their candidates out.

#include "TuneRecords.h"

#include "codegen/bench/BenchFile.h"
#include "codegen/bench/RatioInterval.h"

#include <algorithm>
#include <map>

namespace moec {

// A scalar as it is, an object as "key value, key value".
static std::string textOf(const JsonTree &tree, const JsonNode &node) {
  switch (node.kind) {
  case JsonKind::Null:
    return "";
  case JsonKind::Bool:
    return node.boolean ? "true" : "false";
  case JsonKind::Number:
  case JsonKind::String:
    return node.text;
  case JsonKind::Array:
  case JsonKind::Object:
    break;
  }
  std::string text;
  for (size_t child : node.children) {
    const JsonNode &part = tree.nodes[child];
    text += (text.empty()                   ? ""
             : node.kind == JsonKind::Array ? ".."
                                            : ", ") +
            (part.key.empty() ? "" : part.key + " ") + textOf(tree, part);
  }
  return text;
}

static std::string member(const JsonTree &tree, const char *key) {
  const JsonNode *node = tree.member(tree.root(), key);
  return node ? textOf(tree, *node) : "";
}

static double timeOf(const JsonTree &tree, const char *key) {
  const JsonNode *node = tree.member(tree.root(), key);
  std::optional<double> value = node && node->kind == JsonKind::Number ? doubleOf(node->text) : std::nullopt;
  return value && *value > 0 ? *value : NAN;
}

static std::string cellName(const JsonTree &tree) {
  std::string name = member(tree, "stage");
  if (std::string target = member(tree, "target"); !target.empty())
    name += (name.empty() ? "" : ", ") + target;
  for (const char *key : {"class", "rows", "tokens"})
    if (std::string value = member(tree, key); !value.empty())
      name += (name.empty() ? "" : ", ") + std::string(key) + " " + value;
  return name.empty() ? "unnamed" : name;
}

static bool saysFailure(std::string result) {
  std::transform(result.begin(), result.end(), result.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
  for (const char *word : {"wrong", "fail", "error", "timeout", "timed out", "crash"})
    if (result.find(word) != std::string::npos)
      return true;
  return false;
}

// Records may begin with lines that say what they are of.
static constexpr size_t linesOfHead = 50;

// Calls take(line, number, whether it is the last and has no end) for every line that is not blank.
template <typename Take> static void forEachLine(const std::string &text, Take take) {
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line(text.data() + begin, end - begin);
    ++number;
    begin = end + 1;
    if (line.find_first_not_of(" \t\r") != std::string_view::npos && !take(line, number, end == text.size()))
      return;
  }
}

static bool hasCandidate(const JsonTree &tree) {
  return tree.root().kind == JsonKind::Object &&
         (tree.member(tree.root(), "candidate") || tree.member(tree.root(), "candidate_us"));
}

bool isTuneFile(const std::string &text) {
  bool found = false;
  forEachLine(text, [&](std::string_view line, size_t number, bool) {
    DiagnosticList ignored;
    ignored.setSource("", "");
    std::optional<JsonTree> tree = readJsonLine(line, number, ignored);
    found = tree && hasCandidate(*tree);
    bool other = !tree || tree->root().kind != JsonKind::Object || tree->member(tree->root(), "moec_bench");
    return !found && !other && number < linesOfHead;
  });
  return found;
}

std::optional<TuneFile> readTuneFile(const std::string &text, DiagnosticList &diagnostics) {
  TuneFile file;
  file.name = diagnostics.fileName();
  std::map<std::string, size_t> places;
  std::vector<std::vector<double>> defaults;
  forEachLine(text, [&](std::string_view line, size_t number, bool unfinished) {
    DiagnosticList own;
    own.setSource(diagnostics.fileName(), text);
    std::optional<JsonTree> tree = readJsonLine(line, number, unfinished ? own : diagnostics);
    if (!tree || !hasCandidate(*tree)) {
      ++file.skipped;
      return !diagnostics.isFull();
    }
    auto [place, added] = places.emplace(cellName(*tree), file.cells.size());
    if (added) {
      file.cells.push_back({place->first, {}, NAN});
      defaults.emplace_back();
    }
    TuneCandidate candidate;
    candidate.text = member(*tree, "candidate");
    candidate.result = member(*tree, "result");
    candidate.us = timeOf(*tree, "candidate_us");
    candidate.failed = std::isnan(candidate.us) || saysFailure(candidate.result);
    file.cells[place->second].candidates.push_back(candidate);
    if (double us = timeOf(*tree, "default_us"); !std::isnan(us))
      defaults[place->second].push_back(us);
    return true;
  });
  if (diagnostics.hasErrors())
    return std::nullopt;
  for (size_t i = 0; i < file.cells.size(); ++i)
    file.cells[i].defaultUs = medianOf(defaults[i]);
  return file;
}

} // namespace moec
