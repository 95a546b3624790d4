// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The integer formulas of derived template parameters, by recursive descent:
//
//     sum = product (('+' | '-') product)*      product = value (('*' | '/') value)*
//     value = number | name | name '(' sum ',' sum ')' | '(' sum ')'

#include "codegen/tile/Instantiate.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CheckedArithmetic.h"

#include <algorithm>
#include <optional>

namespace moec {
namespace {

class Evaluator {
public:
  Evaluator(llvm::StringRef text, const std::map<std::string, int64_t> &names) : text(text), names(names) {}

  std::optional<int64_t> run() {
    auto value = sum();
    skip();
    if (value && !text.empty())
      return fail("unexpected '" + text.take_front(8).str() + "'");
    return value;
  }
  std::string error;

private:
  std::optional<int64_t> fail(std::string message) {
    if (error.empty())
      error = std::move(message);
    return std::nullopt;
  }
  void skip() { text = text.ltrim(); }
  bool take(char c) {
    skip();
    return text.consume_front(llvm::StringRef(&c, 1));
  }

  std::optional<int64_t> sum() {
    auto left = product();
    while (left) {
      bool add = take('+');
      if (!add && !take('-'))
        break;
      auto right = product();
      if (!right)
        return std::nullopt;
      left = add ? llvm::checkedAdd(*left, *right) : llvm::checkedSub(*left, *right);
    }
    return left ? left : fail("the result does not fit 64 bits");
  }

  std::optional<int64_t> product() {
    auto left = value();
    while (left) {
      bool times = take('*');
      if (!times && !take('/'))
        break;
      auto right = value();
      if (!right)
        return std::nullopt;
      if (times)
        left = llvm::checkedMul(*left, *right);
      else if (*right <= 0)
        return fail("division by a value that is not positive");
      else
        left = *left / *right;
    }
    return left;
  }

  std::optional<int64_t> value() {
    if (++depth > 32)
      return fail("nested too deeply");
    skip();
    std::optional<int64_t> result;
    if (take('(')) {
      result = sum();
      if (result && !take(')'))
        return fail("expected ')'");
    } else if (!text.empty() && llvm::isDigit(text[0])) {
      int64_t number;
      if (text.consumeInteger(10, number))
        return fail("a number does not fit 64 bits");
      result = number;
    } else {
      llvm::StringRef name = text.take_while([](char c) { return llvm::isAlnum(c) || c == '_'; });
      if (name.empty())
        return fail("expected a number, a name or '('");
      text = text.drop_front(name.size());
      result = take('(') ? call(name) : lookup(name);
    }
    --depth;
    return result;
  }

  std::optional<int64_t> lookup(llvm::StringRef name) {
    auto it = names.find(name.str());
    if (it == names.end())
      return fail("unknown name '" + name.str() + "'");
    return it->second;
  }

  std::optional<int64_t> call(llvm::StringRef name) {
    auto a = sum();
    if (!a || !take(','))
      return fail("expected ',' in " + name.str() + "(a, b)");
    auto b = sum();
    if (!b || !take(')'))
      return fail("expected ')' after " + name.str() + "(a, b");
    if (name == "min")
      return std::min(*a, *b);
    if (name == "max")
      return std::max(*a, *b);
    if (name != "ceildiv")
      return fail("unknown function '" + name.str() + "'; there are ceildiv, min and max");
    if (*b <= 0 || *a < 0)
      return fail("ceildiv needs a >= 0 and b > 0");
    return *a / *b + (*a % *b != 0);
  }

  llvm::StringRef text;
  const std::map<std::string, int64_t> &names;
  int depth = 0;
};

} // namespace

Result<int64_t> evaluateFormula(llvm::StringRef formula, const std::map<std::string, int64_t> &names) {
  Evaluator evaluator(formula, names);
  if (std::optional<int64_t> value = evaluator.run())
    return *value;
  return Diagnostic::error("E-TEMPLATE", evaluator.error);
}

} // namespace moec
