// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The identity of a layer: spec and functions, without what says nothing about the mathematics.

#include "dsl/spec/LayerHash.h"

#include <gtest/gtest.h>

using namespace moec;

TEST(LayerHash, a_layer_without_functions_has_the_hash_of_its_spec) {
  EXPECT_EQ(layerHash("{}\n", {}), sha256("{}\n"));
}

TEST(LayerHash, is_of_the_documented_text) {
  EXPECT_EQ(layerHash("{}\n", {{"b", "x\ny"}, {"a", "// silu\nz  // end\n"}}),
            sha256("{}\nfunction a\nz\nfunction b\nx y\n"));
}

TEST(LayerHash, comments_and_white_space_say_nothing) {
  EXPECT_EQ(bareMlirText(" // head\n a\t b\r\n\n//\nc / d //"), "a b c / d");
  EXPECT_EQ(bareMlirText("//"), "");
  EXPECT_EQ(bareMlirText(""), "");
}

// Text may go on after a string that looks like a comment.
TEST(LayerHash, strings_stay) {
  EXPECT_EQ(bareMlirText("a loc(\"x//  \\\" y\")   b // c"), "a loc(\"x//  \\\" y\") b");
  EXPECT_EQ(bareMlirText("\"open  // \\"), "\"open  // \\");
  EXPECT_NE(layerHash("", {{"f", "loc(\"//\") 1"}}), layerHash("", {{"f", "loc(\"//\") 2"}}));
}
