// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Walks the tree along a path. Role names hold dots themselves, so at each object the longest key that fits is taken.

#include "dsl/spec/SpecSource.h"

#include <charconv>

namespace moec {

SpecSource::SpecSource(std::string_view fileName, std::string_view text) : name(fileName), source(std::string(text)) {}

namespace {

bool isPathEnd(std::string_view path, size_t at) { return at == path.size() || path[at] == '.' || path[at] == '['; }

// The child of `node` that `path` names next; shortens `path`. nullptr: none.
const JsonNode *step(const JsonTree &tree, const JsonNode &node, std::string_view &path) {
  if (path[0] == '[') {
    size_t index = 0, close = path.find(']');
    if (close == std::string_view::npos)
      return nullptr;
    std::from_chars(path.data() + 1, path.data() + close, index);
    const JsonNode *item = tree.item(node, index);
    path.remove_prefix(close + 1);
    if (!path.empty() && path[0] == '.')
      path.remove_prefix(1);
    return item;
  }
  if (node.kind != JsonKind::Object)
    return nullptr;
  const JsonNode *best = nullptr;
  for (size_t child : node.children) {
    const JsonNode &candidate = tree.nodes[child];
    const std::string &key = candidate.key;
    if (!key.empty() && path.substr(0, key.size()) == key && isPathEnd(path, key.size()))
      if (!best || key.size() > best->key.size())
        best = &candidate;
  }
  if (!best)
    return nullptr;
  path.remove_prefix(best->key.size());
  if (!path.empty() && path[0] == '.')
    path.remove_prefix(1);
  return best;
}

} // namespace

const JsonNode *SpecSource::find(std::string_view path, bool &exact) const {
  exact = false;
  if (json.nodes.empty())
    return nullptr;
  if (auto alias = aliases.find(path); alias != aliases.end())
    path = alias->second;
  const JsonNode *node = &json.root();
  while (!path.empty()) {
    const JsonNode *next = step(json, *node, path);
    if (!next)
      return node;
    node = next;
  }
  exact = true;
  return node;
}

SourcePlace SpecSource::locate(std::string_view path) const {
  bool exact;
  const JsonNode *node = find(path, exact);
  return node ? source.place(node->offset, node->length) : SourcePlace();
}

SourcePlace SpecSource::locateKey(std::string_view path) const {
  bool exact;
  const JsonNode *node = find(path, exact);
  if (!node)
    return {};
  if (!exact || node->keyLength == 0)
    return source.place(node->offset, node->length);
  return source.place(node->keyOffset, node->keyLength);
}

bool SpecSource::written(std::string_view path) const {
  bool exact;
  return find(path, exact) && exact;
}

std::string SpecSource::spelled(std::string_view path) const {
  auto alias = aliases.find(path);
  return alias == aliases.end() ? std::string(path) : alias->second;
}

bool SpecSource::unreadable(std::string_view path) const {
  for (const std::string &bad : failed) {
    size_t common = std::min(bad.size(), path.size());
    if (path.substr(0, common) != std::string_view(bad).substr(0, common))
      continue;
    if (isPathEnd(bad.size() > common ? std::string_view(bad) : path, common) || bad.empty())
      return true;
  }
  return false;
}

} // namespace moec
