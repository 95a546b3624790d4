// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Results with known figures -> the marks of every chart, what is left out, and texts that are no markup.

#include "codegen/report/ReportPage.h"
#include "codegen/report/ReportSeries.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace moec;

namespace {

BenchResult resultOf(int64_t tokens, double us) {
  BenchResult result;
  result.context.name = "tiny";
  result.context.isa = "avx2";
  result.context.skew = "uniform";
  result.context.specHash = std::string(64, 'a');
  result.context.packageHash = std::string(64, 'b');
  result.context.moecVersion = "0.1.0";
  result.context.date = "2026-11-23T14:05:59Z";
  result.context.inputType = result.context.weightType = result.context.outputType = "f32";
  result.context.machine.brand = "AMD EPYC";
  result.context.machine.vendor = "AuthenticAMD";
  result.context.machine.family = 25;
  result.context.machine.flags = {"avx2", "fma"};
  result.peakGflops = 118;
  result.readGbps = 33;
  result.peak = "AVX2 f32 FMA";
  result.tokens = tokens;
  result.usMedian = us;
  result.usLow = 0.9 * us;
  result.usHigh = 1.2 * us;
  result.boundUs = 0.8 * us;
  result.share = 0.8;
  result.gflops = 20 * double(tokens);
  result.gbps = 25;
  result.rounds = 5;
  result.accepted = 4;
  return result;
}

BenchFile fileOf(const char *skew = "uniform", double factor = 1) {
  BenchFile file;
  file.name = std::string(skew) + ".json";
  for (int64_t tokens : {1, 2, 4}) {
    file.results.push_back(resultOf(tokens, factor * 1000 * double(tokens)));
    file.results.back().context.skew = skew;
  }
  return file;
}

void withhold(BenchResult &result) {
  result.usMedian = result.usLow = result.usHigh = result.gflops = result.gbps = result.share = NAN;
  result.accepted = 0;
  result.reason = "no round accepted";
}

Landscape tuningOf() {
  Landscape file;
  LandscapeCell cell;
  cell.name = "experts_down, cpu:avx2, rows 9..12";
  cell.defaultUs = 110;
  for (double us : {100, 105, 120, 130})
    cell.candidates.push_back({"block_m 6", "slower", us, false});
  cell.candidates.push_back({"block_m 12", "wrong", NAN, true});
  file.cells = {cell, cell};
  return file;
}

size_t count(const std::string &text, const std::string &part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++n;
  return n;
}

// The charts of a class, one after the other.
std::string charts(const std::string &page, const std::string &id) {
  std::string all, begin = "<svg class=\"chart " + id + "\"";
  for (size_t at = page.find(begin); at != std::string::npos; at = page.find(begin, at + 1))
    all += page.substr(at, page.find("</svg>", at) - at);
  return all;
}

} // namespace

TEST(ReportPage, latency_has_a_line_a_band_and_marks_per_run) {
  ReportInputs inputs;
  inputs.results = {fileOf(), fileOf("zipf", 1.5)};
  withhold(inputs.results[1].results[1]);
  std::string page = reportPage(inputs), chart = charts(page, "latency");
  EXPECT_EQ(count(chart, "class=\"mark s0\""), 3u);
  EXPECT_EQ(count(chart, "class=\"mark s1\""), 2u);
  EXPECT_EQ(count(chart, "class=\"line s"), 2u);
  EXPECT_EQ(count(chart, "class=\"band s"), 2u);
  EXPECT_EQ(count(chart, "class=\"bound s"), 2u);
  EXPECT_EQ(count(chart, ">tokens of a call, T<"), 1u);
  EXPECT_EQ(count(chart, ">time of a call, ms<"), 1u);
  EXPECT_NE(chart.find("<title>uniform, T = 4: 4 ms (3.6 ms to 4.8 ms), 4 of 5 rounds, 80 % of the bound</title>"),
            std::string::npos)
      << chart;
  EXPECT_NE(page.find("<td>- (no round accepted)</td>"), std::string::npos);
}

TEST(ReportPage, roofline_has_a_dot_per_t_below_one_roof) {
  ReportInputs inputs;
  inputs.results = {fileOf()};
  inputs.results[0].results[0].units = {{"AVX2 int8 dot", 200}};
  std::string chart = charts(reportPage(inputs), "roofline");
  EXPECT_EQ(count(chart, "class=\"mark s0\""), 3u);
  EXPECT_EQ(count(chart, "class=\"roof\""), 1u);
  EXPECT_EQ(count(chart, "class=\"unit\""), 1u);
  EXPECT_EQ(count(chart, "class=\"roof-label\""), 3u);
  EXPECT_NE(chart.find(">118 GFLOP/s AVX2 f32 FMA<"), std::string::npos);
  EXPECT_NE(chart.find(">33 GB/s read<"), std::string::npos);
  // Ceilings of one machine that differ as probes do are one roof; those of another machine are not.
  inputs.results.push_back(fileOf("zipf"));
  for (BenchResult &result : inputs.results[1].results)
    result.peakGflops = 117;
  EXPECT_EQ(count(charts(reportPage(inputs), "roofline"), "class=\"roof"), 1u + 3u);
  for (BenchResult &result : inputs.results[1].results)
    result.peakGflops = 236;
  std::string two = charts(reportPage(inputs), "roofline");
  EXPECT_EQ(count(two, "class=\"roof s0\"") + count(two, "class=\"roof s1\""), 2u);
}

TEST(ReportPage, stages_are_stacked_to_a_whole) {
  ReportInputs inputs;
  inputs.results = {fileOf()};
  inputs.results[0].results[0].steps = {{"router", 10, 0.1}, {"experts_down", 90, 0.9}, {"loss", 0, 0}};
  inputs.results[0].results[2].steps = {{"router", 10, 0.2}, {"experts_down", 90, 0.7}};
  std::string page = reportPage(inputs), chart = charts(page, "stages");
  EXPECT_EQ(count(chart, "class=\"segment s0\""), 2u);
  EXPECT_EQ(count(chart, "class=\"segment s1\""), 2u);
  EXPECT_EQ(count(chart, "class=\"segment s2\""), 0u);
  EXPECT_NE(chart.find("T = 4, router: 22.2 %, 10 µs"), std::string::npos) << chart;
  EXPECT_NE(page.find("<span>experts_down</span>"), std::string::npos);
  EXPECT_EQ(page.find("<span>loss</span>"), std::string::npos);
}

TEST(ReportPage, skew_map_has_a_cell_per_routing_and_t) {
  ReportInputs inputs;
  inputs.results = {fileOf(), fileOf("zipf", 1.25)};
  withhold(inputs.results[1].results[2]);
  std::string chart = charts(reportPage(inputs), "skew");
  EXPECT_EQ(count(chart, "class=\"cell"), 6u);
  EXPECT_EQ(count(chart, "class=\"cell h0\""), 3u);
  EXPECT_EQ(count(chart, "class=\"cell h2\""), 2u); // 1.25 is two sixths of a factor of two
  EXPECT_EQ(count(chart, "class=\"cell unknown\""), 1u);
  EXPECT_EQ(count(chart, ">1.25<"), 2u);
  inputs.results.erase(inputs.results.begin());
  std::string page = reportPage(inputs);
  EXPECT_EQ(charts(page, "skew"), "");
  EXPECT_NE(page.find("Cost of uneven routing: no layer was measured with --skew uniform and with another routing."),
            std::string::npos);
}

TEST(ReportPage, tuning_shows_candidates_failures_and_the_default) {
  ReportInputs inputs;
  inputs.tuning = {tuningOf()};
  std::string page = reportPage(inputs), chart = charts(page, "tuning");
  EXPECT_EQ(count(page, "<svg class=\"chart tuning\""), 2u);
  EXPECT_EQ(count(chart, "class=\"candidate\""), 8u);
  EXPECT_EQ(count(chart, "class=\"failed\""), 2u);
  EXPECT_EQ(count(chart, "class=\"default\""), 2u);
  EXPECT_NE(chart.find("<title>default: 110 µs, behind 2 of 4</title>"), std::string::npos) << chart;
  EXPECT_NE(chart.find("<title>block_m 6: 100 µs, 90.9 % of the default&#39;s time, slower</title>"),
            std::string::npos);
  EXPECT_NE(page.find("4 candidates, 1 wrong or failed; the best takes 90.9 % of the default&#39;s time"),
            std::string::npos);
}

TEST(ReportPage, tuning_has_a_table_of_distances_with_what_was_not_reached) {
  ReportInputs inputs;
  inputs.tuning = {tuningOf()};
  inputs.tuning[0].name = "a.jsonl";
  std::vector<LandscapeCell> &cells = inputs.tuning[0].cells;
  cells.push_back(cells[0]);
  for (LandscapeCell &cell : cells)
    cell.stage = "experts_down, cpu:avx2", cell.share = 0.25;
  cells[0].choice = LandscapeChoice{"block_m 12 -> 6", 0.5, 0.4, 0.6, false};
  cells[1].choice = LandscapeChoice{"", 0.004, -0.01, 0.02, true};
  std::string page = reportPage(inputs);
  EXPECT_NE(
      page.find("The default takes 1.225 x the time of what was chosen (geometric mean of 2 cells), at most 1.500 x; "
                "at most 1.25 x in 50.0 % of the cells."),
      std::string::npos);
  EXPECT_NE(
      page.find("Not reached by the budget: 2 cells were not searched to the end; a.jsonl: experts_down, cpu:avx2: "
                "ranges with 25.0 % of the work have no record."),
      std::string::npos);
  EXPECT_NE(page.find("<td>25.0 %</td><td>110 µs</td><td>1.500</td><td>50.0 % (40.0 % .. 60.0 %)</td><td>4</td>"
                      "<td>1</td><td>block_m 12 -&gt; 6</td></tr>"),
            std::string::npos);
  EXPECT_NE(page.find("<td>1.000</td><td>best 0.4 % (-1.0 % .. 2.0 %)</td><td>4</td><td>1</td>"
                      "<td>default kept (search not finished)</td>"),
            std::string::npos);
  EXPECT_EQ(count(page, "<td>not decided</td>"), 1u);
  EXPECT_EQ(count(page, "<svg class=\"chart course\""), 0u) << "no course is known";
}

TEST(ReportPage, tuning_lists_failures_by_reason) {
  ReportInputs inputs;
  inputs.tuning = {tuningOf()};
  std::vector<LandscapeCandidate> &candidates = inputs.tuning[0].cells[0].candidates;
  candidates.clear();
  for (int i = 0; i < 6; ++i)
    candidates.push_back({"block_m " + std::to_string(i), "failed: ended with SIGSEGV", NAN, true});
  for (int i = 0; i < 20; ++i)
    candidates.push_back({"<b>", "wrong: row " + std::to_string(10 + i), NAN, true});
  std::string page = reportPage(inputs);
  EXPECT_NE(page.find("<li>failed: ended with SIGSEGV — block_m 0; block_m 1; block_m 2; block_m 3; and 2 more</li>"),
            std::string::npos);
  EXPECT_NE(page.find("<li>wrong: row 10 — &lt;b&gt;</li>"), std::string::npos);
  EXPECT_NE(page.find("<li>9 more, for other reasons</li>"), std::string::npos);
}

TEST(ReportPage, tuning_shows_the_best_so_far) {
  ReportInputs inputs;
  inputs.tuning = {tuningOf()};
  inputs.tuning[0].course = {{0, 1, 0.99, 1, ""}, {30, 40, 0.9, 0.92, "rows 9..12"}, {45, 60, 0.9, 0.92, ""}};
  std::string chart = charts(reportPage(inputs), "course");
  EXPECT_EQ(count(chart, "class=\"line s0\""), 1u);
  EXPECT_EQ(count(chart, "class=\"bound s1\""), 1u);
  EXPECT_EQ(count(chart, "class=\"mark s1\""), 1u);
  EXPECT_NE(chart.find("time of search, s"), std::string::npos);
  EXPECT_NE(chart.find("<title>after 30 s: decided rows 9..12; 92 % of the default&#39;s time</title>"),
            std::string::npos);
  for (LandscapeStep &step : inputs.tuning[0].course)
    step.seconds = 0; // of an older version, whose records have the date of the run's begin
  chart = charts(reportPage(inputs), "course");
  EXPECT_NE(chart.find("candidates measured"), std::string::npos);
  EXPECT_NE(chart.find("<title>after 40 candidates: decided"), std::string::npos);
  EXPECT_EQ(chart.find("nan"), std::string::npos);
}

// Cells that no default, or no candidate, has a time for.
TEST(ReportPage, tuning_draws_what_there_is) {
  ReportInputs inputs;
  inputs.tuning = {tuningOf()};
  inputs.tuning[0].cells[0].defaultUs = NAN;
  inputs.tuning[0].cells[1].candidates.erase(inputs.tuning[0].cells[1].candidates.begin(),
                                             inputs.tuning[0].cells[1].candidates.begin() + 4);
  std::string chart = charts(reportPage(inputs), "tuning");
  EXPECT_EQ(count(chart, "class=\"candidate\""), 4u);
  EXPECT_EQ(count(chart, "class=\"default\""), 1u);
  EXPECT_EQ(chart.find("nan"), std::string::npos);
  EXPECT_EQ(chart.find("inf"), std::string::npos);
}

TEST(ReportPage, a_chart_without_data_is_left_out_with_the_reason) {
  ReportInputs inputs;
  inputs.results = {fileOf()};
  std::string page = reportPage(inputs);
  EXPECT_NE(page.find("<li>Where a call spends its time: no input was measured with --stages.</li>"),
            std::string::npos);
  EXPECT_NE(page.find("<li>Tuning landscape: no input holds records of tuning.</li>"), std::string::npos);
  for (BenchResult &result : inputs.results[0].results)
    withhold(result);
  page = reportPage(inputs);
  EXPECT_NE(page.find("<li>Latency against tokens: no T has an accepted round.</li>"), std::string::npos);
  EXPECT_NE(page.find("<li>Roofline: no result has both a time and ceilings.</li>"), std::string::npos);
  EXPECT_EQ(charts(page, "latency") + charts(page, "roofline"), "");
  inputs.results.clear();
  EXPECT_NE(reportPage(inputs).find("<li>Figures: no input is a result of moec bench.</li>"), std::string::npos);
}

// Values at the edges of an axis: one T, T = 0, equal times, a very long range.
TEST(ReportPage, numbers_stay_numbers) {
  for (std::vector<std::pair<int64_t, double>> calls : std::vector<std::vector<std::pair<int64_t, double>>>{
           {{1, 5}}, {{0, 5}}, {{0, 3}, {1, 3}}, {{1, 7}, {2, 7}}, {{1, 1e-6}, {16777216, 1e15}}}) {
    ReportInputs inputs;
    inputs.results.resize(1);
    for (auto [tokens, us] : calls)
      inputs.results[0].results.push_back(resultOf(tokens, us));
    std::string page = reportPage(inputs);
    EXPECT_EQ(page.find("nan"), std::string::npos);
    EXPECT_EQ(page.find("\"inf"), std::string::npos);
  }
}

TEST(ReportPage, texts_of_inputs_are_never_markup) {
  std::string evil = "<script>alert(1)</script>\"'&\x01\xff\xe2\x80\xae";
  ReportInputs inputs;
  inputs.results = {fileOf(), fileOf("zipf")};
  for (BenchFile &file : inputs.results)
    for (BenchResult &result : file.results) {
      BenchContext &context = result.context;
      for (std::string *text :
           {&context.name, &context.isa, &context.moecVersion, &context.specHash, &context.packageHash, &context.date,
            &context.inputType, &context.weightType, &context.machine.brand, &context.machine.vendor, &result.peak,
            &result.reason, &file.name})
        *text = evil;
      context.machine.flags = {evil};
      result.units = {{evil, 50}};
      result.steps = {{evil, 1, 0.5}};
    }
  for (BenchResult &result : inputs.results[1].results)
    result.context.skew = evil;
  inputs.tuning = {tuningOf()};
  inputs.tuning[0].cells[0].name = evil;
  inputs.tuning[0].cells[0].candidates[0] = {evil, evil, 100, false};
  std::string page = reportPage(inputs);
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_EQ(page.find("alert(1)</"), std::string::npos);
  for (char c : {'\x01', '\xff'})
    EXPECT_EQ(page.find(c), std::string::npos);
  EXPECT_EQ(page.find("\xe2\x80\xae"), std::string::npos); // would turn the text around
  EXPECT_NE(page.find("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"), std::string::npos);
}

TEST(ReportPage, needs_nothing_but_itself) {
  ReportInputs inputs;
  inputs.results = {fileOf()};
  inputs.tuning = {tuningOf()};
  std::string page = reportPage(inputs);
  for (const char *outside : {"<script", "<link", "src=", "href=", "url(", "@import", "http:", "https:"})
    EXPECT_EQ(page.find(outside), std::string::npos) << outside;
  EXPECT_NE(page.find("default-src 'none'"), std::string::npos);
  EXPECT_NE(page.find("@media (prefers-color-scheme: dark)"), std::string::npos);
  EXPECT_NE(page.find("@media print"), std::string::npos);
  EXPECT_EQ(page, reportPage(inputs));
}

TEST(ReportPage, card_holds_what_figures_depend_on) {
  ReportInputs inputs;
  inputs.results = {fileOf()};
  std::string page = reportPage(inputs);
  for (const std::string &text :
       {std::string(64, 'a'), std::string(64, 'b'), std::string("2026-11-23T14:05:59Z"), std::string("avx2 fma"),
        std::string("AMD EPYC (AuthenticAMD, family 25, model 0, stepping 0)"),
        std::string("118.0 GFLOP/s AVX2 f32 FMA, 33.00 GB/s read"), std::string("f32 inputs, f32 weights")})
    EXPECT_NE(page.find(text), std::string::npos) << text;
}

TEST(ReportSeries, labels_name_what_differs) {
  std::vector<BenchFile> files = {fileOf(), fileOf("zipf")};
  EXPECT_EQ(labelsOf(seriesOf(files)), (std::vector<std::string>{"uniform", "zipf"}));
  for (BenchResult &result : files[1].results)
    result.context.threads = 2;
  EXPECT_EQ(labelsOf(seriesOf(files)), (std::vector<std::string>{"1 thread, uniform", "2 threads, zipf"}));
  files = {fileOf(), fileOf()};
  files[0].name = "a/x.json";
  files[1].name = "b/y.json";
  EXPECT_EQ(labelsOf(seriesOf(files)), (std::vector<std::string>{"x.json", "y.json"}));
  files[1].name = "b/x.json";
  EXPECT_EQ(labelsOf(seriesOf(files)), (std::vector<std::string>{"a/x.json", "b/x.json"}));
  files.pop_back();
  EXPECT_EQ(labelsOf(seriesOf(files)), std::vector<std::string>{"tiny"});
}

TEST(ReportSeries, passes_are_lines_of_their_own) {
  BenchFile file = fileOf();
  size_t calls = file.results.size();
  for (size_t i = 0; i < calls; ++i) {
    file.results.push_back(file.results[i]);
    file.results[i].pass = BenchPass::Saving;
    file.results.back().pass = BenchPass::Backward;
  }
  std::vector<ReportSeries> series = seriesOf({file});
  EXPECT_EQ(labelsOf(series), (std::vector<std::string>{"forward that saves", "backward"}));
  EXPECT_EQ(series[0].results.size(), calls);
  EXPECT_EQ(series[1].results.size(), calls);
}

// Of a call that was measured twice, the better measurement is shown.
TEST(ReportSeries, repeated_calls_are_one_mark) {
  std::vector<BenchFile> files = {fileOf()};
  files[0].results.push_back(resultOf(2, 777));
  files[0].results.back().accepted = 5;
  std::vector<ReportSeries> series = seriesOf(files);
  ASSERT_EQ(series.size(), 1u);
  ASSERT_EQ(series[0].results.size(), 3u);
  EXPECT_EQ(series[0].results[1]->usMedian, 777);
}
