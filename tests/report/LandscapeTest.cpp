// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Records of tuning, as `moec tune` writes them -> the candidates of each range, with their times and results.

#include "codegen/report/Landscape.h"

#include "tests/tune/TuneRecords.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace moec;

namespace {

TuneRecord timed(int blockM, double us, double defaultUs) {
  TuneRecord record = measurement();
  record.candidate = panel(blockM, 12);
  record.times->candidate.median = us;
  record.times->standard.median = defaultUs;
  return record;
}

TuneRecord unfit(int blockM, TuneResult result, const std::string &detail) {
  TuneRecord record = measurement();
  record.candidate = panel(blockM, 12);
  record.result = result;
  record.detail = detail;
  record.times.reset();
  return record;
}

// As the program reads them: printed, then read.
Landscape draw(const std::vector<TuneRecord> &records, const std::string &more = "") {
  std::string text;
  for (const TuneRecord &record : records)
    text += printTuneRecord(record) + "\n";
  return landscapeOf(readTuneText(text + more, "a.tune.jsonl"));
}

} // namespace

TEST(Landscape, candidates_of_a_range_have_their_times_and_the_default_its_median) {
  Landscape landscape = draw({timed(6, 100, 106), timed(4, 120, 110), timed(3, 90, 200)});
  EXPECT_EQ(landscape.name, "a.tune.jsonl");
  EXPECT_EQ(landscape.skippedLines, 0u);
  ASSERT_EQ(landscape.cells.size(), 1u);
  const LandscapeCell &cell = landscape.cells[0];
  EXPECT_EQ(cell.name, "tiny experts_down, cpu:avx512, rows 9..12");
  EXPECT_EQ(cell.defaultUs, 110);
  ASSERT_EQ(cell.candidates.size(), 3u);
  EXPECT_EQ(cell.candidates[0].text, "block_m 12 -> 6");
  EXPECT_EQ(cell.candidates[0].us, 100);
  EXPECT_EQ(cell.candidates[0].result, "ok");
  EXPECT_FALSE(cell.candidates[0].failed);
  EXPECT_EQ(cell.candidates[2].us, 90);
}

TEST(Landscape, what_is_not_ok_has_no_time_and_says_why) {
  Landscape landscape = draw({unfit(6, TuneResult::Wrong, "row 3, column 7"), unfit(4, TuneResult::Failed, "signal 11"),
                              unfit(3, TuneResult::Timeout, "")});
  ASSERT_EQ(landscape.cells.size(), 1u);
  EXPECT_TRUE(std::isnan(landscape.cells[0].defaultUs));
  std::string results;
  for (const LandscapeCandidate &candidate : landscape.cells[0].candidates) {
    EXPECT_TRUE(candidate.failed);
    EXPECT_TRUE(std::isnan(candidate.us));
    results += candidate.result + "\n";
  }
  EXPECT_EQ(results, "wrong: row 3, column 7\nfailed: signal 11\ntimeout\n");
}

// A range of another stage, target, machine or shape is another cell; a later record of a candidate replaces the
// earlier one.
TEST(Landscape, a_cell_is_a_stage_a_target_a_machine_and_a_range) {
  std::vector<TuneRecord> records(6, timed(6, 100, 106));
  records[1].stage.name = "experts_gate_up";
  records[2].target = "cpu:avx2";
  records[3].machine.cpu->model = 18;
  records[4].rows = {13, -1};
  records[5].stage.k = 512;
  records.push_back(timed(6, 95, 106));
  Landscape landscape = draw(records);
  std::string names;
  for (const LandscapeCell &cell : landscape.cells) {
    names += cell.name + "\n";
    EXPECT_EQ(cell.candidates.size(), 1u) << cell.name;
  }
  EXPECT_EQ(names, "tiny experts_down, cpu:avx512, rows 9..12\n"
                   "tiny experts_gate_up, cpu:avx512, rows 9..12\n"
                   "tiny experts_down, cpu:avx2, rows 9..12\n"
                   "tiny experts_down, cpu:avx512, rows 9..12\n"
                   "tiny experts_down, cpu:avx512, rows 13..\n"
                   "tiny experts_down, cpu:avx512, rows 9..12\n");
  EXPECT_EQ(landscape.cells[0].candidates[0].us, 95);
  EXPECT_EQ(landscape.cells[3].candidates[0].us, 100);
}

TEST(Landscape, choices_are_not_measurements_and_broken_lines_are_counted) {
  Landscape landscape =
      draw({timed(6, 100, 106), choice({9, 12}, panel(6, 12))}, "{\"schema\": 1}\n{\"schema\":\"moec.tune/1\",\"ki");
  ASSERT_EQ(landscape.cells.size(), 1u);
  EXPECT_EQ(landscape.cells[0].candidates.size(), 1u);
  EXPECT_EQ(landscape.skippedLines, 2u);
}

namespace {
TuneRecord at(TuneRecord record, const std::string &time, double gain) {
  record.stamp.date = "2026-11-27T" + time + "Z";
  record.times->gain = gain;
  return record;
}
} // namespace

TEST(Landscape, a_choice_is_what_was_decided_last) {
  TuneRecord early = choice({9, 12}, panel(6, 12)), kept = choice({9, 12}, measurement().standard);
  early.unfinished = true;
  early.share = 0.5;
  Landscape landscape = draw({timed(6, 100, 106), early});
  ASSERT_TRUE(landscape.cells[0].choice);
  EXPECT_EQ(landscape.cells[0].choice->text, "block_m 12 -> 6");
  EXPECT_TRUE(landscape.cells[0].choice->unfinished);
  EXPECT_EQ(landscape.cells[0].share, 0.5);
  EXPECT_EQ(landscape.cells[0].stage, "tiny experts_down, cpu:avx512");
  EXPECT_NEAR(landscape.cells[0].distance(), 1.06, 1e-9);
  landscape = draw({timed(6, 100, 106), early, kept});
  EXPECT_EQ(landscape.cells[0].choice->text, "");
  EXPECT_EQ(landscape.cells[0].distance(), 1) << "the default stays";
  EXPECT_TRUE(std::isnan(draw({timed(6, 100, 106)}).cells[0].distance())) << "not decided";
}

// Two cells, of which the second is reached after an hour's pause: that hour does not count.
TEST(Landscape, its_course_is_the_best_so_far_over_the_time_of_searching) {
  TuneRecord other = timed(6, 100, 106);
  other.rows = {13, -1};
  TuneRecord chosen = choice({9, 12}, panel(4, 12));
  Landscape landscape = draw({at(timed(6, 100, 106), "10:00:00", 0.1), at(timed(4, 90, 106), "10:00:20", 0.25),
                              at(chosen, "10:00:30", 0.21), at(timed(3, 200, 106), "11:30:00", -0.5),
                              at(other, "11:30:10", 0.02), unfit(2, TuneResult::Failed, "SIGSEGV")});
  ASSERT_EQ(landscape.course.size(), 5u);
  const std::vector<LandscapeStep> &course = landscape.course;
  EXPECT_NEAR(course[0].best, std::sqrt(1 / 1.1), 1e-6);
  EXPECT_NEAR(course[1].best, std::sqrt(1 / 1.25), 1e-6);
  EXPECT_EQ(course[1].seconds, 20);
  EXPECT_EQ(course[1].proven, 1);
  EXPECT_NEAR(course[2].proven, std::sqrt(1 / 1.21), 1e-6);
  EXPECT_EQ(course[2].event, "tiny experts_down, cpu:avx512, rows 9..12");
  EXPECT_EQ(course[2].measured, 2u);
  EXPECT_EQ(course[3].seconds, 40);
  EXPECT_NEAR(course[3].best, std::sqrt(1 / 1.25 / 1.02), 1e-6);
  EXPECT_EQ(course[4].measured, 5u);
  EXPECT_EQ(course[4].best, course[3].best);
}
