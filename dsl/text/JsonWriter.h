// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Calls in the order of a document -> its JSON text on a stream.
//
//   JsonWriter json(out, 2);
//   json.object([&] {
//     json.attribute("name", "tiny");
//     json.attributeArray("tokens", [&] { json.value(1), json.value(2); });
//   });
//
// With indent 0 the document is one line. Texts may hold anything: control characters are escaped, bytes that are not
// UTF-8 become U+FFFD. Numbers have as many digits as read back the same; NaN and infinities become null.

#ifndef MOEC_DSL_TEXT_JSONWRITER_H
#define MOEC_DSL_TEXT_JSONWRITER_H

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace moec {

class JsonWriter {
public:
  explicit JsonWriter(std::ostream &out, unsigned indent = 0) : out(out), indent(indent) {}

  template <typename Body> void object(Body body) { block('{', '}', body); }
  template <typename Body> void array(Body body) { block('[', ']', body); }
  template <typename T> void value(const T &v) {
    before();
    print(v);
  }
  void rawValue(std::string_view json) { // text that is JSON already
    before();
    out << json;
  }

  // Members of the open object.
  template <typename T> void attribute(std::string_view key, const T &v) {
    name(key);
    print(v);
  }
  void rawAttribute(std::string_view key, std::string_view json) {
    name(key);
    out << json;
  }
  template <typename Body> void attributeObject(std::string_view key, Body body) {
    name(key);
    nested('{', '}', body);
  }
  template <typename Body> void attributeArray(std::string_view key, Body body) {
    name(key);
    nested('[', ']', body);
  }

private:
  template <typename Body> void block(char open, char close, Body &body) {
    before();
    nested(open, close, body);
  }
  template <typename Body> void nested(char open, char close, Body &body) {
    out << open;
    counts.push_back(0);
    body();
    bool any = counts.back() != 0;
    counts.pop_back();
    if (any)
      line();
    out << close;
  }
  void before(); // the comma and the line end before a value
  void line();
  void name(std::string_view key);

  template <typename T> void print(const T &v) {
    if constexpr (std::is_same_v<T, bool>)
      out << (v ? "true" : "false");
    else if constexpr (std::is_same_v<T, std::nullptr_t>)
      out << "null";
    else if constexpr (std::is_floating_point_v<T>)
      printNumber(v);
    else if constexpr (std::is_integral_v<T>)
      out << std::to_string(v);
    else
      printText(v);
  }
  void printNumber(double v);
  void printText(std::string_view text);

  std::ostream &out;
  unsigned indent;
  std::vector<size_t> counts; // of what each open object and array holds
};

} // namespace moec

#endif
