// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every golden spec either becomes a plan the runtime accepts, or is refused at the key this table names.

#include "tests/moe/BuiltLayer.h"

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

const std::map<std::string, std::string> refusedAt = {
    {"conditional", "layer.wrap"},
    {"deepseek_v4_table", "inputs"},
    {"expert_choice", "router.kind"},
    {"expert_choice_selected", "router.kind"},
    {"gshard_top2", "router.select.kind"},
    {"hash_layer", "inputs"},
    {"hierarchical", "router.kind"},
    {"klear_softmax2", "shared.gate"},
    {"mixture_of_depths", "router.kind"},
    {"nllb_moe-f32", "capacity"},
    {"overflow_next_best", "capacity"},
    {"phimoe-bf16", "router.select.kind"},
    {"phimoe-f32", "router.select.kind"},
    {"phimoe_wide-f32", "router.select.kind"},
    {"skip", "layer.wrap"},
    {"soft_moe", "router.kind"},
    {"soft_moe_normalised", "router.kind"},
    {"soft_moe_shared_expert", "router.kind"},
    {"switch-bf16", "capacity"},
    {"switch-f32", "capacity"},
};

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
  return built.read(file["spec"].dump(), file["dtype"].get<std::string>());
}

void noKernel(const moec_call *, void *const *, void *, int64_t, int64_t) {}

// One variant per step and ISA, as a schedule would give.
void fillVariants(LaunchPlan &plan) {
  plan.covers.assign(32, 0);
  for (moec_step &step : plan.steps)
    for (moec_isa_variants &isa : step.isa)
      if (step.kind == MOEC_STEP_ROWS || step.kind == MOEC_STEP_MATMUL)
        isa = {0, 1, 0, 32, 1};
  finishSchedule(plan);
}

std::vector<std::string> builtNames() {
  std::vector<std::string> names = goldenNames();
  names.erase(std::remove_if(names.begin(), names.end(), [](const auto &name) { return refusedAt.count(name); }),
              names.end());
  return names;
}

std::string testName(const testing::TestParamInfo<std::string> &info) {
  std::string name = info.param;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return name;
}

class GoldenSpec : public testing::TestWithParam<std::string> {};
class BuiltGoldenSpec : public testing::TestWithParam<std::string> {};

TEST_P(GoldenSpec, golden_plan_runtime_accepts) {
  BuiltLayer built;
  ASSERT_TRUE(readGolden(built, GetParam()));
  bool ok = built.build();
  auto refused = refusedAt.find(GetParam());
  if (refused != refusedAt.end()) {
    ASSERT_FALSE(ok);
    std::vector<std::string> paths;
    for (const Refusal &refusal : built.refusals)
      paths.push_back(refusal.path);
    EXPECT_NE(std::find(paths.begin(), paths.end(), refused->second), paths.end()) << testing::PrintToString(paths);
    return;
  }
  ASSERT_TRUE(ok) << built.refusals.front().path << ": " << built.refusals.front().message;
  ASSERT_TRUE(built.fuse());
  for (mlir::Operation &op : built.layer.getBody().front().without_terminator())
    EXPECT_TRUE((mlir::isa<moe::GroupedMatmulOp, moe::RowProgramOp, moe::DispatchOp, moe::CombineOp>(op)));
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
TEST_P(BuiltGoldenSpec, golden_text_round_trip) {
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
INSTANTIATE_TEST_SUITE_P(All, BuiltGoldenSpec, testing::ValuesIn(builtNames()), testName);

TEST(GoldenSpecs, golden_table_names_existing_cases) {
  std::vector<std::string> names = goldenNames();
  EXPECT_GE(names.size(), 60u);
  for (const auto &[name, path] : refusedAt)
    EXPECT_TRUE(std::binary_search(names.begin(), names.end(), name)) << name;
}

} // namespace
