// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One walk over the text: strings and comments are skipped, brackets and operators counted, aliases measured.

#include "codegen/TextNesting.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"

#include <algorithm>

using namespace llvm;

namespace moec {

namespace {

class Walk {
public:
  Walk(StringRef text, const std::string &file, const std::string &code) : text(text), file(file), code(code) {}

  Result<> run() {
    while (at < text.size() && problem.empty())
      step();
    closeAlias();
    if (problem.empty())
      return {};
    Diagnostic error = Diagnostic::error(code, problem, "write it in pieces: no layer needs more");
    error.file = file;
    error.setPlace(SourceText(text.str()).place(at, 1));
    return error;
  }

private:
  // What an alias, or the one that is being defined, is when it is written out.
  struct Size {
    int64_t bytes = 0, nesting = 0;
  };

  char here(size_t ahead = 0) const { return at + ahead < text.size() ? text[at + ahead] : '\0'; }

  void refuse(const Twine &what) {
    if (problem.empty())
      problem = what.str();
  }

  void step() {
    char c = here();
    if (c == '"')
      return skipString();
    if (c == '/' && here(1) == '/') {
      at = std::min(text.find('\n', at), text.size());
      return;
    }
    if (isAlnum(c) || c == '_')
      return takeWord();
    if (c == '!' || c == '#')
      return takeAlias();
    if ((c == '-' && here(1) == '>') || (c == '>' && here(1) == '=')) { // no operator, no bracket
      at += 2;
      return;
    }
    if (c == '(' || c == '[' || c == '{' || c == '<')
      open();
    else if (c == ')' || c == ']' || c == '}' || c == '>')
      close();
    else if (c == '+' || c == '-' || c == '*')
      addOperator();
    else if (c == ',' || c == '=' || c == ':')
      operators = 0;
    else if (c == '\n' && depth == 0 && !text.slice(definedFrom, at).ltrim("= \t\n").empty())
      closeAlias();
    ++at;
  }

  void skipString() {
    for (++at; at < text.size() && here() != '"' && here() != '\n'; ++at)
      at += here() == '\\';
    ++at;
  }

  void takeWord() {
    size_t begin = at;
    while (isAlnum(here()) || here() == '_' || here() == '.' || here() == '$')
      ++at;
    StringRef word = text.slice(begin, at);
    if (word == "mod" || word == "floordiv" || word == "ceildiv")
      addOperator();
  }

  // !name or #name: used, or defined if = follows it at the outermost level. A dialect's own type looks the same.
  void takeAlias() {
    size_t begin = at++;
    while (isAlnum(here()) || here() == '_' || here() == '.' || here() == '$')
      ++at;
    StringRef name = text.slice(begin, at);
    if (depth == 0 && text.substr(at).ltrim(" \t").starts_with("=")) {
      closeAlias();
      defining = name.str();
      definedFrom = at;
      defined = {};
      return;
    }
    auto known = aliases.find(name);
    if (known == aliases.end())
      return;
    defined.bytes += known->second.bytes;
    nest(depth + known->second.nesting, "aliases");
    if (!defining.empty() && defined.bytes > maxAliasBytes)
      refuse("an alias expands to more than " + Twine(maxAliasBytes) + " bytes of types and attributes");
  }

  void nest(int64_t levels, const char *what) {
    defined.nesting = std::max(defined.nesting, levels);
    if (levels > maxTextNesting)
      refuse(Twine(what) + " are nested deeper than " + Twine(maxTextNesting) + " levels");
  }

  void open() {
    ++depth;
    operators = 0;
    nest(depth, "brackets");
  }

  void close() {
    depth = std::max<int64_t>(depth - 1, 0);
    operators = 0;
  }

  void addOperator() {
    if (++operators > maxTextOperators)
      refuse("an expression has more than " + Twine(maxTextOperators) + " operators");
  }

  // An alias ends with its line, or with the brackets that its line has opened.
  void closeAlias() {
    operators = 0;
    if (!defining.empty())
      aliases[defining] = {defined.bytes + int64_t(at - definedFrom), defined.nesting + 1};
    defining.clear();
  }

  StringRef text;
  const std::string &file, &code;
  size_t at = 0, definedFrom = 0;
  int64_t depth = 0, operators = 0;
  std::string defining, problem;
  Size defined;
  StringMap<Size> aliases;
};

} // namespace

Result<> checkNesting(StringRef text, const std::string &file, const std::string &code) {
  return Walk(text, file, code).run();
}

} // namespace moec
