// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where records are looked for, and that shipped ones become part of the program.

#include "codegen/tune/TuneSources.h"
#include "codegen/TemplateFiles.h"
#include "codegen/tune/TuneAudit.h"
#include "tests/tune/TuneRecords.h"

namespace moec {
namespace {

TEST(sources, the_file_beside_the_spec) {
  EXPECT_EQ(projectTuneFile("layer.json"), "layer.tune.jsonl");
  EXPECT_EQ(projectTuneFile("a.b/c.json"), "a.b/c.tune.jsonl");
  EXPECT_EQ(projectTuneFile("a/layer.mlir"), "a/layer.tune.jsonl");
  EXPECT_EQ(projectTuneFile("qwen3-30b-a3b"), "qwen3-30b-a3b.tune.jsonl");
}

TEST(sources, records_know_where_they_are) {
  TemporaryFolder folder;
  std::string line = printTuneRecord(measurement());
  writeFile(folder.file("layer.tune.jsonl"), "torn\n" + line + "\n");
  writeFile(folder.file("user.jsonl"), line + "\n" + line + "\n");
  Result<TuneSet> set = loadTuneSet({folder.file("user.jsonl")}, folder.file("layer.json"), /*withShipped=*/false);
  ASSERT_TRUE(set);
  ASSERT_EQ(set->items.size(), 3u);
  EXPECT_EQ(set->items[1].source, TuneSource::User);
  EXPECT_EQ(set->placeOf(1), folder.file("user.jsonl") + ":2");
  EXPECT_EQ(set->items[2].source, TuneSource::Project);
  EXPECT_EQ(set->placeOf(2), folder.file("layer.tune.jsonl") + ":2");
  EXPECT_EQ(set->complaints.size(), 1u);
  EXPECT_EQ(set->skippedLines, 1u);

  EXPECT_TRUE(loadTuneSet({}, folder.file("other.json"), false)->items.empty()) << "a file beside the spec may lack";
  Result<TuneSet> none = loadTuneSet({folder.file("none.jsonl")}, "", false);
  ASSERT_FALSE(none) << "a file that the user names may not";
  EXPECT_EQ(none.error().code, "E-FILE");
}

TEST(sources, shipped_records_are_good) {
  TuneSet set;
  addShippedRecords(set);
  for (const TuneItem &item : set.items)
    EXPECT_EQ(item.source, TuneSource::Shipped);
  EXPECT_EQ(set.skippedLines, 0u);
  EXPECT_GT(set.items.size(), 0u);
  for (const Diagnostic &problem : auditRecords(set))
    ADD_FAILURE() << problem.placedMessage();
  TuneSet loaded = *loadTuneSet({}, "");
  EXPECT_EQ(loaded.items.size(), set.items.size());
}

TEST(sources, files_of_templates_tuning_are_embedded_byte_for_byte) {
  TemporaryFolder folder;
  std::filesystem::create_directories(folder.file("templates/tuning"));
  TuneRecord record = measurement();
  record.result = TuneResult::Wrong;
  record.detail = "a; b \\ ${c} [[d]] \"e\"";
  std::string text = printTuneRecord(record) + "\n";
  writeFile(folder.file("templates/tuning/zen4.jsonl"), text);
  std::string command = std::string(MOEC_CMAKE) + " -DROOT=" + folder.file("templates") +
                        " -DOUTPUT=" + folder.file("table.cpp") +
                        " -P " MOEC_SOURCE_DIR "/codegen/EmbedTemplates.cmake";
  ASSERT_EQ(std::system(command.c_str()), 0);
  EXPECT_NE(readFile(folder.file("table.cpp")).find("{\"tuning/zen4.jsonl\", R\"moec(" + text + ")moec\"},"),
            std::string::npos);
}

} // namespace
} // namespace moec
