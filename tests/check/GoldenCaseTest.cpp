// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Golden folders, honest and hostile: every failure is a text that names file and tensor.

#include "codegen/check/GoldenTensors.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

using namespace moec;

namespace {

const std::string golden = MOEC_SOURCE_DIR "/tests/golden";

std::string fileText(const std::string &path) {
  Result<std::string> bytes = readGoldenFile(path, size_t(1) << 28);
  EXPECT_TRUE(bytes) << bytes.error().placedMessage();
  return bytes ? *bytes : "";
}

std::string safetensors(const std::string &header, const std::string &data) {
  uint64_t size = header.size();
  std::string bytes(8, '\0');
  memcpy(&bytes[0], &size, 8);
  return bytes + header + data;
}

std::string errorOf(const std::string &bytes) {
  Result<GoldenTensorMap> tensors = parseSafetensors(bytes);
  EXPECT_FALSE(tensors);
  return tensors ? "" : tensors.error().message;
}

// 1, 2, 3, ... as f32.
GoldenTensor counting(std::vector<int64_t> shape) {
  GoldenTensor tensor;
  int64_t size = 1;
  for (int64_t extent : shape)
    size *= extent;
  tensor.shape = std::move(shape);
  for (int64_t i = 1; i <= size; ++i) {
    float value = float(i);
    unsigned char bytes[4];
    memcpy(bytes, &value, 4);
    tensor.bytes.insert(tensor.bytes.end(), bytes, bytes + 4);
  }
  return tensor;
}

// An empty folder that goes away again.
struct Folder {
  std::string path = testing::TempDir() + "moec_golden_" + std::to_string(getpid());
  Folder() {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  void write(const std::string &name, const std::string &bytes) {
    std::ofstream(path + "/" + name, std::ios::binary) << bytes;
  }
  std::string errorOf(const std::string &name) {
    Result<GoldenCase> out = readGoldenCase(path, name);
    EXPECT_FALSE(out);
    std::string error = out ? "" : out.error().placedMessage();
    size_t at;
    while ((at = error.find(path)) != std::string::npos)
      error.replace(at, path.size(), "DIR");
    return error;
  }
};

} // namespace

TEST(GoldenCase, storage_every_stack_axes_and_part) {
  Role role{"experts.gate", {2, 2, 3}, true, true}; // [E=2, out=2, in=3]
  GoldenTensorMap tensors = {
      {"w.all", counting({2, 2, 3})},         {"w.in_out", counting({2, 3, 2})}, {"w.wide", counting({2, 4, 3})},
      {"w.wide_in_out", counting({2, 3, 4})}, {"w.flat", counting({4, 3})},      {"w.flat_in_out", counting({6, 2})},
      {"w.mixed", counting({2, 6})},          {"w.e0", counting({2, 3})},        {"w.e1", counting({2, 3})}};
  auto valuesOf = [&](const WeightStorage &storage) {
    Result<GoldenTensor> out = assembleRole(role, storage, "w.", tensors);
    EXPECT_TRUE(out) << out.error().message;
    EXPECT_EQ(out->shape, role.shape);
    return out->values();
  };
  using Values = std::vector<double>;
  const auto out_in = AxesKind::OutIn, in_out = AxesKind::InOut;
  EXPECT_EQ(valuesOf({"all", {}}), (Values{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
  EXPECT_EQ(valuesOf({"in_out", {}, in_out}), (Values{1, 3, 5, 2, 4, 6, 7, 9, 11, 8, 10, 12}));
  EXPECT_EQ(valuesOf({"wide", {}, out_in, PartKind::FirstHalf}), (Values{1, 2, 3, 4, 5, 6, 13, 14, 15, 16, 17, 18}));
  EXPECT_EQ(valuesOf({"wide", {}, out_in, PartKind::SecondHalf}),
            (Values{7, 8, 9, 10, 11, 12, 19, 20, 21, 22, 23, 24}));
  EXPECT_EQ(valuesOf({"wide", {}, out_in, PartKind::Odd}), (Values{4, 5, 6, 10, 11, 12, 16, 17, 18, 22, 23, 24}));
  EXPECT_EQ(valuesOf({"wide_in_out", {}, in_out, PartKind::Even}), (Values{1, 5, 9, 3, 7, 11, 13, 17, 21, 15, 19, 23}));
  EXPECT_EQ(valuesOf({"flat", StackKind::FlatRows}), (Values{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
  EXPECT_EQ(valuesOf({"flat_in_out", StackKind::FlatRows, in_out}), (Values{1, 3, 5, 2, 4, 6, 7, 9, 11, 8, 10, 12}));
  EXPECT_EQ(valuesOf({"mixed", StackKind::InterleavedColumns}), (Values{1, 3, 5, 7, 9, 11, 2, 4, 6, 8, 10, 12}));
  EXPECT_EQ(valuesOf({"flat_in_out", StackKind::InterleavedColumns, in_out}),
            (Values{1, 5, 9, 2, 6, 10, 3, 7, 11, 4, 8, 12}));
  EXPECT_EQ(valuesOf({"e{e}", StackKind::PerExpert}), (Values{1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6}));
}

TEST(GoldenCase, storage_errors_name_tensor_and_shape) {
  Role role{"experts.up", {2, 2, 3}, true, true};
  GoldenTensorMap tensors = {{"w.flat", counting({4, 3})}};
  auto errorFor = [&](const WeightStorage &storage) {
    Result<GoldenTensor> out = assembleRole(role, storage, "w.", tensors);
    EXPECT_FALSE(out);
    return out ? "" : out.error().message;
  };
  EXPECT_EQ(errorFor({"flat", {}}), "tensor \"w.flat\" for experts.up is [4,3]; expected [2,2,3]");
  EXPECT_EQ(errorFor({"none", {}}), "tensor \"w.none\" for experts.up is missing; expected [2,2,3]");
  EXPECT_EQ(errorFor({"flat", StackKind::PerExpert}),
            "storage of experts.up is per_expert but its tensor \"w.flat\" has no {e}");
}

TEST(GoldenCase, safetensors_hostile_headers_are_refused) {
  EXPECT_EQ(errorOf(""), "the header does not fit into the 0 bytes of the file");
  EXPECT_EQ(errorOf(std::string(8, '\xff')), "the header does not fit into the 8 bytes of the file");
  EXPECT_EQ(errorOf(safetensors("[1]", "")), "the header is not a JSON object");
  EXPECT_EQ(errorOf(safetensors("{\"a\":", "")), "the header is not a JSON object");
  EXPECT_EQ(errorOf(safetensors(std::string(100000, '['), "")), "the header is not a JSON object");
  auto entry = [](const std::string &fields) { return errorOf(safetensors("{\"a\":{" + fields + "}}", "12345678")); };
  EXPECT_EQ(entry("\"dtype\":\"Q4\",\"shape\":[2],\"data_offsets\":[0,8]"),
            "tensor \"a\" has dtype \"Q4\"; expected F32, F64, F16, BF16, I32 or I64");
  EXPECT_EQ(entry("\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]"),
            "tensor \"a\" needs shape, a list of at most 8 sizes, and data_offsets, two numbers");
  EXPECT_EQ(entry("\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]"),
            "tensor \"a\" has data_offsets [0,12] outside the 8 bytes of data");
  EXPECT_EQ(entry("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]"), "tensor \"a\" has shape [1] but 8 bytes");
  EXPECT_EQ(entry("\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]"),
            "tensor \"a\" has shape [4611686018427387904,4] but 0 bytes");
  EXPECT_EQ(errorOf(safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                                "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
                                "12345678")),
            "tensors overlap: together they are larger than the 8 bytes of data");
}

TEST(GoldenCase, files_missing_or_wrong_are_named) {
  Folder folder;
  EXPECT_EQ(folder.errorOf("absent"), "DIR/absent.json: cannot be read: No such file or directory");
  folder.write("a.json", "{");
  EXPECT_EQ(folder.errorOf("a"), "DIR/a.json: a golden case is a JSON object with 'spec' and a list 'batches'");
  folder.write("b.json", "{\"spec\": {}, \"batches\": [], \"dtype\": \"q\"}");
  EXPECT_EQ(folder.errorOf("b"), "DIR/b.json: dtype is \"q\"; expected f32, bf16 or f16");
  std::string spec =
      "{\"moec\": 1, \"hidden\": 2, \"router\": {\"top_k\": 1}, \"experts\": {\"count\": 1, \"form\": \"linear\"}}";
  folder.write("c.json",
               "{\"spec\": " + spec + ", \"batches\": [{\"index\": 0, \"batch\": 1, \"tokens_per_sequence\": 1}]}");
  EXPECT_EQ(folder.errorOf("c"), "DIR/c.safetensors: cannot be read: No such file or directory");
  folder.write("c.safetensors", safetensors("{}", ""));
  EXPECT_EQ(folder.errorOf("c"), "DIR/c.safetensors: tensor 'b0.x' is missing; expected 1 tokens of 2");
  std::string header = "{\"b0.x\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]},"
                       "\"b0.y\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[8,16]}}";
  folder.write("c.safetensors", safetensors(header, std::string(16, '\0')));
  EXPECT_EQ(folder.errorOf("c"),
            "DIR/c.safetensors: tensor \"w.router.weight\" for router.weight is missing; expected [1,2]");
}

TEST(GoldenCase, folder_missing_is_an_error) {
  Result<std::vector<std::string>> names = listGoldenCases("/nowhere/at/all");
  ASSERT_FALSE(names);
  EXPECT_EQ(names.error().code, "E-FILE");
  EXPECT_EQ(names.error().placedMessage(), "/nowhere/at/all: cannot be listed: No such file or directory");
}

// One random change at a time in an honest case: it is read or refused, nothing else.
TEST(GoldenCase, hostile_changes_are_survived) {
  Folder folder;
  std::string json = fileText(golden + "/gpt_oss-bf16.json"), tensors = fileText(golden + "/gpt_oss-bf16.safetensors");
  uint64_t headerBytes;
  memcpy(&headerBytes, tensors.data(), 8);
  std::mt19937 random(3);
  int refused = 0;
  for (int i = 0; i < 400; ++i) {
    std::string badJson = json, badTensors = tensors;
    std::string &target = i % 2 ? badJson : badTensors;
    size_t at = random() % (i % 2 ? json.size() : 8 + headerBytes);
    if (i % 8 < 2)
      target.resize(at);
    else
      target[at] = char("0918{}[],\":-\0\xff"[random() % 14]);
    folder.write("x.json", badJson);
    folder.write("x.safetensors", badTensors);
    Result<GoldenCase> out = readGoldenCase(folder.path, "x");
    if (!out) {
      EXPECT_FALSE(out.error().message.empty());
      ++refused;
      continue;
    }
    MemoryWeights weights = out->view();
    for (const GoldenBatch &batch : out->batches)
      (void)runReference(out->spec, referenceInputs(*out, batch, weights));
  }
  EXPECT_GT(refused, 100);
}
