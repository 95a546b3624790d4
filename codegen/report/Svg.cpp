// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Coordinates in -> markup out, with one digit behind the point.

#include "Svg.h"

#include "dsl/text/SourceText.h"

#include <cstdio>
#include <initializer_list>

namespace moec {

std::string htmlText(const std::string &text) {
  std::string out;
  for (char c : escaped(text))
    switch (c) {
    case '&':
      out += "&amp;";
      break;
    case '<':
      out += "&lt;";
      break;
    case '>':
      out += "&gt;";
      break;
    case '"':
      out += "&quot;";
      break;
    case '\'':
      out += "&#39;";
      break;
    default:
      out += c;
    }
  return out;
}

// Characters of escaped text, one after the other.
static std::vector<std::string> characters(const std::string &text) {
  std::vector<std::string> all;
  std::string plain = escaped(text);
  for (std::string_view rest = plain; !rest.empty();) {
    size_t bytes = decodeUtf8(rest).bytes;
    all.emplace_back(rest.substr(0, bytes));
    rest.remove_prefix(bytes);
  }
  return all;
}

static constexpr double characterWidth = 6.4;

double textWidth(const std::string &text) { return characterWidth * double(characters(text).size()); }

std::string fittedText(const std::string &text, double width) {
  std::vector<std::string> all = characters(text);
  size_t fits = width < characterWidth ? 1 : size_t(width / characterWidth);
  if (all.size() <= fits)
    return text;
  std::string cut;
  for (size_t i = 0; i + 1 < fits; ++i)
    cut += all[i];
  return cut + "…";
}

static std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  std::string out = text;
  if (out.size() > 2 && out.compare(out.size() - 2, 2, ".0") == 0)
    out.resize(out.size() - 2);
  return out;
}

static std::string attribute(const char *name, double value) {
  return std::string(" ") + name + "=\"" + number(value) + "\"";
}

static std::string pointList(const std::vector<Point> &points) {
  std::string list;
  for (auto [x, y] : points)
    list += (list.empty() ? "" : " ") + number(x) + "," + number(y);
  return list;
}

Svg::Svg(const std::string &classes, const std::string &label, double width, double height) {
  out = "<svg class=\"chart " + htmlText(classes) + "\" role=\"img\" aria-label=\"" + htmlText(label) +
        "\" viewBox=\"0 0 " + number(width) + " " + number(height) + "\"" + attribute("width", width) +
        attribute("height", height) + ">\n";
}

void Svg::open(const char *element, const std::string &classes) {
  out += std::string("<") + element + " class=\"" + htmlText(classes) + "\"";
}

void Svg::close(const char *element, const std::string &title) {
  if (title.empty())
    out += "/>\n";
  else
    out += "><title>" + htmlText(title) + "</title></" + element + ">\n";
}

void Svg::line(const std::string &classes, Point from, Point to) {
  open("line", classes);
  out += attribute("x1", from.first) + attribute("y1", from.second) + attribute("x2", to.first) +
         attribute("y2", to.second);
  close("line", "");
}

void Svg::polyline(const std::string &classes, const std::vector<Point> &points, const std::string &title) {
  open("polyline", classes);
  out += " points=\"" + pointList(points) + "\"";
  close("polyline", title);
}

void Svg::polygon(const std::string &classes, const std::vector<Point> &points, const std::string &title) {
  open("polygon", classes);
  out += " points=\"" + pointList(points) + "\"";
  close("polygon", title);
}

void Svg::rect(const std::string &classes, Point corner, double width, double height, const std::string &title) {
  open("rect", classes);
  out += attribute("x", corner.first) + attribute("y", corner.second) + attribute("width", width) +
         attribute("height", height);
  close("rect", title);
}

void Svg::path(const std::string &classes, const std::string &data, const std::string &title) {
  open("path", classes);
  out += " d=\"" + data + "\"";
  close("path", title);
}

void Svg::mark(const std::string &classes, int shape, Point center, const std::string &title, double size) {
  double x = center.first, y = center.second;
  std::string data = "M";
  auto add = [&](const char *command, std::initializer_list<double> lengths) {
    data += command;
    for (double length : lengths)
      data += number(length * size) + " ";
  };
  auto begin = [&](double dx, double dy) { data += number(x + dx * size) + " " + number(y + dy * size); };
  switch (shape % numMarkShapes) {
  case 0:
    begin(-4, 0);
    for (double across : {8.0, -8.0}) {
      add("a", {4, 4});
      data += "0 1 0 " + number(across * size) + " 0";
    }
    break;
  case 1:
    begin(-3.6, -3.6);
    add("h", {7.2});
    add("v", {7.2});
    add("h", {-7.2});
    break;
  case 2:
    begin(0, -4.8);
    add("l", {4.6, 8});
    add("h", {-9.2});
    break;
  default:
    begin(0, -5.2);
    for (auto [dx, dy] : {Point(5.2, 5.2), Point(-5.2, 5.2), Point(-5.2, -5.2)})
      add("l", {dx, dy});
  }
  path(classes, data + "z", title);
}

void Svg::cross(const std::string &classes, Point center, const std::string &title) {
  path(classes, "M" + number(center.first - 3) + " " + number(center.second - 3) + "l6 6m0 -6l-6 6", title);
}

void Svg::text(const std::string &classes, Point at, const std::string &content, Anchor anchor, double degrees) {
  open("text", classes);
  out += attribute("x", at.first) + attribute("y", at.second);
  if (anchor != Anchor::Start)
    out += anchor == Anchor::Middle ? " text-anchor=\"middle\"" : " text-anchor=\"end\"";
  if (degrees != 0)
    out += " transform=\"rotate(" + number(degrees) + " " + number(at.first) + " " + number(at.second) + ")\"";
  out += ">" + htmlText(content) + "</text>\n";
}

std::string Svg::finish() { return out + "</svg>\n"; }

} // namespace moec
