// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Lines of tuning records -> cells; lines of other forms, broken and cut ones.

#include "codegen/report/TuneRecords.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace moec;

namespace {

std::optional<TuneFile> read(const std::string &text, std::string *errors = nullptr) {
  DiagnosticList diagnostics;
  diagnostics.setSource("a.tune.jsonl", text);
  std::optional<TuneFile> file = readTuneFile(text, diagnostics);
  if (errors)
    for (const Diagnostic &error : diagnostics.all())
      *errors += error.code + " " + error.placedMessage() + "\n";
  return file;
}

} // namespace

TEST(TuneRecords, lines_of_a_cell_come_together) {
  std::string text =
      R"({"stage": "down", "target": "cpu:avx2", "rows": [9, 12], "result": "slower", "candidate_us": 5.5, "default_us": 4, "candidate": {"block_m": 6, "prefetch": 64}}
{"stage": "up", "target": "cpu:avx2", "result": "better", "candidate_us": 3, "default_us": 4, "candidate": "block_m 12"}

{"stage": "down", "target": "cpu:avx2", "rows": [9, 12], "result": "WRONG at row 3", "candidate_us": 1, "default_us": 6, "candidate": 7, "unknown": [1, {"x": null}]}
{"header": true}
)";
  EXPECT_TRUE(isTuneFile(text));
  std::optional<TuneFile> file = read(text);
  ASSERT_TRUE(file);
  ASSERT_EQ(file->cells.size(), 2u);
  const TuneCell &down = file->cells[0];
  EXPECT_EQ(down.name, "down, cpu:avx2, rows 9..12");
  EXPECT_EQ(file->cells[1].name, "up, cpu:avx2");
  ASSERT_EQ(down.candidates.size(), 2u);
  EXPECT_EQ(down.candidates[0].text, "block_m 6, prefetch 64");
  EXPECT_EQ(down.candidates[0].us, 5.5);
  EXPECT_FALSE(down.candidates[0].failed);
  EXPECT_TRUE(down.candidates[1].failed); // its time does not count
  EXPECT_EQ(down.defaultUs, 5);
  EXPECT_EQ(file->skipped, 1u);
}

TEST(TuneRecords, members_that_are_not_there_are_not_missed) {
  std::optional<TuneFile> file = read("{\"candidate\": \"x\"}\n{\"candidate\": null, \"candidate_us\": \"fast\"}\n");
  ASSERT_TRUE(file);
  ASSERT_EQ(file->cells.size(), 1u);
  EXPECT_EQ(file->cells[0].name, "unnamed");
  EXPECT_TRUE(file->cells[0].candidates[0].failed);
  EXPECT_TRUE(std::isnan(file->cells[0].candidates[1].us));
  EXPECT_TRUE(std::isnan(file->cells[0].defaultUs));
}

// A process that is killed leaves half a line at the end.
TEST(TuneRecords, a_cut_last_line_is_skipped_and_a_broken_one_is_an_error) {
  std::optional<TuneFile> file = read("{\"candidate\": \"x\", \"candidate_us\": 2}\n{\"candidate\": \"y\", \"candi");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->cells[0].candidates.size(), 1u);
  EXPECT_EQ(file->skipped, 1u);
  std::string errors;
  EXPECT_FALSE(read("{\"candidate\": \"x\"}\n{\"candidate\": }\n{\"candidate\": \"y\"}\n", &errors));
  EXPECT_EQ(errors.substr(0, 23), "E-JSON a.tune.jsonl:2:1");
}

TEST(TuneRecords, other_files_are_not_taken_for_records) {
  EXPECT_FALSE(isTuneFile(""));
  EXPECT_FALSE(isTuneFile("{\n \"moec_bench\": 1}"));
  EXPECT_FALSE(isTuneFile("{\"moec_bench\": 1, \"tokens\": 2}\n"));
  EXPECT_FALSE(isTuneFile("candidate\n"));
  EXPECT_TRUE(isTuneFile("\n{\"candidate_us\": 1}\n"));
  EXPECT_TRUE(isTuneFile("{\"tool\": \"moec\"}\n{\"machine\": {}}\n{\"candidate\": 1}\n"));
  EXPECT_FALSE(isTuneFile("{\"moec_bench\": 1}\n{\"candidate\": 1}\n"));
}
