// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Layers from specs and from text, edited and not: whose identity their plans hold.

#include "tests/build/BuiltLayer.h"

#include "dsl/Presets.h"
#include "dsl/spec/SpecPrinter.h"
#include "dsl/text/Sha256.h"

#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

using namespace moec;

namespace {

const char *const tinyText = R"({"moec": 1, "name": "tiny", "hidden": 8,
  "router": {"score": "softmax", "top_k": 2, "normalize": {"kind": "sum"}},
  "experts": {"count": 4, "intermediate": 6, "form": "glu", "act": "silu"}})";

std::string identityOf(BuiltLayer &built) {
  EXPECT_TRUE(built.fuse() && built.makePlan());
  Sha256Digest digest;
  std::copy(std::begin(built.plan.header.spec_hash), std::end(built.plan.header.spec_hash), digest.begin());
  return hexText(digest);
}

std::string identityOfText(const std::string &text) {
  BuiltLayer built;
  loadMoeDialects(built.context);
  built.module = mlir::parseSourceString<mlir::ModuleOp>(text, mlir::ParserConfig(&built.context));
  EXPECT_TRUE(built.module) << text;
  return built.module ? identityOf(built) : "";
}

std::string builtText(const std::string &spec) {
  BuiltLayer built;
  EXPECT_TRUE(built.read(spec) && built.build());
  return built.text();
}

std::string with(std::string text, const std::string &from, const std::string &to) {
  size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

TEST(LayerIdentity, printed_text_keeps_the_specs) {
  for (const std::string &name : presetNames()) {
    BuiltLayer built;
    ASSERT_TRUE(built.read(*presetText(name))) << name;
    if (!built.build())
      continue; // refused: not built by this version
    std::string text = built.text(), spec = hexText(layerHash(printSpec(*built.spec), built.functionTexts));
    EXPECT_EQ(identityOf(built), spec) << name;
    EXPECT_EQ(identityOfText(text), spec) << name;
  }
}

// A function's body is part of the layer, its comments are not; of functions that no layer applies nothing is.
TEST(LayerIdentity, functions_are_part_of_the_layer) {
  namespace fs = std::filesystem;
  fs::path folder = fs::path(testing::TempDir()) / "identity_functions";
  auto identityWith = [&](const std::string &name, const std::string &text) {
    fs::remove_all(folder);
    fs::create_directories(folder / "functions");
    std::ofstream(folder / "functions" / (name + ".mlir")) << text;
    BuiltLayer built;
    EXPECT_TRUE(built.read(tinyText) && built.build(folder.string()));
    EXPECT_EQ(built.functionTexts.count("silu"), 1u);
    return identityOf(built);
  };
  std::string silu = readFile(MOEC_SOURCE_DIR "/templates/functions/silu.mlir");
  BuiltLayer plain;
  ASSERT_TRUE(plain.read(tinyText) && plain.build());
  std::string own = identityOf(plain);
  EXPECT_EQ(identityWith("silu", silu), own);
  EXPECT_EQ(identityWith("silu", "// mine\n" + with(silu, "arith.negf %v", "arith.negf   %v")), own);
  EXPECT_NE(identityWith("silu", with(silu, "-128.0", "-127.0")), own);
  EXPECT_EQ(identityWith("unused", silu), own);
  EXPECT_NE(own, hexText(specHash(*plain.spec))) << "the built-in function counts too";
}

TEST(LayerIdentity, comments_and_spaces_change_nothing) {
  std::string text = builtText(tinyText);
  EXPECT_EQ(identityOfText("// mine\n" + with(text, "arith.addf %cst_0", "arith.addf   %cst_0")), identityOfText(text));
}

TEST(LayerIdentity, edited_text_is_another_layer) {
  std::string text = builtText(tinyText), own = identityOfText(text);
  std::string scaled = identityOfText(with(text, "1.000000e+00", "2.000000e+00"));
  EXPECT_NE(scaled, own);
  EXPECT_EQ(scaled, identityOfText(with(text, "1.000000e+00", "2.000000e+00")));
  EXPECT_NE(scaled, identityOfText(with(text, "1.000000e+00", "3.000000e+00")));
  std::string first = own.substr(0, 1), another = first == "e" ? "f" : "e";
  std::string other = with(text, "spec_hash = \"" + first, "spec_hash = \"" + another);
  EXPECT_NE(identityOfText(other), own) << "nobody may choose an identity";
  EXPECT_NE(identityOfText(other).substr(1), own.substr(1));
}

TEST(LayerIdentity, text_without_hashes_has_one) {
  std::string text = builtText(tinyText);
  size_t begin = text.find(" attributes {"), end = text.find("}}", begin);
  ASSERT_LT(begin, end);
  std::string bare = identityOfText(text.erase(begin, end + 2 - begin));
  EXPECT_NE(bare, std::string(64, '0'));
  EXPECT_NE(bare, identityOfText(with(text, "1.000000e+00", "2.000000e+00")));
}

// Names that a schedule's text can hold, whatever the roles are called.
TEST(LayerIdentity, stage_names_can_be_written_in_a_schedule) {
  const std::string digits(70, '4');
  std::string text = builtText(tinyText);
  for (auto [from, to] : {std::pair<std::string, std::string>{"experts.down", "4.down"},
                          {"router.weight", "_"},
                          {"experts.gate", digits + "a"},
                          {"experts.up", digits}})
    text = with(text, "\"" + from + "\"", "\"" + to + "\"");
  BuiltLayer built;
  loadMoeDialects(built.context);
  built.module = mlir::parseSourceString<mlir::ModuleOp>(text, mlir::ParserConfig(&built.context));
  ASSERT_TRUE(built.module && built.fuse() && built.makePlan()) << text;
  std::set<std::string> names;
  for (const moec_step &step : built.plan.steps) {
    std::string name = built.plan.string(step.name).str();
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_LE(name.size(), 63u) << name;
    EXPECT_TRUE(name[0] >= 'a' && name[0] <= 'z') << name;
  }
  EXPECT_TRUE(names.count("stage_" + digits.substr(0, 57))) << digits;
  EXPECT_TRUE(names.count("stage__") && names.count("stage_4_down"));
}

} // namespace
