// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Names of statuses and ISAs, and the rules of moec_last_error.

#include "TinyLayer.h"

#include <gtest/gtest.h>

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

// Names in a text may come from a file or a caller; a terminal acts on control characters.
TEST(Status, last_error_is_printable) {
  moec_layer *layer = nullptr;
  ASSERT_EQ(moec_layer_create(tiny_package(), nullptr, &layer), MOEC_OK);
  AlignedBytes packed(16384);
  moec_weights *weights = nullptr;
  EXPECT_EQ(moec_weights_load(layer, "no\x1b[31m\nsuch\x7f", "", packed.data(), packed.size(), &weights), MOEC_FILE);
  EXPECT_EQ(lastError(), "no?[31m?such?: cannot be opened: No such file or directory");
  moec_layer_destroy(layer);
}
