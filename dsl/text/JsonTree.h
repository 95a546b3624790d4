// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// JSON text -> a tree that keeps the place of every value and the spelling of every number.
//
// Limits are checked while reading, before anything is stored, so a hostile file costs no more than a large valid one.

#ifndef MOEC_DSL_TEXT_JSONTREE_H
#define MOEC_DSL_TEXT_JSONTREE_H

#include "dsl/text/Diagnostic.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moec {

struct JsonLimits {
  size_t bytes = 1 << 20;    // of the file
  size_t depth = 16;         // arrays and objects inside each other
  size_t nodes = 10000;      // values
  size_t stringBytes = 4096; // of one key or string
  size_t digits = 32;        // characters of one number
};

enum class JsonKind { Null, Bool, Number, String, Array, Object };

struct JsonNode {
  JsonKind kind = JsonKind::Null;
  bool boolean = false;
  std::string text;                    // String: decoded; Number: as written
  size_t offset = 0, length = 0;       // bytes of the value; of the opening bracket for Array and Object
  std::string key;                     // name in the parent object
  size_t keyOffset = 0, keyLength = 0; // bytes of the key, quotes included
  std::vector<size_t> children;        // indices into JsonTree::nodes, in file order
};

// nodes[0] is the root.
struct JsonTree {
  std::vector<JsonNode> nodes;
  const JsonNode &root() const { return nodes[0]; }
  const JsonNode *member(const JsonNode &object, std::string_view key) const; // nullptr: none
  const JsonNode *item(const JsonNode &array, size_t index) const;            // nullptr: none
};

// "a string", "an object", ...: for messages.
std::string_view kindName(JsonKind kind);

// Reads the whole text; the list's source must be set to it. nullopt: at least one error was added
// (E-JSON syntax, E-DUP duplicate keys, E-LIMIT a limit).
std::optional<JsonTree> readJson(std::string_view text, const JsonLimits &limits, DiagnosticList &diagnostics);

// The value of a number without fraction or exponent, within int64; nullopt for others.
std::optional<int64_t> integerOf(std::string_view number);
// nullopt: not finite in double.
std::optional<double> doubleOf(std::string_view number);

} // namespace moec

#endif
