// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// combine.rows -> the type of the buffers between the last matmuls and the combine, and their bytes.

#include "tests/build/BuiltLayer.h"

#include "codegen/fuse/JoinStages.h"
#include "codegen/fuse/NumericModes.h"

#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

std::string layerText(const std::string &dtype, const std::string &experts, const std::string &rest) {
  return R"({"moec": 1, "name": "rows", "hidden": 64, "dtype": )" + dtype +
         R"(, "router": {"top_k": 2}, "experts": {)" + experts + "}" + rest + "}";
}

const char *const plain = R"("count": 4, "intermediate": 32)";
const char *const rounded = R"(, "combine": {"rows": "activation"})";

// "bf16 256": type of the buffer NAME, and its bytes per token.
std::string bufferOf(const BuiltLayer &built, llvm::StringRef name) {
  for (const moec_buffer &buffer : built.plan.buffers)
    if (built.plan.string(buffer.name) == name)
      return std::string(dataTypeName(DataType(buffer.dtype))) + " " + std::to_string(buffer.bytes.per_token);
  return "no buffer " + name.str();
}

std::string rowsOf(const std::string &json, llvm::StringRef name = "experts_down") {
  BuiltLayer built;
  if (!built.read(json) || !built.build() || !built.fuse() || !built.makePlan())
    return "not built";
  return bufferOf(built, name);
}

TEST(CombineRows, buffers_have_the_type_and_half_the_bytes) {
  for (const char *type : {"bf16", "f16"}) {
    std::string dtype = "\"" + std::string(type) + "\"";
    EXPECT_EQ(rowsOf(layerText(dtype, plain, "")), "f32 512");
    EXPECT_EQ(rowsOf(layerText(dtype, plain, R"(, "combine": {"rows": "f32"})")), "f32 512");
    EXPECT_EQ(rowsOf(layerText(dtype, plain, rounded)), std::string(type) + " 256");
  }
  EXPECT_EQ(rowsOf(layerText("\"f32\"", plain, rounded)), "f32 512");
  // y has its own type
  std::string mixed = R"({"activation": "bf16", "weight": "f32", "output": "f32"})";
  EXPECT_EQ(rowsOf(layerText(mixed, plain, rounded)), "bf16 256");
}

TEST(CombineRows, buffers_of_shared_experts_too) {
  std::string shared = R"(, "shared": {"intermediate": 48, "scale": 0.5, "gate": "sigmoid"})";
  EXPECT_EQ(rowsOf(layerText("\"bf16\"", plain, shared), "shared_down"), "f32 256");
  EXPECT_EQ(rowsOf(layerText("\"bf16\"", plain, rounded + shared), "shared_down"), "bf16 128");
  std::string blocks = R"(, "shared": {"intermediate": 48, "scale": 0.5, "count": 3})";
  EXPECT_EQ(rowsOf(layerText("\"bf16\"", plain, rounded + blocks), "shared_down"), "bf16 384");
}

TEST(CombineRows, whatever_follows_the_last_matrix) {
  for (const char *more :
       {R"(, "bias": {"out": true})", R"(, "output_scale": 0.5)", R"(, "lora": {"rank": 3, "alpha": 4,
       "at": "per_matrix"})"}) {
    BuiltLayer built;
    ASSERT_TRUE(built.read(layerText("\"bf16\"", plain + std::string(more), rounded)) && built.build());
    ASSERT_TRUE(built.fuse() && built.makePlan());
    for (mlir::Operation &op : built.layer.getBody().front())
      if (auto combine = llvm::dyn_cast<moe::CombineOp>(op); combine && combine.getWeights())
        EXPECT_TRUE(llvm::cast<mlir::RankedTensorType>(combine.getRows().getType()).getElementType().isBF16()) << more;
  }
  EXPECT_EQ(rowsOf(layerText("\"bf16\"", R"("count": 4, "form": "linear")", rounded), "experts_up"), "bf16 256");
}

// A shared expert stays in the launch of the routed ones, because both are rounded alike.
TEST(CombineRows, shared_experts_join_routed_ones) {
  for (const char *rows : {"f32", "activation"}) {
    BuiltLayer built;
    std::string rest = R"(, "shared": {"intermediate": 32}, "combine": {"rows": ")" + std::string(rows) + "\"}";
    ASSERT_TRUE(built.read(layerText("\"bf16\"", plain, rest)) && built.build() && built.fuse());
    joinStages(built.layer, built.notes);
    unsigned joined = 0;
    built.layer.walk([&](mlir::Operation *op) { joined += op->hasAttr(moe::joinedAttr); });
    EXPECT_EQ(joined, 2u) << rows;
  }
}

// What --stop-after=build prints is the whole layer: its text has the same plan.
TEST(CombineRows, text_round_trip) {
  BuiltLayer built, again;
  std::string json = layerText("\"bf16\"", plain, rounded + std::string(R"(, "shared": {"intermediate": 48})"));
  ASSERT_TRUE(built.read(json) && built.build());
  loadMoeDialects(again.context);
  again.module = mlir::parseSourceString<mlir::ModuleOp>(built.text(), mlir::ParserConfig(&again.context));
  ASSERT_TRUE(again.module);
  EXPECT_EQ(again.text(), built.text());
  ASSERT_TRUE(built.fuse() && again.fuse() && built.makePlan() && again.makePlan());
  EXPECT_EQ(bufferOf(again, "experts_down"), "bf16 256");
  EXPECT_EQ(built.plan.serialize(), again.plan.serialize());
}

} // namespace
