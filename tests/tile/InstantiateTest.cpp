// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Template text and bindings in -> the parameters found, the kernel made of them, or one message with its place.

#include "codegen/tile/Instantiate.h"
#include "codegen/TemplateFiles.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/MLIRContext.h"

#include <gtest/gtest.h>

#include <set>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <unistd.h>

namespace moec {
namespace {

class Instantiate : public testing::Test {
protected:
  Instantiate() : context(mlir::MLIRContext::Threading::DISABLED) {
    context.loadDialect<tile::TileDialect, mlir::arith::ArithDialect, mlir::scf::SCFDialect>();
    stage.in = stage.weight = MOEC_BF16;
    stage.n = 40;
    stage.k = 100;
    stage.panels = 2;
    stage.panelBytes = 8192;
    stage.aStride = 200;
    stage.outStride = 160;
  }
  ~Instantiate() override {
    if (!overlay.empty())
      std::filesystem::remove_all(overlay);
  }

  // Lays `text` over the built-in template `name`.
  void overlayTemplate(const std::string &name, const std::string &text) {
    overlay = testing::TempDir() + "/moec-overlay-" + std::to_string(getpid());
    std::filesystem::create_directories(overlay + "/kernels");
    std::ofstream(overlay + "/kernels/" + name + ".mlir") << text;
  }
  std::string builtIn(const std::string &name) {
    auto text = readTemplate("", "kernels/" + name + ".mlir");
    return text && *text ? (*text)->text : "";
  }
  std::string made(const TemplateBinding &binding) {
    auto module = instantiateKernel(context, stage, binding, overlay, "moec_test");
    error = module ? "" : module.error().placedMessage();
    std::string text;
    if (module)
      llvm::raw_string_ostream(text) << ***module;
    return text;
  }
  // Every template of `folder`, instantiated as it stands; each is for one of `targets`, and each of these has one.
  void compileDefaults(const std::string &folder, std::set<std::string> targets) {
    std::set<std::string> found;
    std::vector<std::string> names = templateNames("", "kernels" + folder);
    ASSERT_FALSE(names.empty());
    for (std::string name : names) {
      if (!folder.empty())
        name = folder.substr(1) + "/" + name;
      SCOPED_TRACE(name);
      std::map<std::string, int64_t> values;
      auto parameters = templateParameters(builtIn(name));
      ASSERT_FALSE(parameters.empty());
      for (const TemplateParameter &parameter : parameters) {
        int64_t value;
        if (!llvm::StringRef(parameter.value).split(':').first.trim().getAsInteger(10, value))
          values[parameter.name.substr(1)] = value;
      }
      stage.k = values["k_steps"] * values["block_k"];
      std::map<std::string, int64_t> known = values;
      known.insert({{"n", stage.n}, {"k", stage.k}, {"parts", stage.parts}});
      for (const TemplateParameter &parameter : parameters) {
        if (parameter.formula.empty())
          continue;
        Result<int64_t> value = evaluateFormula(parameter.formula, known);
        ASSERT_TRUE(value) << value.error().message;
        EXPECT_EQ(*value, values[parameter.name.substr(1)]) << parameter.name << " = " << parameter.formula;
      }
      std::string text = made({name, {}, {}});
      llvm::StringRef rest = llvm::StringRef(text).split("tile.kernel @moec_test for(").second;
      std::string target = rest.take_until([](char c) { return c == ')'; }).str();
      EXPECT_TRUE(targets.count(target)) << target << " " << error;
      found.insert(target);
    }
    EXPECT_EQ(found, targets);
  }
  // What instantiating panel.mlir says after `from` became `to`.
  std::string complaint(const std::string &from, const std::string &to) {
    std::string text = builtIn("panel");
    size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    overlayTemplate("panel", text.replace(at, from.size(), to));
    EXPECT_EQ(made({"panel", {}, {}}), "");
    std::string place = overlay + "/kernels/", out = error;
    for (size_t p; (p = out.find(place)) != std::string::npos;)
      out.erase(p, place.size());
    return out;
  }

  mlir::MLIRContext context;
  MatmulStage stage;
  std::string overlay, error;
};

// "LINE:COLUMN" of the first `word` in `text`.
std::string placeOf(const std::string &text, const std::string &word) {
  size_t at = text.find(word), start = text.rfind('\n', at) + 1;
  return std::to_string(std::count(text.begin(), text.begin() + long(at), '\n') + 1) + ":" +
         std::to_string(at - start + 1);
}

std::string replaced(std::string text, const std::string &from, const std::string &to) {
  return text.replace(text.find(from), from.size(), to);
}

TEST(TemplateParameters, block_lines_with_value_place_and_formula) {
  const std::string text =
      "// head\n#a = 3 : index // {1, 2}: rows\n#b = 4 : index  // = ceildiv(k, a): steps\n"
      "!in = bf16 // {bf16, f32}\n!A = !tile.rows<!in, #x>\n  #late = 1 // not at the line's start";
  auto parameters = templateParameters(text);
  ASSERT_EQ(parameters.size(), 3u);
  EXPECT_EQ(parameters[0].name, "#a");
  EXPECT_EQ(parameters[0].value, "3 : index");
  EXPECT_EQ(parameters[0].formula, "");
  EXPECT_EQ(parameters[1].name, "#b");
  EXPECT_EQ(parameters[1].formula, "ceildiv(k, a)");
  EXPECT_EQ(parameters[2].name, "!in");
  EXPECT_EQ(parameters[2].value, "bf16");
  for (const TemplateParameter &parameter : parameters)
    EXPECT_EQ(text.substr(parameter.begin, parameter.end - parameter.begin), parameter.value);
}

TEST(TemplateParameters, text_without_lines_has_none) {
  EXPECT_TRUE(templateParameters("").empty());
  EXPECT_TRUE(templateParameters("\n\n#x\n!y = \n// #z = 1 : index // no").empty());
}

// Every template of the folder: its defaults make a kernel, and derived parameters stand for what their formula gives.
TEST_F(Instantiate, every_template_compiles_with_its_defaults) { compileDefaults("", {"cpu"}); }
TEST_F(Instantiate, every_cuda_template_compiles_with_its_defaults) { compileDefaults("/cuda", {"sm_80", "sm_90a"}); }

// The template copies ahead and in its loop: both copies get the one buffer and the one prologue.
TEST_F(Instantiate, operands_cuda_copies_share_a_prologue) {
  mlir::OpBuilder builder(&context);
  mlir::Region prologue;
  mlir::Block &block = prologue.emplaceBlock();
  mlir::Location loc = builder.getUnknownLoc();
  mlir::Value x = block.addArgument(mlir::BFloat16Type::get(&context), loc);
  block.addArgument(builder.getF32Type(), loc);
  builder.setInsertionPointToEnd(&block);
  tile::YieldOp::create(builder, loc, mlir::ValueRange{x});
  stage.prologue = &prologue;
  stage.prologueOperands.push_back({builder.getF32Type(), "row", 4});
  std::string text = made({"cuda/multistage", {}, {}});
  std::string argument = "%arg4: !tile.operand<f32, \"row\", 4 : index>";
  EXPECT_NE(text.find(argument), std::string::npos) << text << error;
  EXPECT_EQ(text.find("%arg5: !tile.operand"), std::string::npos) << text;
  size_t first = text.find("with(%arg4"), second = text.find("with(%arg4", first + 1);
  EXPECT_NE(second, std::string::npos) << text;
  EXPECT_EQ(text.find("with(%arg4", second + 1), std::string::npos) << text;
}

TEST_F(Instantiate, stage_and_binding_fill_the_parameters) {
  stage.gathered = true;
  stage.parts = 2;
  std::string text =
      made({"panel", {{"block_m", 16}, {"panel_m", 48}, {"prefetch_block", 2}, {"share", 3}}, {{"hint", "nta"}}});
  EXPECT_EQ(error, "");
  EXPECT_NE(text.find("!tile.rows<bf16, <gathered>>"), std::string::npos) << text;
  EXPECT_NE(text.find("!tile.packed<48 : index, 16 : index, 4 : index, 32 : index>"), std::string::npos) << text;
  EXPECT_NE(text.find("block 2 streams 8 share 3 hint <nta>"), std::string::npos) << text;
  for (const char *shape : {"k = 100 : index", "n = 40 : index", "parts = 2 : index", "panels = 2 : index",
                            "panel_bytes = 8192 : index", "a_stride = 200 : index", "out_stride = 160 : index"})
    EXPECT_NE(text.find(shape), std::string::npos) << shape;
}

TEST_F(Instantiate, unknown_template) {
  EXPECT_EQ(made({"pannel", {}, {}}), "");
  EXPECT_EQ(error, "there is no kernel template 'pannel'");
}

TEST_F(Instantiate, unknown_parameter) {
  EXPECT_EQ(made({"panel", {{"block_n", 16}}, {}}), "");
  EXPECT_EQ(error, "templates/kernels/panel.mlir: template 'panel' has no parameter 'block_n'");
  EXPECT_EQ(made({"panel", {}, {{"hit", "t0"}}}), "");
  EXPECT_EQ(error, "templates/kernels/panel.mlir: template 'panel' has no parameter 'hit'");
}

TEST_F(Instantiate, derived_parameter_cannot_be_set) {
  EXPECT_EQ(made({"panel", {{"k_steps", 4}}, {}}), "");
  EXPECT_EQ(error, "templates/kernels/panel.mlir: template 'panel' has no parameter 'k_steps'");
}

TEST_F(Instantiate, wrong_kind) {
  EXPECT_EQ(made({"panel", {{"hint", 3}}, {}}), "");
  EXPECT_EQ(error, "templates/kernels/panel.mlir: parameter 'hint' takes a hint, found 3");
  EXPECT_EQ(made({"panel", {}, {{"block_m", "t1"}}}), "");
  EXPECT_EQ(error, "templates/kernels/panel.mlir: parameter 'block_m' takes an integer, found 't1'");
}

TEST_F(Instantiate, value_outside_its_set) {
  EXPECT_EQ(made({"panel", {}, {{"hint", "soon"}}}), "");
  EXPECT_EQ(error, "templates/kernels/panel.mlir: parameter 'hint' takes none, t0, t1 or nta, found 'soon'");
}

TEST_F(Instantiate, pack_c1_panel_not_a_multiple) {
  EXPECT_EQ(made({"panel", {{"block_m", 16}, {"panel_m", 40}}, {}}), "");
  EXPECT_EQ(error, "templates/kernels/panel.mlir:" + placeOf(builtIn("panel"), "tile.pack %a") +
                       ": 'tile.pack' op C1: panel_m (40) must be a positive multiple of block_m (16)");
}

TEST_F(Instantiate, overlay_replaces_a_template) {
  overlayTemplate("panel", replaced(builtIn("panel"), "#streams        = 8 : index", "#streams        = 2 : index"));
  EXPECT_NE(made({"panel", {}, {}}).find("streams 2"), std::string::npos) << error;
  EXPECT_NE(made({"panel_chunked", {}, {}}).find("streams 8"), std::string::npos) << "not in the folder, so built in";
}

TEST_F(Instantiate, overlay_adds_a_template) {
  overlayTemplate("mine", builtIn("panel"));
  EXPECT_NE(made({"mine", {}, {}}).find("tile.kernel @moec_test"), std::string::npos) << error;
  EXPECT_TRUE(llvm::is_contained(templateNames(overlay, "kernels"), "mine"));
}

TEST_F(Instantiate, error_names_the_template_line) {
  EXPECT_EQ(complaint("tile.zero : !acc", "tile.zer0 : !acc"),
            "panel.mlir:" + placeOf(builtIn("panel"), "tile.zero") + ": custom op 'tile.zer0' is unknown");
}

TEST_F(Instantiate, formula_error_names_the_parameter) {
  EXPECT_EQ(complaint("= ceildiv(k, block_k)", "= ceildiv(k, blok_k)"),
            "panel.mlir: parameter #k_steps: formula 'ceildiv(k, blok_k)': unknown name 'blok_k'");
}

TEST_F(Instantiate, kernel_c2_overlay_without_epilogue) {
  EXPECT_EQ(complaint("        tile.epilogue %acc[%item, %n, %m] -> %out out_hint #out_hint : !acc, !O\n", ""),
            "panel.mlir:" + placeOf(builtIn("panel"), "tile.kernel") +
                ": 'tile.kernel' op C2: a kernel has one tile.pack and one tile.epilogue, found 1 and 0");
}

TEST_F(Instantiate, overlay_without_a_kernel) {
  overlayTemplate("panel", "// nothing\n");
  EXPECT_EQ(made({"panel", {}, {}}), "");
  EXPECT_EQ(error, overlay + "/kernels/panel.mlir: a template holds one tile.kernel, found 0");
}

} // namespace
} // namespace moec
