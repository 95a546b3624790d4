// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The vocabulary as a table, for whoever must agree with it: the JSON schema, the documentation, tests.

#ifndef MOEC_DSL_SPEC_SPECVOCABULARY_H
#define MOEC_DSL_SPEC_SPECVOCABULARY_H

#include <string>
#include <vector>

namespace moec {

// One key. `path` is dotted; [] follows a list, * is any role: "router.transform[].op", "weights.*.part".
struct VocabularyKey {
  std::string path;
  std::string kind;               // boolean, integer, number, word, text, list, block, type, activation
  std::vector<std::string> words; // kind word: the values allowed; "" stands for null
  std::string range;              // "1..65536", "> 0"; empty: none
  std::string fallback;           // printed default; "required", or empty where absence has a meaning of its own
};

// Every key once, in canonical order. Keys of alternatives (transform ops, loss kinds) are all there.
std::vector<VocabularyKey> specVocabulary();

} // namespace moec

#endif
