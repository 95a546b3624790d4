// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Shapes and texts -> one inline <svg> element. Units are CSS pixels of the chart's own box; the page scales it.
//
// Colours are never written here: an element has classes, and Theme.h gives them colours in both themes. Texts may be
// anything; they are escaped.

#ifndef MOEC_CODEGEN_REPORT_SVG_H
#define MOEC_CODEGEN_REPORT_SVG_H

#include <string>
#include <utility>
#include <vector>

namespace moec {

// Text of an input -> text of HTML or of an attribute: nothing in it is markup, a control character or invalid UTF-8.
std::string htmlText(const std::string &text);

// Width of a text in the font of ticks, of 11 px: an estimate that is rather too large.
double textWidth(const std::string &text);

// `text` cut to that width, with an ellipsis.
std::string fittedText(const std::string &text, double width);

using Point = std::pair<double, double>;
enum class Anchor { Start, Middle, End };

// Marks that tell series apart without colour: a circle, a square, a triangle, a diamond, ...
constexpr int numMarkShapes = 4;

class Svg {
public:
  // `classes`: beside "chart"; `label`: what the chart shows, read by screen readers.
  Svg(const std::string &classes, const std::string &label, double width, double height);

  // `title`, if not empty, is the element's tooltip.
  void line(const std::string &classes, Point from, Point to);
  void polyline(const std::string &classes, const std::vector<Point> &points, const std::string &title = {});
  void polygon(const std::string &classes, const std::vector<Point> &points, const std::string &title = {});
  void rect(const std::string &classes, Point corner, double width, double height, const std::string &title = {});
  void mark(const std::string &classes, int shape, Point center, const std::string &title, double size = 1);
  void cross(const std::string &classes, Point center, const std::string &title);
  // `degrees` turns the text around its place.
  void text(const std::string &classes, Point at, const std::string &content, Anchor anchor = Anchor::Start,
            double degrees = 0);

  std::string finish(); // the whole element

private:
  void open(const char *element, const std::string &classes);
  void close(const char *element, const std::string &title);
  void path(const std::string &classes, const std::string &data, const std::string &title);
  std::string out;
};

} // namespace moec

#endif
