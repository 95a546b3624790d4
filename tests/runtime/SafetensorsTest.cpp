// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The safetensors reader on good, cut, and hostile files.

#include "runtime/weights/safetensors.h"
#include "TinyLayer.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <unistd.h>

using namespace moec::test;

namespace {

class Safetensors : public testing::Test {
protected:
  Safetensors() : path(testing::TempDir() + "moec_safetensors_" + std::to_string(getpid())) {}
  ~Safetensors() override { unlink(path.c_str()); }

  static std::string framed(const std::string &header, const std::string &data) {
    std::string bytes(8, '\0');
    for (size_t i = 0; i < 8; ++i)
      bytes[i] = static_cast<char>(header.size() >> (8 * i));
    return bytes + header + data;
  }

  moec_status open(const std::string &bytes) {
    FILE *stream = std::fopen(path.c_str(), "wb");
    std::fwrite(bytes.data(), 1, bytes.size(), stream);
    std::fclose(stream);
    moec_file_close(file);
    file = nullptr;
    return moec_file_open(path.c_str(), &file);
  }

  void TearDown() override { moec_file_close(file); }

  // The header is refused with `text` after the path.
  void refuse(const std::string &header, const std::string &text, const std::string &data = "12345678") {
    EXPECT_STREQ(moec_status_name(open(framed(header, data))), "MOEC_FILE_FORMAT") << header;
    EXPECT_EQ(lastError(), path + ": " + text);
    EXPECT_EQ(file, nullptr);
  }

  std::string path;
  moec_file *file = nullptr;
};

const char good[] = R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[1,1],"data_offsets":[4,8]},)"
                    R"( "a\u00e9\n": {"shape" : [2], "data_offsets":[0, 4],"dtype":"BF16"}}   )";

// What files hold besides the tensors that moec converts: other types, ranks, keys, and metadata of every length.
std::string rich() {
  return R"({"__metadata__":{"names":")" + std::string(5000, 'n') +
         R"(","\u0000":"\u0000"},)"
         R"("f8":{"dtype":"F8_E4M3","shape":[2,1],"data_offsets":[0,2]},)"
         R"("f4":{"dtype":"F4","shape":[2],"data_offsets":[2,3]},)"
         R"("new":{"dtype":"I4_of_a_version_to_come","shape":[3],"data_offsets":[3,5]},)"
         R"("deep":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,2],"data_offsets":[5,7]},)"
         R"("more":{"a key longer than the known ones":[-1.5e+3,{"b":[[],{},true,false,null,"\u0000"]}],"":0,)"
         R"("dtype":"BOOL","data_offsets\u00e9":1,"shape":[],"data_offsets":[7,8]}})";
}

std::string entry(const std::string &body) { return "{\"a\":{" + body + "}}"; }

} // namespace

TEST_F(Safetensors, good_file) {
  ASSERT_EQ(open(framed(good, "ABCDefgh")), MOEC_OK) << lastError();
  const moec_file_tensor *a = moec_file_find(file, "a\xc3\xa9\n"), *b = moec_file_find(file, "b");
  ASSERT_TRUE(a && b);
  EXPECT_EQ(moec_file_find(file, "c"), nullptr);
  EXPECT_EQ(moec_file_find(file, "__metadata__"), nullptr);
  EXPECT_EQ(a->dtype, MOEC_BF16);
  EXPECT_EQ(a->rank, 1);
  EXPECT_EQ(a->dims[0], 2);
  EXPECT_EQ(b->rank, 2);
  const void *data = nullptr;
  ASSERT_EQ(moec_file_data(file, b, &data), MOEC_OK);
  EXPECT_EQ(std::memcmp(data, "efgh", 4), 0);
}

TEST_F(Safetensors, everything_that_a_valid_file_may_hold) {
  ASSERT_EQ(open(framed(rich(), "12345678")), MOEC_OK) << lastError();
  const moec_file_tensor *unknown = moec_file_find(file, "new"), *deep = moec_file_find(file, "deep");
  ASSERT_TRUE(unknown && deep && moec_file_find(file, "f8") && moec_file_find(file, "f4"));
  EXPECT_EQ(unknown->dtype, -1);
  EXPECT_STREQ(unknown->type, "I4_of_a_version_to_come");
  EXPECT_EQ(deep->rank, 10);
  EXPECT_EQ(deep->elements, 2);
  EXPECT_EQ(moec_file_find(file, "more")->begin, 7u);
  EXPECT_EQ(open(framed(R"({"__metadata__": null , "a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "1")),
            MOEC_OK)
      << lastError();
}

TEST_F(Safetensors, skipped_values_are_json) {
  auto skipped = [](const std::string &value) {
    return entry(R"("dtype":"U8","shape":[8],"data_offsets":[0,8],"x":)" + value);
  };
  for (const char *value :
       {"0", "-0.5", "12E-3", "{}", "[]", R"([1,{"a":[]},{}])", "null", " true ", R"("\ud83d\ude00")"})
    EXPECT_EQ(open(framed(skipped(value), "12345678")), MOEC_OK) << value << ": " << lastError();
  refuse(skipped("01"), "header byte 58: expected a number without leading zeros");
  refuse(skipped("-"), "header byte 57: expected a digit");
  refuse(skipped("1."), "header byte 58: expected a digit");
  refuse(skipped("1e+"), "header byte 59: expected a digit");
  refuse(skipped("nul"), "header byte 56: expected a value");
  refuse(skipped("[1}"), "header byte 58: expected ',' or ']'");
  refuse(skipped("{1:2}"), "header byte 57: expected a string");
  refuse(skipped(R"({"a"})"), "header byte 60: expected ':'");
  refuse(skipped("[1,]"), "header byte 59: expected a value");
  EXPECT_EQ(open(framed(skipped(std::string(128, '[') + std::string(128, ']')), "12345678")), MOEC_OK) << lastError();
  refuse(skipped(std::string(100000, '[')),
         "header byte 184: expected at most 128 objects and arrays inside each other");
}

TEST_F(Safetensors, empty_file_of_no_tensors) { EXPECT_EQ(open(framed("{}", "")), MOEC_OK) << lastError(); }

TEST_F(Safetensors, every_truncation_is_refused) {
  std::string whole = framed(good, "ABCDefgh");
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    ASSERT_EQ(open(whole.substr(0, bytes)), MOEC_FILE_FORMAT) << bytes;
    ASSERT_EQ(lastError().rfind(path + ": ", 0), 0u);
  }
}

TEST_F(Safetensors, random_damage_never_crashes) {
  std::mt19937 generator(1);
  std::string header = rich();
  header.erase(header.find("nn"), 4990); // so that most flips hit what is parsed
  for (const std::string &whole : {framed(good, "ABCDefgh"), framed(header, "12345678")})
    for (int repeat = 0; repeat < 1000; ++repeat) {
      std::string bytes = whole;
      for (unsigned flips = 1 + generator() % 3; flips > 0; --flips)
        bytes[generator() % bytes.size()] = static_cast<char>(generator());
      open(bytes);
    }
}

TEST_F(Safetensors, missing_file) {
  EXPECT_EQ(moec_file_open((path + ".none").c_str(), &file), MOEC_FILE);
  EXPECT_EQ(lastError(), path + ".none: cannot be opened: No such file or directory");
}

TEST_F(Safetensors, folder) {
  EXPECT_EQ(moec_file_open("/", &file), MOEC_FILE);
  EXPECT_EQ(lastError(), "/: not a regular file");
}

TEST_F(Safetensors, header_length) {
  std::string bytes = framed("{}", "");
  bytes[7] = '\x7f';
  EXPECT_EQ(open(bytes), MOEC_FILE_FORMAT);
  EXPECT_EQ(lastError(),
            path + ": the header claims 9151314442816847874 bytes, the file has 2 and the limit is 100000000");
  EXPECT_EQ(open("1234567"), MOEC_FILE_FORMAT);
  EXPECT_EQ(lastError(), path + ": 7 bytes, a safetensors file has at least 10");
}

TEST_F(Safetensors, offsets) {
  refuse(entry(R"("dtype":"U8","shape":[4],"data_offsets":[4,8])"), "tensor \"a\" begins at data byte 4, expected 0");
  refuse(entry(R"("dtype":"U8","shape":[4],"data_offsets":[0,4])"), "tensors end at data byte 4, the file has 8");
  refuse(entry(R"("dtype":"U8","shape":[9],"data_offsets":[0,9])"), "tensors end at data byte 9, the file has 8");
  refuse(entry(R"("dtype":"U8","shape":[4],"data_offsets":[8,4])"),
         "header byte 51: expected data_offsets [begin, end] with begin <= end");
  refuse(entry(R"("dtype":"U8","shape":[4],"data_offsets":[0,4,8])"), "header byte 51: expected fewer numbers");
  refuse(entry(R"("dtype":"U8","shape":[4],"data_offsets":[0])"),
         "header byte 49: expected data_offsets [begin, end] with begin <= end");
  refuse(R"({"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
         "tensor \"b\" begins at data byte 4, expected 5");
  refuse(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
         "tensor \"b\" begins at data byte 4, expected 3");
}

TEST_F(Safetensors, shapes) {
  refuse(entry(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"),
         "tensor \"a\": F32 of its shape has 12 bytes, data_offsets say 8");
  refuse(entry(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8])"),
         "tensor \"a\": its shape is too large");
  refuse(entry(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,3],"data_offsets":[0,8])"),
         "tensor \"a\": F32 of its shape has 12 bytes, data_offsets say 8");
  refuse(entry(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,3037000500,3037000500],"data_offsets":[0,8])"),
         "tensor \"a\": its shape is too large");
  refuse(entry(R"("dtype":"F4","shape":[17],"data_offsets":[0,8])"),
         "tensor \"a\": F4 of its shape is not a whole number of bytes");
  refuse(entry(R"("dtype":"F6_E2M3","shape":[8],"data_offsets":[0,8])"),
         "tensor \"a\": F6_E2M3 of its shape has 6 bytes, data_offsets say 8");
  refuse(entry(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"),
         "header byte 29: expected an integer of at least 0");
  refuse(entry(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])"), "header byte 30: expected ',' or ']'");
  refuse(entry(R"("dtype":"F32","shape":[02],"data_offsets":[0,8])"),
         "header byte 31: expected an integer without leading zeros");
  refuse(entry(R"("dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8])"),
         "header byte 47: expected an integer below 2^63");
}

TEST_F(Safetensors, names) {
  refuse(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
         "tensor \"a\" is named twice");
  refuse(
      R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"\u0061":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
      "tensor \"a\" is named twice");
  refuse(R"({"a\u0000b":{}})", "header byte 9: expected a code point other than 0 and unpaired surrogates");
  refuse(R"({"\ud800x":{}})", "header byte 8: expected the second half of a surrogate pair");
  refuse("{\"a\nb\":{}}", "header byte 4: expected no control character in a string");
  refuse(R"({"\x":{}})", "header byte 3: expected an escape of JSON");
  refuse("{\"" + std::string(1024, 'n') + "\":{}}", "header byte 1026: expected a shorter string");
  EXPECT_EQ(open(framed("{\"" + std::string(1023, 'n') + R"(":{"dtype":"U8","shape":[],"data_offsets":[0,1]}})", "x")),
            MOEC_OK)
      << lastError();
}

TEST_F(Safetensors, json) {
  refuse("", "header byte 0: expected '{'");
  refuse("[]", "header byte 0: expected '{'");
  refuse("{", "header byte 1: expected a string");
  refuse("{\"a", "header byte 3: expected the end of a string");
  refuse("{\"a\" 1}", "header byte 5: expected ':'");
  refuse("{\"a\":1}", "header byte 5: expected '{'");
  refuse("{}x", "header byte 2: expected nothing after the object");
  refuse(entry(R"("dtype":"U8","shape":[8])"), "header byte 31: expected dtype, shape and data_offsets, each once");
  refuse(entry(R"("dtype":"U8","dtype":"U8")"), "header byte 27: expected dtype, shape and data_offsets, each once");
  refuse(entry(R"("kind":"U8")"), "header byte 18: expected dtype, shape and data_offsets, each once");
  refuse(R"({"__metadata__":{},"__metadata__":{}})", "header byte 34: expected __metadata__ once");
  refuse(R"({"__metadata__":{"a":1}})", "header byte 21: expected a string");
  refuse(R"({"__metadata__":nul})", "header byte 16: expected '{'");
  refuse(R"({"__metadata__":null,"__metadata__":null})", "header byte 36: expected __metadata__ once");
  refuse(std::string(100000, '['), "header byte 0: expected '{'");
  refuse(R"({"a":)" + std::string(100000, '{'), "header byte 6: expected a string");
}

TEST_F(Safetensors, file_that_becomes_shorter) {
  ASSERT_EQ(open(framed(good, "ABCDefgh")), MOEC_OK);
  ASSERT_EQ(truncate(path.c_str(), 20), 0);
  const void *data = nullptr;
  EXPECT_EQ(moec_file_data(file, moec_file_find(file, "b"), &data), MOEC_FILE);
  EXPECT_EQ(lastError(), path + ": became shorter while it was read");
}
