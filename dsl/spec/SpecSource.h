// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A dotted path of a key ("router.select.k", "router.transform[1].min", "weights.experts.gate.part") -> its place in
// the file that the spec was read from.
//
// The place of a missing key is the innermost object that would hold it. Without a file every place is 0.

#ifndef MOEC_DSL_SPEC_SPECSOURCE_H
#define MOEC_DSL_SPEC_SPECSOURCE_H

#include "dsl/text/JsonTree.h"

#include <map>
#include <set>
#include <string>
#include <string_view>

namespace moec {

class SpecSource {
public:
  SpecSource() = default;
  SpecSource(std::string_view fileName, std::string_view text);

  SourcePlace locate(std::string_view path) const;    // the value
  SourcePlace locateKey(std::string_view path) const; // the name of the key
  bool written(std::string_view path) const;          // the file holds the key

  // `path` as the file spells it: "router.top_k" for "router.select.k" if the shorthand is used.
  std::string spelled(std::string_view path) const;

  // True if reading the value at `path`, a block around it or a key inside it failed. Its field then holds a default
  // that the file does not mean, so checks must skip it.
  bool unreadable(std::string_view path) const;

  const std::string &fileName() const { return name; }
  const SourceText &text() const { return source; }
  const JsonTree &tree() const { return json; }

  // For the reader.
  void setTree(JsonTree tree) { json = std::move(tree); }
  void addAlias(std::string path, std::string written) { aliases[std::move(path)] = std::move(written); }
  void markUnreadable(std::string path) { failed.insert(std::move(path)); }

private:
  const JsonNode *find(std::string_view path, bool &exact) const;

  std::string name;
  SourceText source;
  JsonTree json;
  std::map<std::string, std::string, std::less<>> aliases;
  std::set<std::string, std::less<>> failed;
};

} // namespace moec

#endif
