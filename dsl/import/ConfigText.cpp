// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nlohmann's reader takes the text; only where it refuses, the reader of specs says the place.

#include "dsl/import/ConfigText.h"

#include "dsl/text/JsonTree.h"

namespace moec {

namespace {

bool isWordCharacter(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' ||
         c == '+' || c == '-';
}

// Every non-finite word outside of strings becomes a string of the same length, so that places stay.
std::string withoutNonFinite(std::string_view text) {
  std::string out(text);
  bool inString = false;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '"') {
      inString = !inString;
    } else if (inString) {
      at += text[at] == '\\';
    } else if (isWordCharacter(text[at])) {
      size_t end = at;
      while (end < text.size() && isWordCharacter(text[end]))
        ++end;
      std::string_view word = text.substr(at, end - at);
      if (word == "NaN" || word == "Infinity" || word == "-Infinity")
        out[at] = out[end - 1] = '"';
      at = end - 1;
    }
  }
  return out;
}

// Of a text that nlohmann's reader refused.
void sayPlace(const std::string &text, std::string_view fileName, std::vector<Diagnostic> &findings) {
  DiagnosticList list;
  list.setSource(fileName, text);
  JsonLimits limits;
  limits.bytes = limits.nodes = limits.stringBytes = maxConfigBytes;
  readJson(text, limits, list);
  for (const Diagnostic &finding : list.all())
    if (finding.severity == Severity::Error)
      return findings.push_back(finding);
  findings.push_back(Diagnostic::error("E-JSON", "the config is not valid JSON"));
}

} // namespace

std::optional<Json> readConfigText(std::string_view text, std::string_view fileName,
                                   std::vector<Diagnostic> &findings) {
  if (text.size() > maxConfigBytes) {
    findings.push_back(Diagnostic::error("E-IMPORT-KEY", "the config has " + std::to_string(text.size()) +
                                                             " bytes, at most " + std::to_string(maxConfigBytes) +
                                                             " are read"));
    return std::nullopt;
  }
  std::string finite = withoutNonFinite(text);
  Json root = Json::parse(finite, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded()) {
    sayPlace(finite, fileName, findings);
    return std::nullopt;
  }
  if (!root.is_object()) {
    findings.push_back(Diagnostic::error("E-IMPORT-KEY", "the config is not a JSON object"));
    return std::nullopt;
  }
  return root;
}

} // namespace moec
