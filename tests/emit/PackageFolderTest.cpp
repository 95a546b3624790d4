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
  // The code and the message of the error; empty: the package was written.
  static std::string make(const std::string &path, PackageFolder::Existing existing, const char *text) {
    auto folder = PackageFolder::stage(path, existing);
    Result<> done = folder ? (*folder)->write(files(text)) : folder.takeError();
    if (done)
      done = (*folder)->commit();
    return done ? "" : done.error().code + " " + done.error().message;
  }
  static std::string codeOf(const std::string &made) { return made.substr(0, made.find(' ')); }

  fs::path base;
};
} // namespace

TEST_F(PackageFolderTest, commit_shows_all_files_at_once) {
  auto folder = PackageFolder::stage(at("p"), PackageFolder::Existing::Refuse);
  ASSERT_TRUE(folder);
  ASSERT_TRUE((*folder)->write(files("one")));
  EXPECT_FALSE(fs::exists(at("p")));
  ASSERT_TRUE((*folder)->commit());
  EXPECT_EQ(read(at("p/lib/libx.a")), "one");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(PackageFolderTest, destructor_removes_what_was_not_committed) {
  {
    auto folder = PackageFolder::stage(at("p"), PackageFolder::Existing::Refuse);
    ASSERT_TRUE(folder && (*folder)->write(files("one")));
    EXPECT_EQ(entries(), 1u);
  }
  EXPECT_EQ(entries(), 0u);
}

TEST_F(PackageFolderTest, existing_package_is_refused_then_replaced) {
  ASSERT_EQ(make(at("p"), PackageFolder::Existing::Refuse, "one"), "");
  EXPECT_EQ(codeOf(make(at("p"), PackageFolder::Existing::Refuse, "two")), "E-EXISTS");
  EXPECT_EQ(read(at("p/lib/libx.a")), "one");
  EXPECT_EQ(make(at("p/"), PackageFolder::Existing::Replace, "two"), "");
  EXPECT_EQ(read(at("p/lib/libx.a")), "two");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(PackageFolderTest, folder_that_appears_meanwhile_is_kept) {
  auto folder = PackageFolder::stage(at("p"), PackageFolder::Existing::Refuse);
  ASSERT_TRUE(folder && (*folder)->write(files("one")));
  fs::create_directory(at("p"));
  Result<> committed = (*folder)->commit();
  ASSERT_FALSE(committed);
  EXPECT_EQ(committed.error().message, "folder \"" + at("p") + "\" exists");
}

TEST_F(PackageFolderTest, foreign_files_and_links_are_never_replaced) {
  fs::create_directory(at("mine"));
  std::ofstream(at("mine/file")) << "mine";
  EXPECT_EQ(codeOf(make(at("mine"), PackageFolder::Existing::Replace, "one")), "E-EXISTS");
  fs::create_directory_symlink(at("mine"), at("link"));
  EXPECT_EQ(codeOf(make(at("link"), PackageFolder::Existing::Replace, "one")), "E-SYMLINK");
  std::ofstream(at("file")) << "x";
  EXPECT_EQ(codeOf(make(at("file"), PackageFolder::Existing::Replace, "one")), "E-EXISTS");
  EXPECT_EQ(read(at("mine/file")), "mine");
  fs::create_directories(at("empty/include"));
  EXPECT_EQ(make(at("empty"), PackageFolder::Existing::Replace, "one"), "");
}

TEST_F(PackageFolderTest, work_folder_is_not_part_of_the_package) {
  auto folder = PackageFolder::stage(at("p"), PackageFolder::Existing::Refuse);
  ASSERT_TRUE(folder);
  Result<std::string> work = (*folder)->workDir();
  ASSERT_TRUE(work);
  std::ofstream(*work + "/0.o") << "object";
  ASSERT_TRUE((*folder)->write(files("one")) && (*folder)->commit());
  EXPECT_FALSE(fs::exists(at("p/link")));
}

TEST_F(PackageFolderTest, parent_that_cannot_be_made_is_said) {
  std::ofstream(at("file")) << "x";
  EXPECT_EQ(codeOf(make(at("file/p"), PackageFolder::Existing::Refuse, "one")), "E-WRITE");
  for (const char *path : {"", "/", ".", ".."})
    EXPECT_FALSE(PackageFolder::stage(path, PackageFolder::Existing::Replace)) << path;
}

TEST_F(PackageFolderTest, names_as_long_as_a_file_system_takes) {
  for (size_t bytes : {250u, 255u}) {
    std::string name(bytes, 'n');
    EXPECT_EQ(make(at(name.c_str()), PackageFolder::Existing::Refuse, "one"), "") << bytes;
    EXPECT_EQ(make(at(name.c_str()), PackageFolder::Existing::Replace, "two"), "") << bytes;
    EXPECT_EQ(read(at(name.c_str()) + "/lib/libx.a"), "two");
  }
  EXPECT_EQ(entries(), 2u);
  Result<> tooLong = PackageFolder::check(at(std::string(256, 'n').c_str()), PackageFolder::Existing::Refuse);
  ASSERT_FALSE(tooLong) << "before any work is done";
  EXPECT_NE(tooLong.error().message.find("File name too long"), std::string::npos) << tooLong.error().message;
  std::string deep = base.string();
  while (deep.size() < 3960)
    deep += "/" + std::string(50, 'd');
  EXPECT_FALSE(PackageFolder::check(deep, PackageFolder::Existing::Refuse)) << "its files would have longer paths";
}

TEST_F(PackageFolderTest, staging_folders_are_never_in_the_way) {
  auto first = PackageFolder::stage(at("p"), PackageFolder::Existing::Refuse);
  auto second = PackageFolder::stage(at("p"), PackageFolder::Existing::Refuse); // the same process id
  ASSERT_TRUE(first && second);
  EXPECT_NE((*first)->stagingPath(), (*second)->stagingPath());
  EXPECT_EQ(make(at("p"), PackageFolder::Existing::Refuse, "one"), "");
}

TEST_F(PackageFolderTest, a_parent_that_is_a_file_is_said_before_the_work) {
  std::ofstream(at("file")) << "x";
  for (const char *below : {"file/p", "file/new/p"}) {
    Result<> checked = PackageFolder::check(at(below), PackageFolder::Existing::Refuse);
    ASSERT_FALSE(checked) << below;
    EXPECT_EQ(checked.error().code, "E-WRITE");
  }
  EXPECT_TRUE(PackageFolder::check(at("new/folders/p"), PackageFolder::Existing::Refuse));
}
