// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Typed values -> template text; nothing but identifiers and numbers gets in.

#include "codegen/emit/PackageTemplate.h"
#include "codegen/emit/PackageFiles.h"

#include <gtest/gtest.h>

using namespace moec;

TEST(PackageTemplate, identifier_refuses_what_is_none) {
  PackageValues values;
  for (const char *text : {"", "A", "1a", "a-b", "a b", "moec", "moec_x", "a\nb", "a*/", "${x}", "@name@"})
    EXPECT_FALSE(values.identifier("name", text)) << text;
  EXPECT_EQ(values.find("name"), nullptr);
  EXPECT_FALSE(values.identifier("name", std::string(64, 'a')));
  EXPECT_TRUE(values.identifier("name", std::string(63, 'a')));
  EXPECT_TRUE(values.upperIdentifier("NAME", "tiny_2"));
  EXPECT_EQ(*values.find("NAME"), "TINY_2");
}

TEST(PackageTemplate, role_line_refuses_other_characters) {
  PackageValues values;
  EXPECT_FALSE(values.roleLine("roles", "a */ int x;", {1}));
  EXPECT_TRUE(values.roleLine("roles", "experts.gate", {4, 6, 8}));
  EXPECT_EQ(*values.find("roles"), " *   experts.gate           [4,6,8]\n");
}

TEST(PackageTemplate, fill_needs_every_value) {
  PackageValues values;
  Result<std::string> text = fillPackageTemplate("nothing.in", values);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().message, "no package template named nothing.in");
  text = fillPackageTemplate("pkgconfig.pc.in", values);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().message, "package template pkgconfig.pc.in asks for \"name\", which has no value");
  ASSERT_TRUE(values.identifier("name", "tiny"));
  values.word("version", "0.1.0");
  values.word("next_version", "0.2");
  text = fillPackageTemplate("pkgconfig.pc.in", values);
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_NE(text->find("Libs: -L${libdir} -ltiny\n"), std::string::npos);
  EXPECT_EQ(text->find('@'), std::string::npos);
  EXPECT_EQ(text->find("SPDX"), std::string::npos) << "what moec writes does not carry moec's licence";
}

TEST(PackageTemplate, versions_that_work_together) {
  EXPECT_EQ(compatibleVersions(0, 1), std::pair(std::string("0.1"), std::string("0.2")));
  EXPECT_EQ(compatibleVersions(0, 9), std::pair(std::string("0.9"), std::string("0.10")));
  EXPECT_EQ(compatibleVersions(1, 4), std::pair(std::string("1"), std::string("2")));
}
