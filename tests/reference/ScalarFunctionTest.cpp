// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// templates/functions/*.mlir and texts like them, good and bad -> values in float64 or an error.

#include "dsl/reference/ScalarFunction.h"
#include "codegen/check/GoldenTensors.h"
#include "dsl/reference/Reference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>

using namespace moec;

namespace {

const std::string folder = MOEC_SOURCE_DIR "/templates/functions";
constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double notANumber = std::numeric_limits<double>::quiet_NaN();

using Formula = std::function<double(double)>;

Formula ofActivation(Activation act) {
  return [act](double v) { return referenceActivation(act, v); };
}
Formula ofScore(Score score) {
  return [score](double v) { return referenceScore(score, v); };
}

const std::map<std::string, Formula> formulas = {
    {"silu", ofActivation(Activation::Silu)},
    {"gelu", ofActivation(Activation::Gelu)},
    {"gelu_tanh", ofActivation(Activation::GeluTanh)},
    {"quick_gelu", ofActivation(Activation::QuickGelu)},
    {"relu", ofActivation(Activation::Relu)},
    {"relu2", ofActivation(Activation::Relu2)},
    {"identity", ofActivation(Activation::Identity)},
    {"sigmoid", ofScore(Score::Sigmoid)},
    {"softplus", ofScore(Score::Softplus)},
    {"sqrtsoftplus", ofScore(Score::SqrtSoftplus)},
    {"tanh", [](double v) { return (1 - std::exp(-2 * v)) / (1 + std::exp(-2 * v)); }},
};

std::string textOf(const std::string &name) {
  Result<std::string> text = readGoldenFile(folder + "/" + name + ".mlir", 1 << 16);
  EXPECT_TRUE(text) << text.error().placedMessage();
  return text ? *text : "";
}

std::string around(const std::string &body) { return "func.func @f(%x: f32) -> f32 {\n" + body + "}\n"; }

std::string errorOf(const std::string &text) {
  Result<ScalarFunction> function = ScalarFunction::parse(text, "f.mlir");
  EXPECT_FALSE(function) << text;
  return function ? "" : function.error().placedMessage();
}

double valueOf(const std::string &body, double x) {
  Result<ScalarFunction> function = ScalarFunction::parse(around(body), "f.mlir");
  EXPECT_TRUE(function) << function.error().placedMessage();
  return function ? (*function)(x) : notANumber;
}

} // namespace

TEST(ScalarFunction, functions_every_file_has_a_formula) {
  size_t files = 0;
  for (const auto &entry : std::filesystem::directory_iterator(folder)) {
    EXPECT_TRUE(formulas.count(entry.path().stem().string())) << entry.path();
    ++files;
  }
  EXPECT_EQ(files, formulas.size());
}

TEST(ScalarFunction, functions_agree_with_formulas_on_a_grid) {
  for (const auto &[name, formula] : formulas) {
    Result<ScalarFunction> function = ScalarFunction::parse(textOf(name), name + ".mlir");
    ASSERT_TRUE(function) << function.error().placedMessage();
    EXPECT_EQ(function->name(), name);
    for (int i = -4000; i <= 4000; ++i) {
      double x = i * 0.01, expected = formula(x);
      ASSERT_NEAR((*function)(x), expected, 1e-14 * (1 + std::fabs(expected))) << name << "(" << x << ")";
    }
    for (double x : {1e-300, -1e-300, 1e-8, -1e-8, 88.0, -88.0, 128.5, -128.5, 1e4, -1e4, 3e38, -3e38}) {
      double value = (*function)(x), expected = name == "tanh" ? std::tanh(x) : formula(x);
      if (std::isinf(expected))
        EXPECT_EQ(value, expected) << name << "(" << x << ")";
      else
        EXPECT_NEAR(value, expected, 1e-14 * (1 + std::fabs(expected))) << name << "(" << x << ")";
    }
  }
}

TEST(ScalarFunction, functions_have_their_limits) {
  const std::map<std::string, std::pair<double, double>> limits = {
      {"silu", {0, inf}},     {"gelu", {0, inf}},         {"gelu_tanh", {0, inf}},   {"quick_gelu", {0, inf}},
      {"relu", {0, inf}},     {"relu2", {0, inf}},        {"identity", {-inf, inf}}, {"sigmoid", {0, 1}},
      {"softplus", {0, inf}}, {"sqrtsoftplus", {0, inf}}, {"tanh", {-1, 1}},
  };
  for (const auto &[name, limit] : limits) {
    Result<ScalarFunction> function = ScalarFunction::parse(textOf(name), name);
    ASSERT_TRUE(function) << function.error().placedMessage();
    double low = (*function)(-inf);
    EXPECT_TRUE(low == limit.first || std::fabs(low - limit.first) < 1e-30) << name << "(-inf) is " << low;
    EXPECT_EQ((*function)(inf), limit.second) << name;
    EXPECT_TRUE(std::isnan((*function)(notANumber))) << name;
    if (name == "tanh")
      continue;
    EXPECT_EQ(formulas.at(name)(-inf), limit.first) << name;
    EXPECT_EQ(formulas.at(name)(inf), limit.second) << name;
    EXPECT_TRUE(std::isnan(formulas.at(name)(notANumber))) << name;
  }
}

TEST(ScalarFunction, operations_compute) {
  EXPECT_EQ(valueOf("%c = arith.constant 2.5 : f32\n%y = arith.subf %x, %c : f32\nfunc.return %y : f32\n", 1), -1.5);
  EXPECT_EQ(valueOf("%c = arith.constant 0x3FC00000 : f32\nfunc.return %c : f32\n", 1), 1.5);
  EXPECT_EQ(valueOf("%c = arith.constant 0xFF800000 : f32\nfunc.return %c : f32\n", 1), -inf);
  EXPECT_EQ(valueOf("%c = arith.constant 1.0e-3 : f32\n%y = arith.minimumf %x, %c : f32\nfunc.return %y : f32\n", 1),
            1e-3);
  EXPECT_EQ(valueOf("%y = math.log %x : f32\nfunc.return %y : f32\n", std::exp(1.0)), 1);
}

TEST(ScalarFunction, cmpf_every_predicate) {
  const std::map<std::string, std::string> truth = {
      // x < 1, x = 1, x > 1, x = NaN
      {"false", "0000"}, {"oeq", "0100"}, {"ogt", "0010"}, {"oge", "0110"}, {"olt", "1000"}, {"ole", "1100"},
      {"one", "1010"},   {"ord", "1110"}, {"ueq", "0101"}, {"ugt", "0011"}, {"uge", "0111"}, {"ult", "1001"},
      {"ule", "1101"},   {"une", "1011"}, {"uno", "0001"}, {"true", "1111"}};
  for (const auto &[predicate, expected] : truth) {
    std::string body = "%a = arith.constant 1.0 : f32\n%b = arith.constant 0.0 : f32\n%c = arith.cmpf " + predicate +
                       ", %x, %a : f32\n%y = arith.select %c, %a, %b : f32\nfunc.return %y : f32\n";
    std::string found;
    for (double x : {0.0, 1.0, 2.0, notANumber})
      found += valueOf(body, x) == 1 ? '1' : '0';
    EXPECT_EQ(found, expected) << predicate;
  }
}

TEST(ScalarFunction, errors_say_where_and_what) {
  EXPECT_EQ(errorOf(""), "f.mlir:1: found the end of the text; expected 'func.func'");
  EXPECT_EQ(errorOf("module {"), "f.mlir:1: found \"module\"; expected 'func.func'");
  EXPECT_EQ(errorOf("func.func @f(%x: f64) -> f32 {"), "f.mlir:1: found \"f64\"; expected 'f32'");
  EXPECT_EQ(errorOf("func.func @f(%x: f32, %z: f32) -> f32 {"), "f.mlir:1: found \",\"; expected ')'");
  EXPECT_EQ(errorOf(around("%y = arith.addf %x, %z : f32\n")),
            "f.mlir:2: found \"%z\"; expected a value defined above");
  EXPECT_EQ(errorOf(around("%x = arith.negf %x : f32\n")), "f.mlir:2: \"%x\" is defined twice");
  EXPECT_EQ(errorOf(around("%y = math.sin %x : f32\n")),
            "f.mlir:2: found \"math.sin\"; allowed are arith.constant, arith.addf, arith.subf, arith.mulf, arith.divf, "
            "arith.negf, arith.maximumf, arith.minimumf, arith.cmpf, arith.select, math.exp, math.expm1, math.log, "
            "math.log1p, "
            "math.tanh, math.erf, math.sqrt, math.absf");
  EXPECT_EQ(errorOf(around("%y = arith.constant 1 : f32\n")),
            "f.mlir:2: found \"1\"; a constant of type f32 needs a decimal point");
  EXPECT_EQ(errorOf(around("%y = arith.constant 1.0e999 : f32\n")),
            "f.mlir:2: found \"1.0e999\"; expected a finite number");
  EXPECT_EQ(errorOf(around("%y = arith.constant 0x7F : f32\n")),
            "f.mlir:2: found \"0x7F\"; expected 0x and the eight hexadecimal digits of an f32");
  EXPECT_EQ(errorOf(around("%c = arith.cmpf lt, %x, %x : f32\n")),
            "f.mlir:2: found \"lt\"; expected a predicate of arith.cmpf: oeq, ogt, oge, olt, ole, one, ord, ueq, ugt, "
            "uge, ult, ule, une, uno, true or false");
  EXPECT_EQ(errorOf(around("%c = arith.cmpf olt, %x, %x : f32\nfunc.return %c : f32\n")),
            "f.mlir:3: \"%c\" is of type i1; expected f32");
  EXPECT_EQ(errorOf(around("%y = arith.select %x, %x, %x : f32\n")), "f.mlir:2: \"%x\" is of type f32; expected i1");
  EXPECT_EQ(errorOf(around("func.return %x : f32\n") + "func.func"),
            "f.mlir:4: found \"func.func\" after the function; a file holds one function");
  EXPECT_EQ(errorOf(around("%y = arith.negf\x1b[0m %x : f32\n")).find('\x1b'), std::string::npos);
}

TEST(ScalarFunction, limits_bytes_and_operations) {
  EXPECT_EQ(errorOf(std::string(ScalarFunction::maxBytes + 1, ' ')),
            "f.mlir: the text has 65537 bytes; at most 65536 are allowed");
  std::string body;
  for (size_t i = 0; i < ScalarFunction::maxOps; ++i)
    body += "%v" + std::to_string(i) + " = arith.negf %x : f32\n";
  EXPECT_TRUE(ScalarFunction::parse(around(body + "func.return %v255 : f32\n"), "f"));
  EXPECT_EQ(errorOf(around(body + "%w = arith.negf %x : f32\n")),
            "f.mlir:258: the function has more than 256 operations");
}

// Every prefix and every single changed byte of every function file is read or refused, never more.
TEST(ScalarFunction, hostile_cut_and_changed_texts_are_survived) {
  for (const auto &[name, formula] : formulas) {
    std::string text = textOf(name);
    size_t good = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      (void)ScalarFunction::parse(std::string_view(text).substr(0, i), "cut");
      for (char c : {'\0', '%', '-', '9', '\n', '"', '\xff'}) {
        std::string changed = text;
        changed[i] = c;
        Result<ScalarFunction> function = ScalarFunction::parse(changed, "changed");
        good += bool(function);
        if (function)
          (*function)(1.0);
        else
          EXPECT_FALSE(function.error().message.empty());
      }
    }
    EXPECT_GT(good, 0u) << name; // changes inside comments
  }
}
