// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The vocabulary as a table; the JSON schema, the documentation and tests must agree with it.

#ifndef MOEC_DSL_SPEC_SPECVOCABULARY_H
#define MOEC_DSL_SPEC_SPECVOCABULARY_H

#include <string>
#include <vector>

namespace moec {

// One key. `path` is dotted; [] follows a list, * is any role: "router.transform[].op", "weights.*.part".
struct VocabularyKey {
  std::string path;
  std::string kind;               // boolean, integer, number, word, text, list, block, type, activation
  std::vector<std::string> words; // kind word: the values allowed; "" means null
  std::string range;              // "1..65536", "> 0"; empty: none
  std::string fallback;           // printed default; "required"; or empty if absence has its own meaning
};

// Every key once, in canonical order, including the keys of all alternatives (transform ops, loss kinds).
std::vector<VocabularyKey> specVocabulary();

} // namespace moec

#endif
