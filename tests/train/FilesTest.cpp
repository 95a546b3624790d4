// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Texts, checkpoints and pictures of examples/train.
#include "examples/train/history.h"
#include "examples/train/safetensors.h"
#include "examples/train/text.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

using namespace train;

namespace {

class TrainFiles : public testing::Test {
protected:
  void SetUp() override {
    char pattern[] = "/tmp/moec-train-XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    folder = pattern;
  }
  void TearDown() override { std::system(("rm -rf " + folder).c_str()); }
  std::string write(const std::string &bytes) {
    std::ofstream(folder + "/file", std::ios::binary) << bytes;
    return folder + "/file";
  }
  static std::string error_of(const std::string &path) {
    try {
      read_safetensors(path);
    } catch (const std::runtime_error &error) {
      return std::string(error.what()).substr(path.size());
    }
    return "";
  }
  static std::string with_header(const std::string &header, const std::string &data) {
    uint64_t length = header.size();
    return std::string(reinterpret_cast<const char *>(&length), 8) + header + data;
  }
  std::string folder;
};

TEST_F(TrainFiles, SafetensorsComeBack) {
  SafeTensors content;
  content.tensors["layers.0.weight"] = {{2, 3}, {1, 2, 3, 4, 5, 6}};
  content.tensors["empty"] = {{0}, {}};
  content.texts["train"] = "{\"a\": \"\\u00e4\"}";
  std::string path = folder + "/model.safetensors";
  write_safetensors(path, content);
  SafeTensors back = read_safetensors(path);
  EXPECT_EQ(back.texts, content.texts);
  EXPECT_EQ(back.tensors.size(), 2u);
  EXPECT_EQ(back.tensors["layers.0.weight"].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(back.tensors["layers.0.weight"].values, content.tensors["layers.0.weight"].values);
}

TEST_F(TrainFiles, BrokenSafetensorsAreErrors) {
  EXPECT_EQ(error_of(folder + "/none"), ": cannot be read");
  EXPECT_EQ(error_of(write("")), ": is not safetensors: the header is longer than the file");
  EXPECT_EQ(error_of(write(std::string(8, '\xff'))), ": is not safetensors: the header is longer than the file");
  EXPECT_NE(error_of(write(with_header("{", ""))), "");
  EXPECT_NE(error_of(write(with_header("[1]", ""))), "");
  auto one = [&](const std::string &entry) {
    return error_of(write(with_header("{\"a\":" + entry + "}", "12345678")));
  };
  EXPECT_EQ(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})"), "");
  EXPECT_EQ(one(R"({"dtype":"BF16","shape":[4],"data_offsets":[0,8]})"), ": a is BF16, expected F32");
  const char *outside = ": a lies outside of the file, or has another size than its shape";
  EXPECT_EQ(one(R"({"dtype":"F32","shape":[2],"data_offsets":[4,12]})"), outside);
  EXPECT_EQ(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,8]})"), outside);
  EXPECT_EQ(one(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"), outside);
  EXPECT_EQ(one(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,8]})"), ": a has a shape that does not fit the file");
  EXPECT_EQ(one(R"({"dtype":"F32","shape":[2147483648,2147483648,2147483648,4],"data_offsets":[0,8]})"),
            ": a has a shape that does not fit the file");
  EXPECT_NE(one(R"({"dtype":"F32","shape":[2]})"), "");
}

TEST_F(TrainFiles, WritingFailsWithoutLeftovers) {
  std::string path = folder + "/model";
  ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
  EXPECT_THROW(write_safetensors(path, {}), std::runtime_error);
  EXPECT_NE(access((path + ".unfinished").c_str(), F_OK), 0);
}

TEST(TrainText, VocabularyAndBatches) {
  std::string characters = "the quick brown fox jumps over the lazy dog. ", all;
  for (int i = 0; i < 10; ++i)
    all += characters;
  Vocabulary vocabulary = Vocabulary::of(all);
  EXPECT_EQ(vocabulary.size(), 28);
  std::vector<int32_t> ids = vocabulary.encode(all);
  EXPECT_EQ(vocabulary.decode(ids[0]), 't');
  try {
    vocabulary.encode("Tea");
    FAIL();
  } catch (const std::runtime_error &error) {
    EXPECT_STREQ(error.what(), "the model does not know the character 'T' (84), which its text did not have");
  }
  Text text(ids, 9);
  Batch batch = text.draw(3, 1, 5), again = text.draw(3, 1, 5), other = text.draw(3, 1, 6);
  EXPECT_EQ(batch.ids, again.ids);
  EXPECT_NE(batch.ids, other.ids);
  ASSERT_EQ(batch.ids.size(), 27u);
  for (int i = 0; i < 8; ++i)
    EXPECT_EQ(batch.targets[i], batch.ids[i + 1]);
  // 450 characters: the last 45 are held out, four sequences of 9 and what comes after each
  ASSERT_EQ(text.held_out(), 4);
  Batch held = text.held_out(1, 2);
  EXPECT_EQ(held.sequences, 2);
  for (int i = 0; i < 18; ++i) {
    EXPECT_EQ(held.ids[i], ids[405 + 9 + i]);
    EXPECT_EQ(held.targets[i], ids[405 + 10 + i]);
  }
  EXPECT_THROW(Text(ids, 200), std::runtime_error);
}

TEST_F(TrainFiles, PictureHasItsCurves) {
  std::vector<Row> history;
  for (int i = 1; i <= 20; ++i) {
    Row row;
    row.step = 10.0f * i, row.loss = 4.0f / i, row.held_out = i % 5 ? 0.0f : 4.1f / i;
    row.utilisation = 0.9f, row.largest = 0.2f, row.phase = i > 17 ? 2.0f : i > 2 ? 1.0f : 0.0f;
    history.push_back(row);
  }
  std::string path = folder + "/picture.svg";
  draw_history(path, history, 4.19);
  std::string svg = read_text(path);
  auto count = [&](const std::string &what) {
    int found = 0;
    for (size_t at = svg.find(what); at != std::string::npos; at = svg.find(what, at + 1))
      ++found;
    return found;
  };
  EXPECT_EQ(count("<polyline"), 5);
  EXPECT_EQ(count("fill=\"#f1f3f5\""), 4); // warm-up and fine-tuning in both charts
  EXPECT_NE(svg.find("training 0.2<"), std::string::npos);
  EXPECT_NE(svg.find("held out 0.205<"), std::string::npos);
  EXPECT_NE(svg.find("use 0.9<"), std::string::npos);
  EXPECT_EQ(count("nan"), 0);
}

} // namespace
