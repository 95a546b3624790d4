// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What pruning drops and keeps, what merging keeps once, and what an audit finds.

#include "codegen/tune/TunePrune.h"
#include "codegen/tune/TuneAudit.h"
#include "codegen/tune/TuneSummary.h"
#include "tests/tune/TuneRecords.h"

namespace moec {
namespace {

template <typename Change> TuneRecord changed(TuneRecord record, Change change) {
  change(record);
  return record;
}

std::string linesOf(const std::vector<TuneRecord> &records) {
  std::string text;
  for (const TuneRecord &record : records)
    text += printTuneRecord(record) + "\n";
  return text;
}

// "2: superseded by line 3; ..."
std::string dropped(const std::string &text) {
  PrunedText pruned = pruneTuneText(text, measurement().stamp);
  std::string out;
  size_t lines = 0;
  forEachTuneLine(text, [&](size_t, llvm::StringRef) { ++lines; });
  EXPECT_EQ(pruned.kept + pruned.dropped.size(), lines);
  for (const DroppedLine &line : pruned.dropped)
    out += (out.empty() ? "" : "; ") + std::to_string(line.line) + ": " + line.why;
  EXPECT_TRUE(pruneTuneText(pruned.text, measurement().stamp).dropped.empty()) << "pruning twice drops more";
  return out;
}

TuneRecord wrongOne() {
  return changed(measurement(),
                 [](TuneRecord &r) { r.result = TuneResult::Wrong, r.detail = "row 3", r.times.reset(); });
}

TEST(prune, what_lookup_could_use_stays) {
  TuneRecord failed = changed(
      measurement(), [](TuneRecord &r) { r.candidate = panel(5, 12), r.result = TuneResult::Failed, r.detail = "x"; });
  std::string text = linesOf({measurement(), failed, choice({9, 12}, panel(6, 12)), choice({13, 16}, panel(6, 16)),
                              changed(measurement(), [](TuneRecord &r) { r.machine.cpu->model = 97; }),
                              changed(measurement(), [](TuneRecord &r) { r.threads = 2; })});
  EXPECT_EQ(dropped(text), "");
  EXPECT_EQ(pruneTuneText(text, measurement().stamp).text, text) << "not a byte changes";
  EXPECT_EQ(dropped(""), "");
}

TEST(prune, stale_and_superseded_go) {
  TuneRecord stale = changed(measurement(), [](TuneRecord &r) { r.stamp.timing = 0; });
  TuneRecord later = changed(measurement(), [](TuneRecord &r) { r.stamp.moec = "0.1.1"; });
  EXPECT_EQ(
      dropped(linesOf({stale, measurement(), later, choice({9, 12}, panel(6, 12)), choice({9, 12}, panel(5, 12))})),
      "1: stale: timing method 0, this is 1; 2: superseded by line 3; 4: superseded by line 5");
  EXPECT_EQ(dropped(linesOf({measurement(), measurement()})), "1: superseded by line 2");
}

TEST(prune, lines_that_are_no_record_of_any_version_go) {
  std::string line = printTuneRecord(measurement());
  std::string later = "{\"schema\":\"moec.tune/2\",\"what\":1}";
  std::string text = line.substr(0, 100) + "\n" + later + "\n\nx\n{\"a\":1}\n" + line + "\r\n" + line.substr(0, 50);
  EXPECT_EQ(dropped(text), "1: not a record; 4: not a record; 5: not a record; 7: not a record");
  EXPECT_EQ(pruneTuneText(text, measurement().stamp).text, later + "\n" + line + "\n");
}

TEST(prune, a_wrong_kernel_stays_wrong) {
  TuneRecord right = measurement();
  EXPECT_EQ(dropped(linesOf({wrongOne(), right})), "") << "the same version found it wrong and right";
  EXPECT_EQ(dropped(linesOf({right, wrongOne()})), "1: superseded by line 2");
  right.stamp.moec = "0.1.1";
  EXPECT_EQ(dropped(linesOf({wrongOne(), right})), "1: superseded by line 2");
}

TEST(prune, a_choice_stays_if_the_later_one_cannot_be_used) {
  TuneRecord first = choice({9, 12}, panel(5, 12)), wrong = choice({9, 12}, panel(6, 12));
  EXPECT_EQ(dropped(linesOf({wrongOne(), first, wrong})), "");
  EXPECT_EQ(dropped(linesOf({first, choice({9, 12}, "gone { a = 1 } numeric fma")})), "");
  EXPECT_EQ(dropped(linesOf({first, choice({9, 12}, "panel { block_m = 8 } numeric amx")})), "")
      << "for packages whose bits may not change";
}

TEST(merge, each_line_once) {
  std::string a = printTuneRecord(measurement()), b = printTuneRecord(choice({9, 12}, panel(6, 12))),
              later = "{\"schema\":\"moec.tune/2\"}";
  TuneMerge merge;
  EXPECT_TRUE(merge.add(a + "\n" + b + "\n", "1").empty());
  std::vector<Diagnostic> complaints = merge.add(b + "\r\ntorn\n" + later + "\n" + a, "2");
  ASSERT_EQ(complaints.size(), 1u);
  EXPECT_EQ(complaints[0].code, "W-TUNE");
  EXPECT_EQ(complaints[0].placedMessage(), "2:2:1: the line is not a record and is left out");
  EXPECT_EQ(merge.text(), a + "\n" + b + "\n" + later + "\n");
  EXPECT_EQ(merge.lines(), 3u);
  EXPECT_EQ(merge.duplicates(), 2u);
}

// The problems of the records, one line each.
std::string audit(const std::vector<TuneRecord> &records) {
  TuneSet set;
  set.add(readTuneText(linesOf(records), "t"), TuneSource::User);
  EXPECT_EQ(set.items.size(), records.size());
  std::string out;
  for (const Diagnostic &problem : auditRecords(set)) {
    EXPECT_EQ(problem.code, "E-TUNE");
    out += (out.empty() ? "" : "\n") + problem.placedMessage();
  }
  return out;
}

TEST(audit, consistent_records) {
  TuneRecord failed = changed(measurement(), [](TuneRecord &r) {
    r.candidate = panel(60, 60), r.result = TuneResult::Failed, r.detail = "S4";
  });
  EXPECT_EQ(audit({measurement(), failed, choice({9, 12}, panel(6, 12)), choice({9, 12}, measurement().standard)}), "");
}

TEST(audit, every_problem) {
  auto with = [](auto change) { return audit({changed(measurement(), change)}); };
  EXPECT_EQ(with([](TuneRecord &r) { r.target = "cpu:neon"; }),
            "t:1:1: target cpu:neon is not one that this version knows");
  EXPECT_EQ(with([](TuneRecord &r) { r.machine.cpu->isas = {"baseline"}; }),
            "t:1:1: target cpu:avx512 is not among the instruction sets of the machine");
  EXPECT_EQ(with([](TuneRecord &r) { r.times->standard.low = 107; }),
            "t:1:1: times.default_us is [106, 107, 108], expected [median, low, high] with low <= median <= high");
  EXPECT_EQ(with([](TuneRecord &r) { r.times->candidate.high = 99.5; }),
            "t:1:1: times.candidate_us is [100, 99, 99.5], expected [median, low, high] with low <= median <= high");
  EXPECT_EQ(with([](TuneRecord &r) { r.times->gainLow = 0.07; }),
            "t:1:1: times.gain is [0.06, 0.07, 0.067], expected [median, low, high] with low <= median <= high");
  EXPECT_EQ(with([](TuneRecord &r) { r.times->wins = 12; }),
            "t:1:1: times.wins is 12, expected at most times.pairs, 11");
  EXPECT_EQ(with([](TuneRecord &r) { r.times->candidate.low = 0; }), "t:1:1: a time is 0, expected more");
  EXPECT_EQ(with([](TuneRecord &r) { r.times->gain = 0.5, r.times->gainHigh = 0.6; }),
            "t:1:1: times.gain is 0.5, but the times give 0.0344828..0.0909091");
  EXPECT_EQ(with([](TuneRecord &r) { r.standard = "panels { } numeric fma"; }).substr(0, 30),
            "t:1:1: default: kernel \"panels");
  EXPECT_EQ(with([](TuneRecord &r) { r.candidate = panel(16, 16); }),
            "t:1:1: candidate: stage experts_down avx512 rows 9..12: S4: block_m 16 needs 35 vector registers, avx512 "
            "has 32");
  EXPECT_EQ(with([](TuneRecord &r) { r.kind = TuneRecord::Choice, r.candidate = panel(6, 6); }),
            "t:1:1: choice: stage experts_down avx512 rows 9..12: S2: panel_m is 6, expected at least 12, the last row "
            "of the entry");
  EXPECT_EQ(audit({wrongOne(), choice({13, 16}, panel(16, 16)), choice({9, 12}, panel(6, 12))}),
            "t:2:1: default: stage experts_down avx512 rows 13..16: S2: panel_m is 12, expected at least 16, the last "
            "row of the entry\n"
            "t:3:1: choice: the kernel was measured wrong at t:1: row 3");
}

TEST(summary, counts) {
  TuneSet set;
  TuneRecord other = changed(measurement(), [](TuneRecord &r) { r.machine.cpu->model = 97; });
  TuneRecord stale = changed(wrongOne(), [](TuneRecord &r) { r.stamp.timing = 0; });
  set.add(readTuneText(linesOf({measurement(), other, stale, choice({9, 12}, panel(6, 12)),
                                choice({1, 1}, measurement().standard)}),
                       "t"),
          TuneSource::User);
  std::vector<TuneGroup> groups = groupRecords(set, measurement().stamp);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].items, std::vector<size_t>({0, 2, 3, 4}));
  EXPECT_EQ(groups[0].ok, 1u);
  EXPECT_EQ(groups[0].wrong, 1u);
  EXPECT_EQ(groups[0].choices, 2u);
  EXPECT_EQ(groups[0].tuned, 1u);
  EXPECT_EQ(groups[0].stale, 1u);
  EXPECT_EQ(groups[1].ok, 1u);
}

} // namespace
} // namespace moec
