// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every golden spec becomes a plan the runtime accepts.

#include "tests/build/BuiltLayer.h"

#include "runtime/moec.h"
#include "runtime/moec_abi.h"

#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>

using namespace moec;

namespace {

const std::string goldenDir = std::string(MOEC_SOURCE_DIR) + "/tests/golden";

std::vector<std::string> goldenNames() {
  std::vector<std::string> names;
  for (const auto &entry : std::filesystem::directory_iterator(goldenDir))
    if (entry.path().extension() == ".json" && entry.path().stem().string().rfind("index", 0) != 0)
      names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

bool readGolden(BuiltLayer &built, const std::string &name) {
  nlohmann::json file = nlohmann::json::parse(readFile(goldenDir + "/" + name + ".json"));
  if (file["spec"]["router"].value("kind", "") == "table")
    file["spec"]["router"]["vocab"] = 23; // rows of the stored table
  return built.read(file["spec"].dump(), file["dtype"].get<std::string>());
}

void noKernel(const moec_call *, void *const *, void *, int64_t, int64_t) {}

// One variant per step and ISA, as a schedule would give.
void fillVariants(LaunchPlan &plan) {
  plan.covers.assign(32, 0);
  for (moec_step &step : plan.steps)
    for (moec_isa_variants &isa : step.isa)
      if (isKernelStep(step))
        isa = {0, 1, 0, 32, 1};
  finishSchedule(plan);
}

std::string testName(const testing::TestParamInfo<std::string> &info) {
  std::string name = info.param;
  std::replace_if(name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return name;
}

class GoldenSpec : public testing::TestWithParam<std::string> {};

TEST_P(GoldenSpec, golden_plan_runtime_accepts) {
  BuiltLayer built;
  ASSERT_TRUE(readGolden(built, GetParam()));
  ASSERT_TRUE(built.build()) << built.refusals.front().path << ": " << built.refusals.front().message;
  ASSERT_TRUE(built.fuse());
  for (mlir::Operation &op : built.layer.getBody().front().without_terminator())
    EXPECT_FALSE(moe::isRowOp(&op)) << op.getName().getStringRef().str();
  ASSERT_TRUE(built.makePlan());
  fillVariants(built.plan);
  std::vector<char> bytes = built.plan.serialize();
  std::vector<uint64_t> aligned(bytes.size() / 8 + 16);
  char *base = reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(aligned.data()) + 63) & ~uintptr_t(63));
  std::copy(bytes.begin(), bytes.end(), base);
  const moec_kernel_fn functions[] = {noKernel};
  moec_package package = {};
  package.magic = MOEC_ABI_MAGIC;
  package.abi_major = MOEC_ABI_MAJOR;
  package.abi_minor = MOEC_ABI_MINOR;
  package.plan = base;
  package.plan_bytes = bytes.size();
  package.functions = functions;
  package.num_functions = 1;
  moec_layer *layer = nullptr;
  moec_status status = moec_layer_create(&package, nullptr, &layer);
  char text[256] = "";
  moec_last_error(text, sizeof(text));
  EXPECT_EQ(status, MOEC_OK) << text;
  moec_layer_destroy(layer);
}

// What --stop-after=build prints compiles to the same plan.
TEST_P(GoldenSpec, golden_text_round_trip) {
  BuiltLayer built, again;
  ASSERT_TRUE(readGolden(built, GetParam()) && built.build());
  loadMoeDialects(again.context);
  again.module = mlir::parseSourceString<mlir::ModuleOp>(built.text(), mlir::ParserConfig(&again.context));
  ASSERT_TRUE(again.module);
  EXPECT_EQ(again.text(), built.text());
  ASSERT_TRUE(built.fuse() && again.fuse() && built.makePlan() && again.makePlan());
  EXPECT_EQ(built.plan.serialize(), again.plan.serialize());
  EXPECT_EQ(again.text(), built.text());
}

INSTANTIATE_TEST_SUITE_P(All, GoldenSpec, testing::ValuesIn(goldenNames()), testName);

TEST(GoldenSpecs, golden_all_are_there) { EXPECT_GE(goldenNames().size(), 65u); }

} // namespace
