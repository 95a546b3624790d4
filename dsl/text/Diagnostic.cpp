// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rendering of diagnostics. Long lines are cut around the column so that the caret stays on a screen.

#include "dsl/text/Diagnostic.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

namespace moec {

Diagnostic Diagnostic::error(std::string code, std::string message, std::string hint, std::string path) {
  Diagnostic diagnostic;
  diagnostic.code = std::move(code);
  diagnostic.message = std::move(message);
  diagnostic.hint = std::move(hint);
  diagnostic.path = std::move(path);
  return diagnostic;
}

Diagnostic Diagnostic::warning(std::string code, std::string message, std::string hint, std::string path) {
  Diagnostic diagnostic = error(std::move(code), std::move(message), std::move(hint), std::move(path));
  diagnostic.severity = Severity::Warning;
  return diagnostic;
}

void Diagnostic::setPlace(SourcePlace place) {
  line = place.line;
  column = place.column;
  length = place.length;
}

std::string Diagnostic::placedMessage() const {
  if (file.empty())
    return message;
  std::string place = file;
  if (line)
    place += ":" + std::to_string(line) + (column ? ":" + std::to_string(column) : "");
  return place + ": " + message;
}

Diagnostic Diagnostic::within(const std::string &context) const {
  Diagnostic outer = error(code, context + ": " + placedMessage(), hint, path);
  outer.severity = severity;
  return outer;
}

void DiagnosticList::setSource(std::string_view fileName, std::string_view bytes) {
  name = escaped(fileName);
  text = SourceText(std::string(bytes));
}

// A path in a message may hold a key as the text has it: its control characters become visible, line ends stay.
static std::string visibleLines(std::string_view text) {
  std::string out;
  for (size_t end; (end = text.find('\n')) != std::string_view::npos; text.remove_prefix(end + 1))
    out += escaped(text.substr(0, end)) + "\n";
  return out + escaped(text);
}

void DiagnosticList::add(Severity severity, std::string_view code, SourcePlace place, std::string message,
                         std::string hint, std::string path) {
  if (isFull())
    return;
  Diagnostic diagnostic;
  diagnostic.severity = severity;
  diagnostic.code = code;
  diagnostic.file = name;
  diagnostic.setPlace(place);
  diagnostic.message = visibleLines(message);
  diagnostic.hint = visibleLines(hint);
  diagnostic.path = std::move(path);
  list.push_back(std::move(diagnostic));
}

void DiagnosticList::add(const Diagnostic &diagnostic, SourcePlace place) {
  bool own = escaped(diagnostic.file) == name;
  if (own && diagnostic.line)
    place = {diagnostic.line, diagnostic.column, diagnostic.length};
  add(diagnostic.severity, diagnostic.code, place, own ? diagnostic.message : diagnostic.placedMessage(),
      diagnostic.hint, diagnostic.path);
}

void DiagnosticList::sort() {
  std::vector<size_t> order(list.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::tie(list[a].line, list[a].column, a) < std::tie(list[b].line, list[b].column, b);
  });
  std::vector<Diagnostic> sorted;
  for (size_t i : order)
    sorted.push_back(std::move(list[i]));
  list = std::move(sorted);
}

size_t DiagnosticList::numErrors() const {
  return std::count_if(list.begin(), list.end(), [](const Diagnostic &d) { return d.severity == Severity::Error; });
}

namespace {

constexpr size_t maxShownColumns = 100; // of a source line
constexpr size_t contextColumns = 40;   // shown before the caret of a cut line

const char *severityName(Severity severity) {
  switch (severity) {
  case Severity::Error:
    return "error";
  case Severity::Warning:
    return "warning";
  case Severity::Note:
    return "note";
  }
  return "error";
}

// The visible form of a source line and the place of the marked characters in it.
struct ShownLine {
  std::string text;
  size_t caret = 0, length = 1;
};

ShownLine showLine(std::string_view line, size_t column, size_t length) {
  size_t first = column > maxShownColumns - 20 ? column - contextColumns : 1;
  ShownLine shown;
  shown.length = 0;
  size_t width = 0, number = 1;
  if (first > 1) {
    shown.text = "...";
    width = 3;
  }
  shown.caret = width;
  for (; !line.empty(); ++number) {
    size_t bytes = decodeUtf8(line).bytes;
    std::string visible = line[0] == '\t' ? " " : escaped(line.substr(0, bytes));
    line.remove_prefix(bytes);
    if (number < first)
      continue;
    if (width >= maxShownColumns) {
      shown.text += "...";
      break;
    }
    // An escaped character is as wide as its escape, every other one counts as one column.
    size_t wide = visible[0] == '\\' && visible.size() > 1 ? visible.size() : 1;
    if (number == column)
      shown.caret = width;
    if (number >= column && number < column + length)
      shown.length += wide;
    shown.text += visible;
    width += wide;
  }
  if (number <= column) // just behind the end, or in what is cut off
    shown.caret = width;
  shown.length = std::max<size_t>(shown.length, 1);
  return shown;
}

// Breaks lines at spaces so that none is longer than a terminal; further lines start with `indent`.
std::string wrapLines(const std::string &text, const std::string &indent) {
  std::string out;
  size_t width = 0;
  for (size_t at = 0; at < text.size();) {
    if (text[at] == '\n') {
      out += "\n" + indent;
      width = 0;
      ++at;
      continue;
    }
    size_t end = std::min(text.find_first_of(" \n", at + 1), text.size());
    if (width + (end - at) > maxShownColumns && width > 0) {
      out += "\n" + indent;
      width = 0;
      at += text[at] == ' ';
    }
    out += text.substr(at, end - at);
    width += end - at;
    at = end;
  }
  return out;
}

} // namespace

std::string render(const Diagnostic &diagnostic, const SourceText &source, bool color) {
  const char *bold = color ? "\033[1m" : "", *plain = color ? "\033[0m" : "";
  const char *tint = !color                                     ? ""
                     : diagnostic.severity == Severity::Error   ? "\033[1;31m"
                     : diagnostic.severity == Severity::Warning ? "\033[1;35m"
                                                                : "\033[1;36m";
  std::string out = bold + diagnostic.file;
  if (diagnostic.line)
    out += ":" + std::to_string(diagnostic.line) + ":" + std::to_string(diagnostic.column);
  out += std::string(": ") + plain + tint + severityName(diagnostic.severity) + "[" + diagnostic.code + "]" + plain +
         ": " + bold + diagnostic.message + plain + "\n";
  if (diagnostic.line) {
    ShownLine shown = showLine(source.line(diagnostic.line), diagnostic.column, diagnostic.length);
    std::string number = std::to_string(diagnostic.line);
    number.insert(0, number.size() < 5 ? 5 - number.size() : 0, ' ');
    out += number + " | " + shown.text + "\n" + std::string(number.size(), ' ') + " | " +
           std::string(shown.caret, ' ') + tint + std::string(shown.length, '^') + plain + "\n";
  }
  if (!diagnostic.hint.empty())
    out += "  hint: " + wrapLines(diagnostic.hint, "        ") + "\n";
  return out;
}

std::string render(const DiagnosticList &list, bool color) {
  std::string out;
  for (const Diagnostic &diagnostic : list.all())
    out += render(diagnostic, list.source(), color);
  if (list.isFull())
    out += list.fileName() + ": more problems are not listed\n";
  return out;
}

std::string renderJson(const Diagnostic &diagnostic) {
  nlohmann::ordered_json json = {{"severity", severityName(diagnostic.severity)},
                                 {"code", diagnostic.code},
                                 {"file", diagnostic.file},
                                 {"line", diagnostic.line},
                                 {"column", diagnostic.column},
                                 {"length", diagnostic.length},
                                 {"path", diagnostic.path},
                                 {"message", diagnostic.message},
                                 {"hint", diagnostic.hint}};
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

} // namespace moec
