// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reports of bench read back; files that are none, with the place and text of each error; two files compared.

#include "codegen/bench/BenchCompare.h"
#include "codegen/bench/BenchReport.h"

#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

using namespace moec;

namespace {

BenchRun runOf(double scale) {
  BenchRun run;
  run.name = "tiny";
  run.isa = "avx2";
  run.skew = "uniform";
  run.threads = 2;
  run.moecVersion = "0.1.0";
  run.specHash = std::string(64, 'a');
  run.packageHash = std::string(64, 'b');
  run.date = "2026-11-23T14:05:59Z";
  run.inputType = run.weightType = run.outputType = "bf16";
  run.machine.vendor = "AuthenticAMD";
  run.machine.brand = "AMD EPYC";
  run.machine.family = 25;
  run.machine.flags = {"avx2", "fma"};
  run.machine.logicalCpus = 8;
  run.peak = "AVX2 f32 FMA";
  run.ceilings = {100, 10};
  run.steps[BenchPass::Forward] = {{"router", "matmul", true}, {"experts_down", "matmul", false}};
  for (int64_t tokens : {1, 32}) {
    BenchSeries series;
    series.tokens = tokens;
    for (int i = 0; i < 8; ++i) {
      BenchRound round;
      round.us = scale * (20000 + i);
      round.work.flops = 1e9;
      round.work.weightBytes = 1e8;
      round.steps = {{100, 0}, {300, 0}};
      round.before = round.after = {100, 10};
      series.rounds.push_back(round);
    }
    run.series.push_back(series);
  }
  return run;
}

std::string textOf(const BenchRun &run, const char *format) {
  std::ostringstream os;
  writeReport(os, run, format);
  return os.str();
}

std::optional<BenchFile> read(const std::string &text, std::string *errors = nullptr) {
  DiagnosticList diagnostics;
  diagnostics.setSource("a.json", text);
  std::optional<BenchFile> file = readBenchFile(text, diagnostics);
  EXPECT_EQ(file.has_value(), !diagnostics.hasErrors());
  if (errors)
    for (const Diagnostic &error : diagnostics.all())
      *errors += error.code + " " + error.placedMessage() + "\n";
  return file;
}

std::string errorsOf(const std::string &text) {
  std::string errors;
  EXPECT_FALSE(read(text, &errors)) << text;
  return errors;
}

} // namespace

TEST(BenchFile, both_forms_hold_what_was_written) {
  for (const char *format : {"json", "jsonl"}) {
    std::optional<BenchFile> file = read(textOf(runOf(1), format));
    ASSERT_TRUE(file) << format;
    ASSERT_EQ(file->results.size(), 2u);
    const BenchResult &result = file->results[1];
    EXPECT_EQ(result.context.name, "tiny");
    EXPECT_EQ(result.context.threads, 2);
    EXPECT_EQ(result.context.packageHash, std::string(64, 'b'));
    EXPECT_EQ(result.context.machine.brand, "AMD EPYC");
    EXPECT_EQ(result.context.machine.flags.size(), 2u);
    EXPECT_EQ(result.context.weightType, "bf16");
    EXPECT_EQ(result.tokens, 32);
    EXPECT_EQ(result.usLow, 20000);
    EXPECT_EQ(result.usMedian, 20003.5);
    EXPECT_EQ(result.readGbps, 10);
    EXPECT_EQ(result.peak, "AVX2 f32 FMA");
    EXPECT_EQ(result.roundUs.size(), 8u);
    ASSERT_EQ(result.steps.size(), 2u);
    EXPECT_EQ(result.steps[1].name, "experts_down");
    EXPECT_EQ(result.steps[1].share, 0.75);
  }
}

TEST(BenchFile, passes_are_read_and_compared_apart) {
  BenchRun both = runOf(1), slower = runOf(1);
  for (BenchRun *run : {&both, &slower}) {
    run->series[0].pass = BenchPass::Saving;
    run->series[1].pass = BenchPass::Backward;
    run->series[1].tokens = 1;
    run->steps[BenchPass::Saving] = run->steps[BenchPass::Backward] = run->steps[BenchPass::Forward];
    run->gradientType = "bf16";
  }
  for (BenchRound &round : slower.series[1].rounds)
    round.us *= 2;
  std::optional<BenchFile> a = read(textOf(both, "json")), b = read(textOf(slower, "jsonl")),
                           forward = read(textOf(runOf(1), "json"));
  ASSERT_TRUE(a && b && forward);
  EXPECT_EQ(a->results[0].pass, BenchPass::Saving);
  EXPECT_EQ(a->results[1].pass, BenchPass::Backward);
  EXPECT_EQ(b->results[1].context.gradientType, "bf16");
  EXPECT_EQ(forward->results[0].pass, BenchPass::Forward);
  BenchComparison comparison = compareBenchFiles(*a, *b);
  ASSERT_EQ(comparison.rows.size(), 2u);
  EXPECT_EQ(comparison.rows[0].ratio.ratio, 1);
  EXPECT_EQ(comparison.rows[1].ratio.ratio, 2);
  EXPECT_EQ(rowName(comparison.rows[1]), "T=1, 2 threads, uniform, backward");
  std::ostringstream os;
  writeComparison(os, comparison, false);
  EXPECT_NE(os.str().find("\n| T | pass | threads |"), std::string::npos) << os.str();
  EXPECT_NE(os.str().find("\n| 1 | backward | 2 | uniform |"), std::string::npos) << os.str();
  EXPECT_EQ(compareBenchFiles(*a, *forward).rows.size(), 0u) << "a call that saves is another call";
}

TEST(BenchFile, withheld_figures_stay_unknown) {
  BenchRun run = runOf(1);
  for (BenchRound &round : run.series[0].rounds)
    round.before = {1, 1};
  std::optional<BenchFile> file = read(textOf(run, "json"));
  ASSERT_TRUE(file);
  EXPECT_TRUE(std::isnan(file->results[0].usMedian));
  EXPECT_TRUE(file->results[0].roundUs.empty());
  EXPECT_EQ(file->results[0].reason, "no round accepted");
}

TEST(BenchFile, further_units_among_the_ceilings_are_read) {
  std::optional<BenchFile> file =
      read(R"({"moec_bench": 1, "name": "n", "isa": "i", "skew": "uniform", "threads": 1, "tokens": 1, "rounds": 0,
"rounds_accepted": 0, "round_us": [], "ceilings": {"units": [{"name": "AVX-512 bf16 dot", "gflops": 236}, 7, {}]}})");
  ASSERT_TRUE(file);
  ASSERT_EQ(file->results[0].units.size(), 1u);
  EXPECT_EQ(file->results[0].units[0].first, "AVX-512 bf16 dot");
  EXPECT_EQ(file->results[0].units[0].second, 236);
}

TEST(BenchFile, what_is_wrong_is_said_at_its_place) {
  std::string head = "{\"moec_bench\": 1, \"name\": \"n\", \"isa\": \"i\", \"skew\": \"u\", \"threads\": 1,\n";
  EXPECT_EQ(errorsOf(""), "E-JSON a.json:1:1: the file is empty\n");
  EXPECT_EQ(errorsOf("[]"), "E-RESULT a.json:1:1: this is a list; expected a result of moec bench\n");
  EXPECT_EQ(errorsOf("{}"), "E-RESULT a.json:1:1: \"moec_bench\" is missing; expected a result of moec bench\n");
  EXPECT_EQ(errorsOf("{\"moec_bench\": 2}"), "E-RESULT a.json:1:16: \"moec_bench\" is 2; this moec reads 1\n");
  EXPECT_EQ(errorsOf(head + "\"results\": []}"), "E-RESULT a.json: the file holds no result\n");
  EXPECT_EQ(errorsOf(head + "\"results\": [\n 5]}"), "E-RESULT a.json:3:2: a result is a number; expected an object\n");
  EXPECT_EQ(
      errorsOf(head + "\"tokens\": 1, \"rounds\": 1, \"pass\": \"back\",\n\"rounds_accepted\": 1, \"round_us\": []}"),
      "E-RESULT a.json:2:35: \"pass\" is \"back\"; expected \"forward\", \"forward_saving\" or \"backward\"\n");
  EXPECT_EQ(errorsOf(head + "\"tokens\": 1.5, \"rounds\": 1,\n\"rounds_accepted\": 1, \"round_us\": [3, -4, \"x\"]}"),
            "E-RESULT a.json:2:11: \"tokens\" is 1.5; expected a whole number from 0\n"
            "E-RESULT a.json:3:39: a time of \"round_us\" is -4; expected a positive number\n"
            "E-RESULT a.json:3:43: a time of \"round_us\" is a string; expected a positive number\n");
  EXPECT_EQ(errorsOf(head + "\"tokens\": 1, \"rounds\": 1, \"rounds_accepted\": 1}"),
            "E-RESULT a.json:1:1: \"round_us\" is missing; expected a list\n");
  EXPECT_EQ(errorsOf(head + "\"tokens\": 99999999999, \"rounds\": 0, \"rounds_accepted\": 0, \"round_us\": []}"),
            "E-RESULT a.json:2:11: \"tokens\" is 99999999999; expected a whole number from 0\n");
}

// In lines, the place is in the line at fault.
TEST(BenchFile, errors_of_lines_have_their_line) {
  std::string good = textOf(runOf(1), "jsonl");
  EXPECT_EQ(errorsOf(good + "\n{\"moec_bench\": 1, \"x\": }\n").substr(0, 16), "E-JSON a.json:4:");
  EXPECT_EQ(errorsOf(good + "{\"moec_bench\": true}\n").substr(0, 21), "E-RESULT a.json:3:16:");
}

TEST(BenchCompare, calls_of_two_files_are_compared) {
  std::optional<BenchFile> a = read(textOf(runOf(1), "json")), b = read(textOf(runOf(1.05), "jsonl"));
  ASSERT_TRUE(a && b);
  BenchComparison comparison = compareBenchFiles(*a, *b);
  EXPECT_TRUE(comparison.differences.empty());
  ASSERT_EQ(comparison.rows.size(), 2u);
  EXPECT_EQ(rowName(comparison.rows[1]), "T=32, 2 threads, uniform");
  EXPECT_NEAR(comparison.rows[1].ratio.ratio, 1.05, 1e-3);
  EXPECT_TRUE(comparison.rows[1].ratio.significant());
  EXPECT_EQ(verdictOf(comparison.rows[1]), "5.0 % slower");
  EXPECT_EQ(verdictOf(compareBenchFiles(*b, *a).rows[0]), "4.8 % faster");
  EXPECT_EQ(verdictOf(compareBenchFiles(*a, *a).rows[0]), "no difference");
}

TEST(BenchCompare, what_else_differs_is_said_once) {
  BenchRun run = runOf(1);
  run.machine.model = 17;
  run.machine.flags.push_back("avx512f");
  run.weightType = "f32";
  run.specHash = std::string(64, 'c');
  run.moecVersion = "";
  run.ceilings = {150, 10};
  std::optional<BenchFile> a = read(textOf(runOf(1), "json")), b = read(textOf(run, "json"));
  ASSERT_TRUE(a && b);
  std::ostringstream os;
  writeComparison(os, compareBenchFiles(*a, *b), false);
  std::string text = os.str();
  EXPECT_EQ(text.substr(0, text.find("\n\n")),
            "a: a.json\nb: a.json\n"
            "warning: not the same CPU: a AMD EPYC, family 25, model 0, stepping 0; b AMD EPYC, family 25, model 17, "
            "stepping 0\n"
            "warning: not the same CPU flags: a avx2 fma; b avx2 fma avx512f\n"
            "warning: not the same spec: a " +
                std::string(64, 'a') + "; b " + std::string(64, 'c') +
                "\n"
                "warning: not the same types: a bf16 x bf16 -> bf16; b bf16 x f32 -> bf16\n"
                "warning: not the same moec version: a 0.1.0; b unknown\n"
                "warning: not the same arithmetic ceiling: a 100.0 GFLOP/s; b 150.0 GFLOP/s");
}

TEST(BenchCompare, calls_without_a_partner_are_named) {
  BenchRun small = runOf(1), other = runOf(1);
  small.series.pop_back();
  other.threads = 1;
  std::optional<BenchFile> a = read(textOf(runOf(1), "json")), b = read(textOf(small, "json")),
                           c = read(textOf(other, "json"));
  ASSERT_TRUE(a && b && c);
  EXPECT_EQ(compareBenchFiles(*a, *b).onlyA, std::vector<std::string>{"T=32, 2 threads, uniform"});
  EXPECT_EQ(compareBenchFiles(*b, *a).onlyB, std::vector<std::string>{"T=32, 2 threads, uniform"});
  EXPECT_TRUE(compareBenchFiles(*a, *c).rows.empty());
  EXPECT_EQ(compareBenchFiles(*a, *c).onlyB.size(), 2u);
}

TEST(BenchCompare, without_enough_rounds_there_is_no_verdict) {
  BenchRun few = runOf(2), none = runOf(2);
  few.series[0].rounds.resize(2);
  for (BenchRound &round : none.series[0].rounds)
    round.after = {1, 1};
  std::optional<BenchFile> a = read(textOf(runOf(1), "json")), b = read(textOf(few, "json")),
                           c = read(textOf(none, "json"));
  ASSERT_TRUE(a && b && c);
  // 1 of C(10, 2) = 45 orders is as extreme on one side; that is less than 2.5 %
  EXPECT_TRUE(compareBenchFiles(*a, *b).rows[0].reason.empty());
  few.series[0].rounds.resize(1);
  b = read(textOf(few, "json"));
  ASSERT_TRUE(b);
  EXPECT_EQ(verdictOf(compareBenchFiles(*a, *b).rows[0]), "too few rounds for an interval");
  EXPECT_EQ(verdictOf(compareBenchFiles(*a, *c).rows[0]), "no round accepted in b");
  EXPECT_EQ(verdictOf(compareBenchFiles(*c, *a).rows[0]), "no round accepted in a");
}

// Several runs in one file, as `cat` makes them.
TEST(BenchCompare, runs_of_one_file_are_one_sample_and_layers_are_kept_apart) {
  BenchRun second = runOf(3);
  second.name = "other";
  std::string twice = textOf(runOf(1), "jsonl") + textOf(runOf(1), "jsonl") + textOf(second, "jsonl");
  std::optional<BenchFile> a = read(twice), b = read(textOf(second, "jsonl"));
  ASSERT_TRUE(a && b);
  BenchComparison comparison = compareBenchFiles(*a, *b);
  ASSERT_EQ(comparison.rows.size(), 2u);
  EXPECT_EQ(comparison.rows[0].layer, "other");
  EXPECT_EQ(comparison.rows[0].ratio.ratio, 1);
  EXPECT_EQ(comparison.onlyA.size(), 2u);
  // two runs of a call are two medians, not sixteen rounds
  EXPECT_EQ(compareBenchFiles(*a, *a).rows[0].roundsA, 2u);
}

// The rounds of a process vary together: four slow runs and four fast ones do not differ by what their rounds suggest.
TEST(BenchCompare, runs_count_with_their_medians) {
  auto runs = [](std::vector<double> factors) {
    std::string text;
    for (double factor : factors) {
      BenchRun run = runOf(1);
      for (BenchSeries &series : run.series)
        for (BenchRound &round : series.rounds)
          round.us *= factor;
      text += textOf(run, "jsonl");
    }
    return *read(text);
  };
  BenchComparison same = compareBenchFiles(runs({1, 1.2, 1, 1.2}), runs({1.2, 1, 1.2, 1.02}));
  EXPECT_EQ(same.rows[0].roundsA, 4u);
  EXPECT_FALSE(same.rows[0].ratio.significant());
  EXPECT_TRUE(compareBenchFiles(runs({1, 1.01, 1, 1.02}), runs({1.2, 1.21, 1.22, 1.2})).rows[0].ratio.significant());
}
