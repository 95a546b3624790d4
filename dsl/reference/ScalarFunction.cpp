// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// ScalarFunction: a reader by hand, one token ahead, and an interpreter of the list it makes.

#include "dsl/reference/ScalarFunction.h"

#include "dsl/text/SourceText.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>

namespace moec {

namespace {

using Op = ScalarFunction::Op;

struct OpInfo {
  std::string_view name;
  Op op;
  int operands;
};

constexpr OpInfo opTable[] = {
    {"arith.constant", Op::Constant, 0},
    {"arith.addf", Op::Add, 2},
    {"arith.subf", Op::Sub, 2},
    {"arith.mulf", Op::Mul, 2},
    {"arith.divf", Op::Div, 2},
    {"arith.negf", Op::Neg, 1},
    {"arith.maximumf", Op::Maximum, 2},
    {"arith.minimumf", Op::Minimum, 2},
    {"arith.cmpf", Op::Compare, 2},
    {"arith.select", Op::Select, 3},
    {"math.exp", Op::Exp, 1},
    {"math.expm1", Op::Expm1, 1},
    {"math.log", Op::Log, 1},
    {"math.log1p", Op::Log1p, 1},
    {"math.tanh", Op::Tanh, 1},
    {"math.erf", Op::Erf, 1},
    {"math.sqrt", Op::Sqrt, 1},
    {"math.absf", Op::Abs, 1},
};

struct PredicateInfo {
  std::string_view name;
  uint8_t bits; // 1 less, 2 equal, 4 greater, 8 unordered
};

constexpr PredicateInfo predicateTable[] = {
    {"false", 0}, {"oeq", 2},  {"ogt", 4},  {"oge", 6}, {"olt", 1},  {"ole", 3},  {"one", 5}, {"ord", 7},
    {"ueq", 10},  {"ugt", 12}, {"uge", 14}, {"ult", 9}, {"ule", 11}, {"une", 13}, {"uno", 8}, {"true", 15},
};

bool isWordChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '$';
}

} // namespace

// One file. A token is a word (letters, digits, _ . $, with a leading % or @), a number, "->" or one other character;
// the end of the text is the empty token.
class ScalarFunctionParser {
public:
  ScalarFunctionParser(std::string_view text, std::string_view fileName) : text(text), fileName(fileName) {}

  Result<ScalarFunction> run() {
    if (!parse())
      return std::move(error);
    return std::move(function);
  }

private:
  bool parse() {
    if (text.size() > ScalarFunction::maxBytes)
      return failAt(0, "the text has " + std::to_string(text.size()) + " bytes; at most " +
                           std::to_string(ScalarFunction::maxBytes) + " are allowed");
    advance();
    if (!parseHead())
      return false;
    while (token != "func.return")
      if (!parseOp())
        return false;
    return parseTail();
  }

  struct Value {
    uint16_t index;
    bool isBool;
  };

  bool fail(const std::string &message) { return failAt(tokenLine, message); }
  bool failAt(size_t atLine, const std::string &message) {
    error = Diagnostic::error("E-TEMPLATE", message);
    error.file = fileName;
    error.line = atLine;
    return false;
  }
  std::string found() const { return token.empty() ? "the end of the text" : quoteText(token, 40); }

  void skipSpace() {
    while (pos < text.size()) {
      char c = text[pos];
      if (c == '\n')
        ++line;
      if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
        ++pos;
      } else if (text.substr(pos, 2) == "//") {
        while (pos < text.size() && text[pos] != '\n')
          ++pos;
      } else {
        return;
      }
    }
  }

  void advance() {
    skipSpace();
    tokenLine = line;
    size_t start = pos;
    if (pos < text.size()) {
      char c = text[pos++];
      bool number = (c >= '0' && c <= '9') || (c == '-' && pos < text.size() && text[pos] != '>');
      if (c == '-' && text.substr(pos, 1) == ">") {
        ++pos;
      } else if (number || c == '%' || c == '@' || isWordChar(c)) {
        while (pos < text.size() && (isWordChar(text[pos]) || (number && (text[pos] == '+' || text[pos] == '-') &&
                                                               (text[pos - 1] | 0x20) == 'e')))
          ++pos;
      }
    }
    token = text.substr(start, pos - start);
  }

  bool expect(std::string_view wanted) {
    if (token != wanted)
      return fail("found " + found() + "; expected '" + std::string(wanted) + "'");
    advance();
    return true;
  }
  bool expectAll(std::initializer_list<std::string_view> wanted) {
    return std::all_of(wanted.begin(), wanted.end(), [this](std::string_view word) { return expect(word); });
  }

  bool parseHead() {
    if (!expect("func.func"))
      return false;
    if (token.size() < 2 || token[0] != '@')
      return fail("found " + found() + "; expected the function's name, as @NAME");
    function.functionName = std::string(token.substr(1));
    advance();
    if (!expect("("))
      return false;
    if (token.size() < 2 || token[0] != '%')
      return fail("found " + found() + "; expected one argument, as %x: f32");
    values.emplace(std::string(token), Value{0, false});
    advance();
    return expectAll({":", "f32", ")", "->", "f32", "{"});
  }

  bool parseTail() {
    advance();
    uint16_t index = 0;
    if (!parseOperand(false, index) || !expectAll({":", "f32", "}"}))
      return false;
    if (!token.empty())
      return fail("found " + found() + " after the function; a file holds one function");
    function.result = index;
    return true;
  }

  bool parseOperand(bool wantBool, uint16_t &index) {
    auto it = values.find(std::string(token));
    if (it == values.end())
      return fail("found " + found() + "; expected a value defined above");
    if (it->second.isBool != wantBool)
      return fail(quoteText(token, 40) + " is of type " + (wantBool ? "f32" : "i1") + "; expected " +
                  (wantBool ? "i1" : "f32"));
    index = it->second.index;
    advance();
    return true;
  }

  // 0x and the eight digits of the bits of an f32, or a decimal number.
  bool parseConstant(double &value) {
    const char *begin = token.data(), *end = begin + token.size();
    if (token.substr(0, 2) == "0x") {
      uint32_t bits = 0;
      auto [last, status] = std::from_chars(begin + 2, end, bits, 16);
      if (status != std::errc() || last != end || token.size() != 10)
        return fail("found " + found() + "; expected 0x and the eight hexadecimal digits of an f32");
      float asFloat;
      std::memcpy(&asFloat, &bits, sizeof asFloat);
      value = asFloat;
    } else {
      auto [last, status] = std::from_chars(begin, end, value);
      if (status != std::errc() || last != end || !std::isfinite(value))
        return fail("found " + found() + "; expected a finite number");
      if (token.find('.') == std::string_view::npos)
        return fail("found " + found() + "; a constant of type f32 needs a decimal point");
    }
    advance();
    return true;
  }

  bool parsePredicate(uint8_t &bits) {
    for (const PredicateInfo &info : predicateTable)
      if (token == info.name) {
        bits = info.bits;
        advance();
        return expect(",");
      }
    return fail("found " + found() +
                "; expected a predicate of arith.cmpf: oeq, ogt, oge, olt, ole, one, ord, ueq, "
                "ugt, uge, ult, ule, une, uno, true or false");
  }

  bool parseOperands(const OpInfo &info, ScalarFunction::Instruction &instruction) {
    for (int i = 0; i < info.operands; ++i) {
      if (i != 0 && !expect(","))
        return false;
      if (!parseOperand(info.op == Op::Select && i == 0, instruction.operand[i]))
        return false;
    }
    return expectAll({":", "f32"});
  }

  bool parseOp() {
    if (token.size() < 2 || token[0] != '%')
      return fail("found " + found() + "; expected '%NAME = OPERATION' or 'func.return'");
    std::string name(token);
    if (values.count(name))
      return fail(quoteText(name, 40) + " is defined twice");
    advance();
    if (!expect("="))
      return false;
    auto info = std::find_if(std::begin(opTable), std::end(opTable), [&](const OpInfo &i) { return i.name == token; });
    if (info == std::end(opTable))
      return fail("found " + found() + "; allowed are " + allowedOps());
    if (function.ops.size() == ScalarFunction::maxOps)
      return fail("the function has more than " + std::to_string(ScalarFunction::maxOps) + " operations");
    advance();
    ScalarFunction::Instruction instruction;
    instruction.op = info->op;
    if (info->op == Op::Constant && !parseConstant(instruction.constant))
      return false;
    if (info->op == Op::Compare && !parsePredicate(instruction.predicate))
      return false;
    if (!parseOperands(*info, instruction))
      return false;
    function.ops.push_back(instruction);
    values.emplace(std::move(name), Value{uint16_t(function.ops.size()), info->op == Op::Compare});
    return true;
  }

  static std::string allowedOps() {
    std::string list;
    for (const OpInfo &info : opTable)
      list += (list.empty() ? "" : ", ") + std::string(info.name);
    return list;
  }

  std::string_view text, fileName;
  Diagnostic error; // why parse() was false
  size_t pos = 0, line = 1, tokenLine = 1;
  std::string_view token;
  std::map<std::string, Value> values;
  ScalarFunction function;
};

Result<ScalarFunction> ScalarFunction::parse(std::string_view text, std::string_view fileName) {
  return ScalarFunctionParser(text, fileName).run();
}

double ScalarFunction::operator()(double x) const {
  double values[maxOps + 1];
  values[0] = x;
  for (size_t i = 0; i < ops.size(); ++i) {
    const Instruction &ins = ops[i];
    double a = values[ins.operand[0]], b = values[ins.operand[1]], y = 0;
    bool unordered = std::isnan(a) || std::isnan(b);
    switch (ins.op) {
    case Op::Constant:
      y = ins.constant;
      break;
    case Op::Add:
      y = a + b;
      break;
    case Op::Sub:
      y = a - b;
      break;
    case Op::Mul:
      y = a * b;
      break;
    case Op::Div:
      y = a / b;
      break;
    case Op::Neg:
      y = -a;
      break;
    case Op::Maximum:
      y = unordered ? a + b : std::fmax(a, b);
      break;
    case Op::Minimum:
      y = unordered ? a + b : std::fmin(a, b);
      break;
    case Op::Compare:
      y = (ins.predicate & (unordered ? 8 : a < b ? 1 : a == b ? 2 : 4)) != 0;
      break;
    case Op::Select:
      y = a != 0 ? b : values[ins.operand[2]];
      break;
    case Op::Exp:
      y = std::exp(a);
      break;
    case Op::Expm1:
      y = std::expm1(a);
      break;
    case Op::Log:
      y = std::log(a);
      break;
    case Op::Log1p:
      y = std::log1p(a);
      break;
    case Op::Tanh:
      y = std::tanh(a);
      break;
    case Op::Erf:
      y = std::erf(a);
      break;
    case Op::Sqrt:
      y = std::sqrt(a);
      break;
    case Op::Abs:
      y = std::fabs(a);
      break;
    }
    values[i + 1] = y;
  }
  return values[result];
}

} // namespace moec
