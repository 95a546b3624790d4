// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What is wrong, as every room of the compiler says it -> the text a person reads:
//
//   layer.json:7:14: error[E-K]: top_k (12) is larger than experts.count (8)
//       7 |     "top_k": 12,
//         |              ^^
//     hint: top_k counts experts per token and must be 1..8
//
// A diagnostic knows its code, never an exit status: the command line chooses that (codegen/cli/ExitCode.h). Every part
// of it is printable: code that fills one passes texts of the input through quoteText().

#ifndef MOEC_DSL_TEXT_DIAGNOSTIC_H
#define MOEC_DSL_TEXT_DIAGNOSTIC_H

#include "dsl/text/SourceText.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moec {

enum class Severity { Error, Warning, Note };

struct Diagnostic {
  Severity severity = Severity::Error;
  std::string code;                        // "E-K"; DiagnosticCodes.cpp and ExitCode.cpp explain all
  std::string file;                        // as the user named it
  size_t line = 0, column = 0, length = 0; // from 1, in characters; 0: the file as a whole
  std::string message;                     // one sentence without a full stop
  std::string hint;                        // an action; may be empty, may have several lines
  std::string path;                        // dotted JSON path: "router.select.k"; may be empty

  // An error or a warning at no place of a file; whoever knows the place adds it.
  static Diagnostic error(std::string code, std::string message, std::string hint = {}, std::string path = {});
  static Diagnostic warning(std::string code, std::string message, std::string hint = {}, std::string path = {});

  void setPlace(SourcePlace place);
  // "FILE:LINE:COLUMN: message", or what is known of it: for a message inside another one.
  std::string placedMessage() const;
  // The same diagnostic with `context` before its placed message, for a caller that knows for what the callee worked.
  // Its place in a file becomes text.
  Diagnostic within(const std::string &context) const;
};

// The diagnostics of one file, with its text for the quoted lines.
class DiagnosticList {
public:
  // Names the file that later diagnostics belong to. `text` is copied.
  void setSource(std::string_view fileName, std::string_view text);

  // Adds at a place of the source; `place.line` 0 means the file as a whole.
  void add(Severity severity, std::string_view code, SourcePlace place, std::string message, std::string hint = {},
           std::string path = {});
  void error(std::string_view code, SourcePlace place, std::string message, std::string hint = {},
             std::string path = {}) {
    add(Severity::Error, code, place, std::move(message), std::move(hint), std::move(path));
  }

  void sort(); // by line and column, order of adding within

  // Adds a diagnostic of another room. A place in a file other than the list's becomes text of the message; `path`, if
  // the diagnostic has one, is looked up by the caller and given as `place`.
  void add(const Diagnostic &diagnostic, SourcePlace place = {});

  // True if the list accepts no more: a longer list would not help, and each entry costs a walk over its line.
  bool isFull() const { return list.size() >= maxDiagnostics; }
  static constexpr size_t maxDiagnostics = 200;

  bool hasErrors() const { return numErrors() != 0; }
  size_t numErrors() const;
  const std::vector<Diagnostic> &all() const { return list; }
  const SourceText &source() const { return text; }
  const std::string &fileName() const { return name; }

private:
  std::vector<Diagnostic> list;
  SourceText text;
  std::string name;
};

// All diagnostics in the form above, each ending with a line end. `color` adds ANSI colours.
std::string render(const DiagnosticList &list, bool color);
std::string render(const Diagnostic &diagnostic, const SourceText &source, bool color);

// One diagnostic as one JSON object on one line, for --log-format json.
std::string renderJson(const Diagnostic &diagnostic);

// A paragraph about a code: its meaning and what to do. nullopt: no such code.
std::optional<std::string> explainCode(std::string_view code);
std::vector<std::string> diagnosticCodes(); // all codes, sorted

} // namespace moec

#endif
