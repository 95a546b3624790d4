// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Roles that the hand-written package does not have, over files: experts of their own width, shared experts numbered
// after routed ones, and tables of ids.

#include "WeightFile.h"
#include "runtime/weights/weight_source.h"

#include <gtest/gtest.h>

#include <unistd.h>

using namespace moec::test;

namespace {

class WeightSource : public testing::Test {
protected:
  WeightSource() : path(testing::TempDir() + "moec_weight_source_" + std::to_string(getpid())) {}
  ~WeightSource() override { unlink(path.c_str()); }

  uint32_t string(const std::string &text) {
    strings += text + '\0';
    return uint32_t(strings.size() - text.size() - 1);
  }

  // A matrix of rows x columns, or of every expert.
  void matrix(const std::string &name, const std::string &tensor, std::vector<int64_t> dims, int stack) {
    moec_role role = {};
    role.name = string(name);
    role.tensor = string(tensor);
    role.rank = uint16_t(dims.size());
    role.stack = uint16_t(stack);
    role.expert_axis = dims.size() == 3;
    role.matrix = 1;
    std::copy(dims.begin(), dims.end(), role.dims);
    roles.push_back(role);
  }

  moec_status take(const FileWriter &file) {
    moec_plan_header header = {};
    header.roles.count = uint32_t(roles.size());
    header.num_experts = uint32_t(experts);
    header.features = MOEC_FEATURE_ROLE_PER_GROUP;
    moec_plan plan = {};
    plan.header = &header;
    plan.roles = roles.data();
    plan.strings = strings.c_str();
    file.write(path);
    const moec_weights_source source = {path.c_str(), "layers.3."};
    moec_checkpoint_set set;
    moec_status status = moec_checkpoints_open(&source, 1, &set);
    moec_role_source *sources = moec_sources_create(&plan);
    if (status == MOEC_OK)
      status = moec_sources_from_checkpoints(&plan, &set, sources);
    moec_sources_destroy(&plan, sources);
    moec_checkpoints_close(&set);
    return status;
  }

  std::string path, strings = std::string(1, '\0');
  std::vector<moec_role> roles;
  int64_t experts = 4;
};

void add(FileWriter &file, const std::string &name, const std::vector<int64_t> &shape, moec_dtype dtype = MOEC_F32) {
  int64_t count = 1;
  for (int64_t dim : shape)
    count *= dim;
  file.add("layers.3." + name, shape, std::vector<float>(size_t(count), 1), dtype);
}

} // namespace

TEST_F(WeightSource, more_experts_of_their_own_width) {
  FileWriter file;
  for (int64_t e = 0; e < experts; ++e) {
    std::string number = std::to_string(e);
    matrix("experts.gate." + number, "block3.experts." + number + ".w1", {2 + e, 3}, MOEC_STACK_SINGLE);
    add(file, "block3.experts." + number + ".w1", {2 + e, 3});
  }
  add(file, "block4.experts.4.w1", {6, 3}); // of another block
  ASSERT_EQ(take(file), MOEC_OK) << lastError();
  add(file, "block3.experts.4.w1", {6, 3});
  EXPECT_EQ(take(file), MOEC_SHAPE);
  EXPECT_EQ(lastError(), "experts.gate.3: " + path +
                             " has 5 experts, the last is \"layers.3.block3.experts.4.w1\"; the layer has 4");
}

TEST_F(WeightSource, shared_experts_numbered_after_routed_ones) {
  matrix("experts.gate", "experts.{e}.w1", {experts, 2, 3}, MOEC_STACK_PER_EXPERT);
  matrix("shared.gate", "experts.4.w1", {2, 3}, MOEC_STACK_SINGLE);
  FileWriter file;
  for (int64_t e = 0; e <= experts; ++e)
    add(file, "experts." + std::to_string(e) + ".w1", {2, 3});
  EXPECT_EQ(take(file), MOEC_OK) << lastError();
}

// A plan of unknown origin may leave {e} out: every expert is then the same tensor.
TEST_F(WeightSource, name_without_a_number) {
  matrix("experts.gate", "experts.w1", {experts, 2, 3}, MOEC_STACK_PER_EXPERT);
  FileWriter file;
  add(file, "experts.w1", {2, 3});
  EXPECT_EQ(take(file), MOEC_OK) << lastError();
}

TEST_F(WeightSource, more_experts_in_rows_of_one_matrix) {
  matrix("experts.gate", "experts.w1", {experts, 2, 3}, MOEC_STACK_FLAT_ROWS);
  FileWriter file;
  add(file, "experts.w1", {12, 3});
  EXPECT_EQ(take(file), MOEC_SHAPE);
  EXPECT_EQ(lastError(), "experts.gate: tensor \"layers.3.experts.w1\" has 6 experts, the layer has 4");
  FileWriter odd;
  add(odd, "experts.w1", {9, 3});
  EXPECT_EQ(take(odd), MOEC_SHAPE);
  EXPECT_EQ(lastError(), "experts.gate: tensor \"layers.3.experts.w1\" has shape [9, 3], expected [8, 3]");
}

TEST_F(WeightSource, halves_of_a_vector_are_rows_too) {
  for (int part : {MOEC_PART_FIRST_HALF, MOEC_PART_SECOND_HALF}) {
    matrix("router.group" + std::to_string(roles.size()) + ".choice_bias", "bias", {5}, MOEC_STACK_SINGLE);
    roles.back().matrix = 0;
    roles.back().part = uint16_t(part);
  }
  for (const std::vector<int64_t> &shape : {std::vector<int64_t>{10}, {2, 5}}) {
    FileWriter file;
    add(file, "bias", shape);
    EXPECT_EQ(take(file), MOEC_OK) << lastError();
  }
  for (const std::vector<int64_t> &shape : {std::vector<int64_t>{5, 2}, {2, 6}, {3, 5}}) {
    FileWriter file;
    add(file, "bias", shape);
    EXPECT_EQ(take(file), MOEC_SHAPE);
  }
}

TEST_F(WeightSource, table_of_ids_is_made_of_integers) {
  matrix("router.table", "table", {5, 2}, MOEC_STACK_STACKED);
  roles[0].expert_axis = 1; // its rows
  roles[0].matrix = 0;
  for (auto [type, bytes] : {std::pair("I32", 4), std::pair("I64", 8)}) {
    FileWriter file;
    file.header = std::string(R"({"layers.3.table":{"dtype":")") + type + R"(","shape":[5,2],"data_offsets":[0,)" +
                  std::to_string(10 * bytes) + "]}";
    file.data = std::string(size_t(10 * bytes), '\0');
    EXPECT_EQ(take(file), MOEC_OK) << lastError();
  }
  for (auto [type, name] : {std::pair(MOEC_F32, "F32"), std::pair(MOEC_BF16, "BF16"), std::pair(MOEC_F16, "F16")}) {
    FileWriter file;
    add(file, "table", {5, 2}, type);
    EXPECT_EQ(take(file), MOEC_DTYPE);
    EXPECT_EQ(lastError(), std::string("router.table: tensor \"layers.3.table\" is ") + name +
                               ", expected I32 or I64: ids of experts");
  }
  // tensors of the caller: f32 holds every id
  moec_plan_header header = {};
  header.roles.count = 1;
  moec_plan plan = {};
  plan.header = &header;
  plan.roles = roles.data();
  plan.strings = strings.c_str();
  const int64_t ids[10] = {};
  for (auto [type, status] : {std::pair(MOEC_I32, MOEC_OK), std::pair(MOEC_I64, MOEC_OK), std::pair(MOEC_F32, MOEC_OK),
                              std::pair(MOEC_BF16, MOEC_DTYPE), std::pair(MOEC_F16, MOEC_DTYPE)}) {
    moec_tensor tensor = {"router.table", ids, type, 2, {5, 2}};
    moec_role_source *sources = moec_sources_create(&plan);
    EXPECT_EQ(moec_sources_from_tensors(&plan, &tensor, 1, nullptr, 0, sources), status) << type;
    moec_sources_destroy(&plan, sources);
  }
  EXPECT_EQ(lastError(), "router.table: dtype is f16, expected i32, i64 or f32: ids of experts");
}
