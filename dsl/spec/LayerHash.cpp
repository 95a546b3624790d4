// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Canonical text in -> its digest out.

#include "dsl/spec/LayerHash.h"

namespace moec {

std::string bareMlirText(std::string_view text) {
  std::string out;
  bool blank = false;
  auto put = [&](char c) {
    if (blank && !out.empty())
      out += ' ';
    blank = false;
    out += c;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
      blank = true;
    } else if (c == '/' && i + 1 < text.size() && text[i + 1] == '/') {
      while (i < text.size() && text[i] != '\n')
        ++i;
      blank = true;
    } else if (c == '"') {
      put(c);
      for (++i; i < text.size(); ++i) {
        out += text[i];
        if (text[i] == '"')
          break;
        if (text[i] == '\\' && i + 1 < text.size())
          out += text[++i];
      }
    } else {
      put(c);
    }
  }
  return out;
}

Sha256Digest layerHash(std::string_view canonicalSpec, const FunctionTexts &functions) {
  std::string text(canonicalSpec);
  for (const auto &[name, body] : functions)
    text += "function " + name + "\n" + bareMlirText(body) + "\n";
  return sha256(text);
}

} // namespace moec
