// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Damaged schedule text, from fixed seeds: either one placed message, or a schedule that prints, reads back and can be
// checked against any stage.

#include "codegen/schedule/CpuSchedule.h"
#include "codegen/schedule/Schedule.h"
#include "tests/schedule/MatmulStages.h"

#include "llvm/ADT/StringExtras.h"

#include <gtest/gtest.h>

#include <random>

namespace moec {
namespace {

std::string sample() {
  Schedule schedule{"tiny", {}};
  for (Isa isa : {Isa::Baseline, Isa::Avx2, Isa::Avx512, Isa::Amx})
    schedule.stages.push_back(cpuSchedule(matmulStage("ffn_up", 768, 7168, 2, true, true), isa));
  return "# a comment\n" + printSchedule(schedule);
}

std::string mutate(std::string text, std::mt19937 &random) {
  static const char *const words[] = {
      "rows",         "stage", "..",      "{",       "}",      ",",    "=", "1",  "0",       "-1",
      "numeric",      "amx",   "panel_m", "block_m", "999999", "\xff", "#", "\n", "k_steps", "99999999999999999999",
      "panel_chunked"};
  auto below = [&](size_t bound) { return bound ? random() % bound : 0; };
  for (size_t i = 0, count = 1 + below(4); i < count; ++i) {
    size_t at = below(text.size() + 1), length = std::min<size_t>(below(12), text.size() - at);
    switch (below(5)) {
    case 0:
      text.erase(at, length);
      break;
    case 1:
      text.insert(at, words[below(std::size(words))]);
      break;
    case 2:
      text.insert(below(text.size() + 1), text.substr(at, length));
      break;
    case 3:
      if (at < text.size())
        text[at] = char(below(256));
      break;
    case 4:
      if (at < text.size() && llvm::isDigit(text[at]))
        text[at] = char('0' + below(10));
      break;
    }
  }
  return text;
}

// "t.txt:LINE:COL: MESSAGE" in one line of printable ASCII
bool wellFormed(const std::string &error) {
  llvm::StringRef rest = error;
  unsigned line = 0, column = 0;
  if (!rest.consume_front("t.txt:") || rest.consumeInteger(10, line) || !rest.consume_front(":") ||
      rest.consumeInteger(10, column) || !rest.consume_front(": ") || !rest.starts_with("found ") || !line || !column)
    return false;
  return llvm::all_of(rest, [](char c) { return llvm::isPrint(c); });
}

TEST(mutation, damaged_text_is_refused_or_read) {
  const std::string good = sample();
  const MatmulStage stages[] = {matmulStage("ffn_up", 768, 7168, 2, true, true),
                                matmulStage("ffn_up", 1, 3, 1, false, false)};
  unsigned refused = 0, accepted = 0, legal = 0;
  for (unsigned seed = 0; seed < 20000; ++seed) {
    std::mt19937 random(seed);
    std::string text = mutate(good, random);
    Result<Schedule> schedule = parseSchedule(text, "t.txt");
    if (!schedule) {
      ++refused;
      std::string error = schedule.error().placedMessage();
      ASSERT_TRUE(wellFormed(error)) << "seed " << seed << ": " << error;
      continue;
    }
    ++accepted;
    std::string printed = printSchedule(*schedule);
    Result<Schedule> back = parseSchedule(printed, "t.txt");
    ASSERT_TRUE(back) << "seed " << seed << ": " << back.error().placedMessage();
    ASSERT_EQ(printSchedule(*back), printed) << "seed " << seed;
    if (seed % 8)
      continue; // reading the templates dominates
    for (const StageSchedule &stage : schedule->stages)
      for (const MatmulStage &facts : stages) {
        Result<> checked = checkStage(facts, stage);
        legal += bool(checked);
        ASSERT_TRUE(checked || llvm::StringRef(checked.error().message).starts_with("stage "))
            << "seed " << seed << ": " << checked.error().message;
      }
  }
  EXPECT_GT(refused, 5000u);
  EXPECT_GT(accepted, 500u);
  EXPECT_GT(legal, 100u);
}

TEST(mutation, every_prefix_is_refused_or_read) {
  const std::string good = sample();
  for (size_t length = 0; length < good.size(); ++length) {
    Result<Schedule> schedule = parseSchedule(good.substr(0, length), "t.txt");
    if (!schedule)
      ASSERT_TRUE(wellFormed(schedule.error().placedMessage())) << length << ": " << schedule.error().placedMessage();
  }
}

TEST(mutation, bytes_without_meaning) {
  std::mt19937 random(7);
  for (unsigned i = 0; i < 2000; ++i) {
    std::string text = i % 2 ? "schedule l\nstage s amx rows 1.. panel {" : "";
    for (unsigned n = random() % 200; n; --n)
      text += char(random());
    Result<Schedule> schedule = parseSchedule(text, "t.txt");
    if (!schedule)
      ASSERT_TRUE(wellFormed(schedule.error().placedMessage())) << i << ": " << schedule.error().placedMessage();
  }
}

} // namespace
} // namespace moec
