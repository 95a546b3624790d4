// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// templates/derivatives against differences of templates/functions, in float64.

#include "codegen/TemplateFiles.h"
#include "dsl/reference/ScalarFunction.h"

#include "tests/build/BuiltLayer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

using namespace moec;

namespace {

ScalarFunction read(const std::string &path) {
  Result<std::optional<TemplateText>> text = readTemplate("", path);
  EXPECT_TRUE(text && *text) << path;
  Result<ScalarFunction> parsed = ScalarFunction::parse((*text)->text, path);
  EXPECT_TRUE(parsed) << parsed.error().message;
  return *parsed;
}

TEST(Derivatives, every_function_has_one_and_it_is_the_slope) {
  std::vector<std::string> names = templateNames("", "functions");
  EXPECT_EQ(names, templateNames("", "derivatives"));
  for (const std::string &name : names) {
    SCOPED_TRACE(name);
    ScalarFunction f = read("functions/" + name + ".mlir"), slope = read("derivatives/" + name + ".mlir");
    for (double x = -12.03; x < 12.05; x += 0.117) { // not at 0, where relu has none
      double h = 1e-5, wanted = (f(x + h) - f(x - h)) / (2 * h);
      EXPECT_NEAR(slope(x), wanted, 1e-6 * (1 + std::fabs(wanted))) << "at " << x;
    }
    for (double x : {-1e30, -HUGE_VAL, -200.0, 0.0, 200.0, 1e30})
      EXPECT_TRUE(std::isfinite(slope(x))) << "at " << x;
  }
  EXPECT_EQ(read("derivatives/relu.mlir")(0), 0);
}

TEST(Derivatives, a_function_without_one_is_an_error_that_names_the_file) {
  std::filesystem::path dir = std::filesystem::temp_directory_path() / ("moec-slope-" + std::to_string(getpid()));
  std::filesystem::create_directories(dir / "functions");
  std::ofstream(dir / "functions" / "cube.mlir") << R"(func.func @cube(%x: f32) -> f32 {
    %a = arith.mulf %x, %x : f32
    %b = arith.mulf %a, %x : f32
    func.return %b : f32
  })";
  BuiltLayer built;
  built.spec = plainSpec();
  built.spec->experts.act = Activation::Custom;
  built.spec->experts.actName = "cube";
  EXPECT_FALSE(built.buildGradient(dir.string()));
  ASSERT_FALSE(built.refusals.empty());
  EXPECT_EQ(built.refusals.front().code, "E-TEMPLATE");
  EXPECT_EQ(built.refusals.front().message, "function 'cube' has no derivative: derivatives/cube.mlir not found");
  std::filesystem::create_directories(dir / "derivatives");
  std::ofstream(dir / "derivatives" / "cube.mlir") << R"(func.func @cube_derivative(%x: f32) -> f32 {
    %three = arith.constant 3.0 : f32
    %a = arith.mulf %x, %x : f32
    %b = arith.mulf %a, %three : f32
    func.return %b : f32
  })";
  BuiltLayer again;
  again.spec = built.spec;
  EXPECT_TRUE(again.buildGradient(dir.string()));
  std::filesystem::remove_all(dir);
}

} // namespace
