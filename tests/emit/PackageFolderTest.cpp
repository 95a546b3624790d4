// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Files -> a folder that appears whole; errors leave what was there.

#include "codegen/emit/PackageFolder.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>

using namespace moec;
namespace fs = std::filesystem;

namespace {
class PackageFolderTest : public testing::Test {
protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "moec-folder-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    base = pattern;
  }
  void TearDown() override { fs::remove_all(base); }

  std::string at(const char *name) const { return (base / name).string(); }
  static std::vector<PackageFile> files(const char *text) {
    return {{"lib/libx.a", text}, {"share/x/manifest.json", "{}"}};
  }
  size_t entries() const { return size_t(std::distance(fs::directory_iterator(base), fs::directory_iterator())); }
  static std::string read(const std::string &path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  bool make(const std::string &path, PackageFolder::Existing existing, const char *text) {
    auto folder = PackageFolder::stage(path, existing, error);
    return folder && folder->write(files(text), error) && folder->commit(error);
  }

  fs::path base;
  FolderError error;
};
} // namespace

TEST_F(PackageFolderTest, commit_shows_all_files_at_once) {
  auto folder = PackageFolder::stage(at("p"), PackageFolder::Existing::Refuse, error);
  ASSERT_TRUE(folder);
  ASSERT_TRUE(folder->write(files("one"), error)) << error.message;
  EXPECT_FALSE(fs::exists(at("p")));
  ASSERT_TRUE(folder->commit(error)) << error.message;
  EXPECT_EQ(read(at("p/lib/libx.a")), "one");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(PackageFolderTest, destructor_removes_what_was_not_committed) {
  {
    auto folder = PackageFolder::stage(at("p"), PackageFolder::Existing::Refuse, error);
    ASSERT_TRUE(folder && folder->write(files("one"), error));
    EXPECT_EQ(entries(), 1u);
  }
  EXPECT_EQ(entries(), 0u);
}

TEST_F(PackageFolderTest, existing_package_is_refused_then_replaced) {
  ASSERT_TRUE(make(at("p"), PackageFolder::Existing::Refuse, "one"));
  EXPECT_FALSE(make(at("p"), PackageFolder::Existing::Refuse, "two"));
  EXPECT_EQ(error.code, "E-EXISTS");
  EXPECT_EQ(read(at("p/lib/libx.a")), "one");
  EXPECT_TRUE(make(at("p/"), PackageFolder::Existing::Replace, "two")) << error.message;
  EXPECT_EQ(read(at("p/lib/libx.a")), "two");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(PackageFolderTest, folder_that_appears_meanwhile_is_kept) {
  auto folder = PackageFolder::stage(at("p"), PackageFolder::Existing::Refuse, error);
  ASSERT_TRUE(folder && folder->write(files("one"), error));
  fs::create_directory(at("p"));
  EXPECT_FALSE(folder->commit(error));
  EXPECT_EQ(error.message, "folder \"" + at("p") + "\" exists");
}

TEST_F(PackageFolderTest, foreign_files_and_links_are_never_replaced) {
  fs::create_directory(at("mine"));
  std::ofstream(at("mine/file")) << "mine";
  EXPECT_FALSE(make(at("mine"), PackageFolder::Existing::Replace, "one"));
  EXPECT_EQ(error.code, "E-EXISTS");
  fs::create_directory_symlink(at("mine"), at("link"));
  EXPECT_FALSE(make(at("link"), PackageFolder::Existing::Replace, "one"));
  EXPECT_EQ(error.code, "E-SYMLINK");
  std::ofstream(at("file")) << "x";
  EXPECT_FALSE(make(at("file"), PackageFolder::Existing::Replace, "one"));
  EXPECT_EQ(read(at("mine/file")), "mine");
  fs::create_directories(at("empty/include"));
  EXPECT_TRUE(make(at("empty"), PackageFolder::Existing::Replace, "one")) << error.message;
}

TEST_F(PackageFolderTest, work_folder_is_not_part_of_the_package) {
  auto folder = PackageFolder::stage(at("p"), PackageFolder::Existing::Refuse, error);
  ASSERT_TRUE(folder);
  std::string work = folder->workDir(error);
  std::ofstream(work + "/0.o") << "object";
  ASSERT_TRUE(folder->write(files("one"), error) && folder->commit(error)) << error.message;
  EXPECT_FALSE(fs::exists(at("p/link")));
}

TEST_F(PackageFolderTest, parent_that_cannot_be_made_is_said) {
  std::ofstream(at("file")) << "x";
  EXPECT_FALSE(make(at("file/p"), PackageFolder::Existing::Refuse, "one"));
  EXPECT_EQ(error.code, "E-WRITE");
  for (const char *path : {"", "/", ".", ".."})
    EXPECT_FALSE(PackageFolder::stage(path, PackageFolder::Existing::Replace, error)) << path;
}
