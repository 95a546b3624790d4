// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Names of statuses and ISAs, and the rules of moec_last_error.

#include "runtime/status.h"
#include "TinyLayer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

using namespace moec::test;

TEST(Status, names_are_pinned) {
  const char *names[] = {"MOEC_OK",
                         "MOEC_INVALID_ARGUMENT",
                         "MOEC_NULL_POINTER",
                         "MOEC_SHAPE",
                         "MOEC_DTYPE",
                         "MOEC_ALIGNMENT",
                         "MOEC_OVERLAP",
                         "MOEC_STRIDE",
                         "MOEC_WORKSPACE_TOO_SMALL",
                         "MOEC_TOKENS_OUT_OF_RANGE",
                         "MOEC_INVALID_HANDLE",
                         "MOEC_UNSUPPORTED_DEVICE",
                         "MOEC_ISA_MISSING",
                         "MOEC_OUT_OF_MEMORY",
                         "MOEC_DEVICE_ERROR",
                         "MOEC_VERSION_MISMATCH",
                         "MOEC_INTERNAL",
                         "MOEC_MISSING_WEIGHT",
                         "MOEC_FILE",
                         "MOEC_FILE_FORMAT"};
  for (int i = 0; i < 20; ++i)
    EXPECT_STREQ(moec_status_name(static_cast<moec_status>(i)), names[i]);
  EXPECT_STREQ(moec_status_name(static_cast<moec_status>(20)), "MOEC_UNKNOWN_STATUS");
  EXPECT_STREQ(moec_isa_name(MOEC_ISA_AMX), "amx");
  EXPECT_STREQ(moec_isa_name(MOEC_ISA_AVX512_BF16), "avx512_bf16");
  EXPECT_STREQ(moec_isa_name(MOEC_NUM_ISAS), "unknown");
  EXPECT_STREQ(moec_isa_name(-1), "unknown");
}

TEST(Status, types_have_names) {
  char room[MOEC_DTYPE_TEXT];
  const char *names[] = {"f32", "bf16", "f16", "i32", "fp8e4m3", "fp8e5m2", "i8", "i4", "mxfp4", "u8", "i64", "f64"};
  for (uint32_t i = 0; i < 12; ++i)
    EXPECT_STREQ(moec_dtype_text(i, room), names[i]);
  EXPECT_STREQ(moec_dtype_text(12, room), "unknown (12)");
  EXPECT_STREQ(moec_dtype_text(UINT32_MAX, room), "unknown (4294967295)");
}

TEST(Status, version_is_the_headers) {
  EXPECT_EQ(moec_version(), std::to_string(MOEC_VERSION_MAJOR) + "." + std::to_string(MOEC_VERSION_MINOR) + "." +
                                std::to_string(MOEC_VERSION_PATCH));
}

TEST(Status, last_error_is_cut_and_terminated) {
  EXPECT_EQ(moec_layer_create(nullptr, nullptr, nullptr), MOEC_NULL_POINTER);
  char text[8] = "xxxxxxx";
  EXPECT_EQ(moec_last_error(text, sizeof(text)), 15u);
  EXPECT_STREQ(text, "package");
  EXPECT_EQ(moec_last_error(nullptr, 0), 15u);
  EXPECT_EQ(lastError(), "package is NULL");
}

TEST(Status, last_error_belongs_to_its_thread) {
  moec_layer_create(nullptr, nullptr, nullptr);
  std::string other = "?";
  std::thread([&] { other = lastError(); }).join();
  EXPECT_EQ(other, "");
  EXPECT_EQ(lastError(), "package is NULL");
}

namespace {

// The text of a file that is not there.
std::string errorOfFile(const std::string &path) {
  moec_layer *layer = nullptr;
  EXPECT_EQ(moec_layer_create(tiny_package(), nullptr, &layer), MOEC_OK);
  AlignedBytes packed(16384);
  moec_weights *weights = nullptr;
  EXPECT_EQ(moec_weights_load(layer, path.c_str(), "", packed.data(), packed.size(), &weights), MOEC_FILE);
  moec_layer_destroy(layer);
  return lastError();
}

std::string repeat(const std::string &text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i)
    all += text;
  return all;
}

} // namespace

// Names in a text may come from a file or a caller; a terminal acts on control characters.
TEST(Status, last_error_is_printable) {
  EXPECT_EQ(errorOfFile("no\x1b[31m\nsuch\x7f"), "no?[31m?such?: cannot be opened: No such file or directory");
}

TEST(Status, last_error_is_utf_8) {
  const std::string rest = ": cannot be opened: No such file or directory";
  EXPECT_EQ(errorOfFile("\u00e4\u20ac\U0001f600\ud7ff\ue000\U0010ffff"),
            "\u00e4\u20ac\U0001f600\ud7ff\ue000\U0010ffff" + rest);
  for (const char *wrong : {"\xe4", "\x80", "\xff"})
    EXPECT_EQ(errorOfFile(std::string("a") + wrong + "b"), "a?b" + rest);
  EXPECT_EQ(errorOfFile("\xc0\xaf|\xe0\x9f\xbf|\xed\xa0\x80|\xf0\x8f\xbf\xbf|\xf4\x90\x80\x80"),
            "??|???|???|????|????" + rest);
}

TEST(Status, last_error_is_cut_between_characters) {
  for (const std::string character : {"\u00e4", "\u20ac", "\U0001f600"})
    for (int shift = 0; shift < 4; ++shift) {
      const std::string start(size_t(shift), 'x'), path = start + repeat(character, 90);
      errorOfFile(path);
      for (size_t room = 1; room < 20; ++room) {
        char text[32];
        EXPECT_GT(moec_last_error(text, room), 100u);
        size_t letters = std::min(room - 1, size_t(shift));
        EXPECT_EQ(text, path.substr(0, letters + (room - 1 - letters) / character.size() * character.size()));
      }
      moec_error(MOEC_FILE, "%s", (start + repeat(character, 800)).c_str()); // more bytes than there is room for
      const std::string cut = lastError();
      EXPECT_GT(cut.size(), 1000u);
      EXPECT_EQ(cut.find('?'), std::string::npos);
      EXPECT_EQ((cut.size() - size_t(shift)) % character.size(), 0u);
    }
}
