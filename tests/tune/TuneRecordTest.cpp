// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One record: its line, what reads back, and every way in which a line is refused.

#include "codegen/tune/TuneCandidate.h"
#include "tests/tune/TuneRecords.h"

#include <random>

namespace moec {
namespace {

TuneRecord read(const std::string &line) {
  Result<TuneRecord> record = parseTuneRecord(line);
  EXPECT_TRUE(record) << record.error().message << "\n" << line;
  return record ? *record : TuneRecord();
}

// "COLUMN: message" of a line that is not a record.
std::string refusal(const std::string &line) {
  Result<TuneRecord> record = parseTuneRecord(line);
  EXPECT_FALSE(record);
  if (record)
    return "";
  EXPECT_EQ(record.error().code, "E-TUNE");
  EXPECT_GT(record.error().column, 0u);
  return record.error().message;
}

std::string replaced(std::string line, const std::string &what, const std::string &by) {
  size_t at = line.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return at == std::string::npos ? line : line.replace(at, what.size(), by);
}

TEST(record, line_has_every_member) {
  EXPECT_EQ(printTuneRecord(measurement()),
            "{\"schema\":\"moec.tune/1\",\"kind\":\"measurement\",\"stage\":{\"spec\":\"" + std::string(64, 'a') +
                "\",\"layer\":\"tiny\",\"name\":\"experts_down\",\"n\":2048,\"k\":1024,\"parts\":1,\"a\":\"bf16\","
                "\"b\":\"bf16\",\"out\":\"bf16\",\"gathered\":true},\"target\":\"cpu:avx512\",\"class\":\"9..12\","
                "\"threads\":1,\"routing\":\"uniform\",\"machine\":{\"cpu\":{\"vendor\":\"AuthenticAMD\",\"family\":25,"
                "\"model\":17,\"stepping\":1,\"name\":\"AMD EPYC\",\"isas\":[\"baseline\",\"avx2\",\"avx512\"]}},"
                "\"default\":\"" +
                panel(12, 12) + "\",\"candidate\":\"" + panel(6, 12) +
                "\",\"result\":\"ok\",\"times\":{\"default_us\":[106,105,108],\"candidate_us\":[100,99,101.5],"
                "\"pairs\":11,\"wins\":10,\"gain\":[0.06,0.053,0.067],\"flops\":37748736,\"bytes\":3145728},"
                "\"stamp\":{\"moec\":\"0.1.0\",\"abi\":\"1.0\",\"timing\":1,\"date\":\"2026-11-27T10:00:00Z\"}}");
}

TEST(record, reads_back_what_it_prints) {
  TuneRecord ok = measurement(), wrong = ok, chosen = choice({65, -1}, panel(8, 128)),
             kept = choice({1, 1}, ok.standard), cuda = ok, overlay = ok, mine = chosen;
  wrong.result = TuneResult::Wrong;
  wrong.detail = "row 3, column 17: found 2, expected 1 \xe2\x80\x94 \"far\" off\n";
  wrong.times.reset();
  cuda.target = "cuda:sm_90a";
  cuda.machine.gpu = TuneGpu{"NVIDIA H200", 90, 132, 13000};
  cuda.standard = cuda.candidate = "multistage { block_m = 16 }";
  cuda.predicted = true;
  overlay.templateHash = mine.templateHash = std::string(64, 'c');
  for (const TuneRecord &record : {ok, wrong, chosen, kept, cuda, overlay, mine}) {
    std::string line = printTuneRecord(record);
    EXPECT_EQ(line.find('\n'), std::string::npos);
    TuneRecord back = read(line);
    EXPECT_EQ(printTuneRecord(back), line);
    EXPECT_EQ(back.kind, record.kind);
    EXPECT_EQ(back.rows, record.rows);
    EXPECT_EQ(back.candidate, record.candidate);
    EXPECT_EQ(back.templateHash, record.templateHash);
    EXPECT_EQ(back.detail, record.detail);
    EXPECT_EQ(back.predicted, record.predicted);
    EXPECT_EQ(back.times.has_value(), record.times.has_value());
    EXPECT_EQ(questionOf(back, true), questionOf(record, true));
  }
  EXPECT_NE(printTuneRecord(kept).find("\"choice\":\"default\""), std::string::npos);
  EXPECT_TRUE(read(printTuneRecord(kept)).keepsDefault());
  EXPECT_FALSE(read(printTuneRecord(chosen)).keepsDefault());
}

TEST(record, of_a_choice_has_the_pairs_of_rivals) {
  TuneRecord record = choice({9, 12}, panel(8, 16));
  record.duels.push_back({panel(6, 12), panel(8, 16), 15, 9, 0.004, -0.001, 0.009});
  std::string line = printTuneRecord(record);
  EXPECT_NE(line.find(",\"duels\":[{\"first\":\"" + panel(6, 12) + "\",\"second\":\"" + panel(8, 16) +
                      "\",\"pairs\":15,\"wins\":9,\"gain\":[0.004,-0.001,0.009]}],\"stamp\""),
            std::string::npos)
      << line;
  TuneRecord back = read(line);
  EXPECT_EQ(printTuneRecord(back), line);
  ASSERT_EQ(back.duels.size(), 1u);
  EXPECT_EQ(back.duels[0].second, panel(8, 16));
  EXPECT_EQ(refusal(replaced(line, "\"wins\":9", "\"wins\":-9")),
            "duels.wins: found \"-9\", expected an integer in 0..1000000");
  EXPECT_EQ(refusal(replaced(line, "[{\"first\"", "[3,{\"first\"")), "duels: found \"3\", expected a list of objects");
  std::string list = "[" + std::string(2 * 16, ' ');
  for (int i = 0; i < 17; ++i)
    list += i ? ",0" : "0";
  size_t from = line.find("[{\"first\""), to = line.find("],\"stamp\"");
  EXPECT_EQ(refusal(line.substr(0, from) + list + line.substr(to)),
            "duels: found a list, expected a list of at most 16 pairs of kernels, in a choice");
  EXPECT_NE(refusal(replaced(printTuneRecord(measurement()), "\"stamp\"", "\"duels\":[],\"stamp\"")), "");
}

TEST(record, says_how_much_work_it_is_and_whether_the_search_ended) {
  TuneRecord record = choice({9, 12}, panel(8, 16));
  record.share = 0.25;
  record.unfinished = true;
  std::string line = printTuneRecord(record);
  EXPECT_NE(line.find("\"share\":0.25,\"unfinished\":true"), std::string::npos) << line;
  EXPECT_EQ(read(line).share, 0.25);
  EXPECT_TRUE(read(line).unfinished);
  EXPECT_EQ(read(printTuneRecord(measurement())).share, 0);
  for (const char *bad : {"0", "1.5", "-1", "\"a\""})
    EXPECT_NE(refusal(replaced(line, "0.25", bad)).find("share: found "), std::string::npos) << bad;
  EXPECT_EQ(refusal(replaced(line, "\"unfinished\":true", "\"unfinished\":1")),
            "unfinished: found \"1\", expected true or false");
}

TEST(record, members_of_later_versions_are_ignored) {
  std::string line = replaced(printTuneRecord(measurement()), "\"target\"", "\"power\":{\"w\":[1,2]},\"target\"");
  EXPECT_EQ(printTuneRecord(read(line)), printTuneRecord(measurement()));
}

TEST(record, long_details_are_cut) {
  TuneRecord record = measurement();
  record.result = TuneResult::Failed;
  record.detail = std::string(100000, 'x');
  EXPECT_EQ(read(printTuneRecord(record)).detail, std::string(1000, 'x'));
  // cut within a character, it is still JSON
  record.detail = std::string(999, 'x') + "\xe2\x80\x94";
  EXPECT_EQ(read(printTuneRecord(record)).detail.substr(0, 999), std::string(999, 'x'));
}

TEST(record, what_is_not_json_is_refused) {
  std::string line = printTuneRecord(measurement());
  for (size_t length = 0; length < line.size(); ++length)
    EXPECT_NE(refusal(line.substr(0, length)), "") << length;
  EXPECT_NE(refusal(line + "}"), "");
  EXPECT_NE(refusal("\xff\xfe"), "");
  EXPECT_NE(refusal(std::string(1000, '[')), "");
  EXPECT_EQ(refusal("[]"), "the line: found a list, expected an object");
  EXPECT_EQ(refusal(std::string(maxTuneLineBytes + 1, ' ')), "found a line of 16385 bytes, expected at most 16384");
}

TEST(record, every_member_is_checked) {
  std::string line = printTuneRecord(measurement());
  struct {
    const char *what, *by, *message;
  } cases[] = {
      {"moec.tune/1", "moec.tune/2",
       "schema: found \"moec.tune/2\", expected moec.tune/1, the only schema that this version reads"},
      {"\"measurement\"", "\"guess\"", "kind: found \"guess\", expected measurement or choice"},
      {"\"kind\"", "\"sort\"", "member kind is missing"},
      {"aaaa\"", "aaag\"",
       "stage.spec: found \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaag\", expected 64 hex "
       "digits"},
      {"\"n\":2048", "\"n\":0", "stage.n: found \"0\", expected an integer in 1..2147483648"},
      {"\"n\":2048", "\"n\":2.5", "stage.n: found \"2.5\", expected an integer in 1..2147483648"},
      {"\"gathered\":true", "\"gathered\":1", "stage.gathered: found \"1\", expected true or false"},
      {"cpu:avx512", "avx512", "target: found \"avx512\", expected a target such as cpu:avx512 or cuda:sm_90a"},
      {"9..12", "12..9", "class: found \"12..9\", expected rows such as 9..12 or 65.."},
      {"\"threads\":1", "\"threads\":\"1\"", "threads: found \"1\", expected an integer in 1..65536"},
      {"uniform", "any where", "routing: found \"any where\", expected a routing such as uniform or zipf"},
      {"\"cpu\":{", "\"gpu\":{", "member machine.cpu is missing"},
      {"\"family\":25", "\"family\":-1", "machine.cpu.family: found \"-1\", expected an integer in 0..65535"},
      {"[\"baseline\"", "[7", "machine.cpu.isas: found \"7\", expected the name of an instruction set"},
      {"\"default\":\"panel", "\"default\":\"#panel",
       "default: found \"#panel { block_k = 32, block_m = 12, heights = 1, panel_m = 12, ...\", expected an entry of a "
       "schedule "
       "without its rows"},
      {"\"candidate\":\"panel {", "\"candidate\":\"panel \\n{",
       "candidate: found \"panel \\x0a{ block_k = 32, block_m = 6, heights = 1, panel_m = 12, p...\", expected an "
       "entry of a "
       "schedule without its rows"},
      {"\"times\"", "\"predicted\":1,\"times\"", "predicted: found \"1\", expected true or false"},
      {"\"times\"", "\"template\":\"cafe\",\"times\"", "template: found \"cafe\", expected 64 hex digits"},
      {"\"ok\"", "\"fine\"", "result: found \"fine\", expected ok, wrong, failed or timeout"},
      {"\"ok\"", "\"wrong\"", "result is wrong, but member detail, which says where, is missing"},
      {"\"ok\"", "\"failed\"", "result is failed, but member detail, which says why, is missing"},
      {"\"times\"", "\"took\"", "member times is missing"},
      {"[106,105,108]", "[106,105]", "times.default_us: found a list, expected a list of three numbers"},
      {"[106,105,108]", "[106,105,-1]", "times.default_us: found \"-1\", expected a number in 0..1e+12"},
      {"\"pairs\":11", "\"pairs\":0", "times.pairs: found \"0\", expected an integer in 1..1000000"},
      {"\"abi\":\"1.0\"", "\"abi\":\"one\"", "stamp.abi: found \"one\", expected a version such as 1.0"},
      {"2026-11-27T", "2026-13-27T",
       "stamp.date: found \"2026-13-27T10:00:00Z\", expected a time such as 2026-11-27T10:00:00Z"},
  };
  for (const auto &c : cases)
    EXPECT_EQ(refusal(replaced(line, c.what, c.by)), c.message);
  EXPECT_EQ(parseTuneRecord(replaced(line, "\"threads\":1", "\"threads\":x")).error().column,
            line.find("\"threads\":1") + 11);
}

TEST(record, what_cannot_be_printed_is_not_read) {
  TuneRecord record = measurement();
  record.times->gain = 0.0 / 0.0;
  EXPECT_EQ(refusal(printTuneRecord(record)), "times.gain: found null, expected a number in -1..1e+06");
}

TEST(record, mutated_lines_never_read_as_what_cannot_be_printed) {
  std::mt19937 random(3);
  std::string lines[] = {printTuneRecord(measurement()), printTuneRecord(choice({65, -1}, panel(8, 128)))};
  size_t numRead = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string line = lines[round % 2];
    for (unsigned change = 1 + random() % 3; change; --change) {
      size_t at = random() % line.size();
      switch (random() % 3) {
      case 0:
        line[at] = char(random());
        break;
      case 1:
        line.erase(at, random() % 20);
        break;
      default:
        line.insert(at, line.substr(random() % line.size(), random() % 20));
      }
    }
    Result<TuneRecord> record = parseTuneRecord(line);
    if (!record) {
      ASSERT_FALSE(record.error().message.empty());
      continue;
    }
    ++numRead;
    std::string printed = printTuneRecord(*record);
    ASSERT_EQ(printed.find('\n'), std::string::npos);
    Result<TuneRecord> again = parseTuneRecord(printed);
    ASSERT_TRUE(again) << again.error().message << "\n" << line;
    ASSERT_EQ(printTuneRecord(*again), printed);
  }
  EXPECT_GT(numRead, 100u);
}

TEST(record, classes) {
  EXPECT_EQ(classText({9, 12}), "9..12");
  EXPECT_EQ(classText({65, -1}), "65..");
  EXPECT_EQ(*classOfText("9..12"), (TuneClass{9, 12}));
  EXPECT_EQ(*classOfText("65.."), (TuneClass{65, -1}));
  for (const char *text : {"", "..", "..4", "0..4", "4", "4..3", "04..5", "4...5", "-1..3", "1..9999999999", "1..x"})
    EXPECT_FALSE(classOfText(text)) << text;
  EXPECT_TRUE((TuneClass{9, 12}).has(9));
  EXPECT_TRUE((TuneClass{9, 12}).has(12));
  EXPECT_FALSE((TuneClass{9, 12}).has(13));
  EXPECT_TRUE((TuneClass{9, -1}).has(1000));
}

TEST(record, question_is_all_but_answer_and_date) {
  TuneRecord a = measurement(), b = a;
  b.result = TuneResult::Failed, b.detail = "x", b.stamp.date = "2027-01-01T00:00:00Z", b.machine.cpu->stepping = 2;
  EXPECT_EQ(questionOf(a, true), questionOf(b, true));
  b.stamp.moec = "0.2.0";
  EXPECT_EQ(questionOf(a, false), questionOf(b, false));
  EXPECT_NE(questionOf(a, true), questionOf(b, true));
  auto differs = [&](auto change) {
    TuneRecord other = a;
    change(other);
    return questionOf(a, false) != questionOf(other, false);
  };
  EXPECT_TRUE(differs([](TuneRecord &r) { r.rows.last = 13; }));
  EXPECT_TRUE(differs([](TuneRecord &r) { r.candidate = panel(4, 12); }));
  EXPECT_TRUE(differs([](TuneRecord &r) { r.templateHash = std::string(64, 'c'); }));
  EXPECT_TRUE(differs([](TuneRecord &r) { r.threads = 2; }));
  EXPECT_TRUE(differs([](TuneRecord &r) { r.predicted = true; }));
  EXPECT_TRUE(differs([](TuneRecord &r) { r.routing = "zipf"; }));
  EXPECT_TRUE(differs([](TuneRecord &r) { r.stage.k = 64; }));
  EXPECT_TRUE(differs([](TuneRecord &r) { r.machine.cpu->model = 97; }));
  EXPECT_TRUE(differs([](TuneRecord &r) { r.stamp.timing = 2; }));
  EXPECT_TRUE(differs([](TuneRecord &r) { r.kind = TuneRecord::Choice; }));
  TuneRecord c = choice({1, 4}, panel(4, 4)), d = choice({1, 4}, panel(2, 4));
  EXPECT_EQ(questionOf(c, true), questionOf(d, true)) << "a later choice replaces an earlier one";
}

TEST(record, stale_stamps) {
  TuneStamp now = {"0.2.0", "1.3", 2, ""};
  EXPECT_EQ(staleReason({"0.1.0", "1.0", 2, ""}, now), "");
  EXPECT_EQ(staleReason({"0.2.0", "1.3", 1, ""}, now), "timing method 1, this is 2");
  EXPECT_EQ(staleReason({"0.2.0", "2.0", 2, ""}, now), "package ABI 2.0, this is 1.3");
  TuneStamp stamp = currentStamp("0.1.0");
  TuneRecord record = measurement();
  record.stamp = stamp;
  EXPECT_EQ(read(printTuneRecord(record)).stamp.date, stamp.date);
}

TEST(candidate, text_is_what_a_schedule_prints) {
  ScheduleEntry entry = *cpuCandidate(panel(6, 12), {9, 12});
  EXPECT_EQ(entry.firstRow, 9);
  EXPECT_EQ(entry.lastRow, 12);
  EXPECT_EQ(entry.numeric, "fma");
  EXPECT_EQ(entry.kernel.integers.at("block_m"), 6);
  EXPECT_EQ(candidateText(entry), panel(6, 12));
  EXPECT_EQ(numericOf(candidateText(entry)), "fma");
  CudaEntry cuda = *cudaCandidate("multistage { block_m = 16 }", {1, 64});
  EXPECT_EQ(cuda.kernel.templateName, "cuda/multistage");
  EXPECT_EQ(cuda.lastToken, 64);
  std::string text = candidateText(cuda);
  EXPECT_EQ(text.substr(0, 13), "multistage { ");
  EXPECT_EQ(candidateText(*cudaCandidate(text, {})), text);
  EXPECT_EQ(numericOf(text), "");
  EXPECT_EQ(
      canonicalCandidate("panel{block_m=6,panel_m=12,prefetch_block=32,streams=4,block_k=32}numeric fma", false),
      canonicalCandidate("panel { panel_m = 12, block_m = 6, prefetch_block = 32, streams = 4 } numeric fma", false));
  EXPECT_EQ(canonicalCandidate("gone { }", false), "gone { }");
}

TEST(candidate, one_entry_and_nothing_else) {
  auto refused = [](const char *text) {
    Result<ScheduleEntry> entry = cpuCandidate(text, {});
    return entry ? "" : entry.error().message;
  };
  EXPECT_EQ(refused("panel {} numeric fma stage t avx2 rows 1.. panel {} numeric fma"),
            "kernel \"panel {} numeric fma stage t avx2 rows 1.. panel {} numeric fma\": found more than one entry, "
            "expected one");
  EXPECT_EQ(refused("panel {} # numeric"),
            "kernel \"panel {} # numeric\": found a comment or a line end, expected one entry");
  EXPECT_NE(refused("panels {} numeric fma").find("found template 'panels', expected one of: "), std::string::npos);
  EXPECT_NE(refused(""), "");
}

TEST(candidate, targets) {
  EXPECT_EQ(isaOfTarget("cpu:avx512"), Isa::Avx512);
  EXPECT_FALSE(isaOfTarget("cpu:neon"));
  EXPECT_FALSE(isaOfTarget("avx512"));
  EXPECT_EQ(archOfTarget("cuda:sm_90a"), CudaArch::Sm90a);
  EXPECT_FALSE(archOfTarget("cpu:avx512"));
  for (unsigned isa = 0; isa < MOEC_NUM_ISAS; ++isa)
    EXPECT_EQ(isaOfTarget(targetOf(Isa(isa))), Isa(isa));
}

TEST(machine, nearness) {
  TuneMachine zen4 = measurement().machine, stepping = zen4, zen4c = zen4, zen3 = zen4, intel = zen4, none;
  stepping.cpu->stepping = 9, stepping.cpu->name = "AMD EPYC 9654";
  zen4c.cpu->model = 160;
  zen3.cpu->model = 1, zen3.cpu->isas = {"baseline", "avx2"};
  intel.cpu->vendor = "GenuineIntel";
  EXPECT_EQ(matchDevice(zen4, stepping, false), DeviceMatch::Exact);
  EXPECT_EQ(matchDevice(zen4, zen4c, false), DeviceMatch::Family);
  EXPECT_EQ(matchDevice(zen4, zen3, false), DeviceMatch::Foreign);
  EXPECT_EQ(matchDevice(zen4, intel, false), DeviceMatch::Foreign);
  EXPECT_EQ(matchDevice(zen4, none, false), DeviceMatch::Foreign);
  EXPECT_EQ(machineKey(zen4, false), machineKey(stepping, false));
  EXPECT_NE(machineKey(zen4, false), machineKey(zen4c, false));
  EXPECT_EQ(machineText(zen4, false), "AMD EPYC (AuthenticAMD 25/17)");
  TuneMachine h200, h100, a100;
  h200.gpu = TuneGpu{"NVIDIA H200", 90, 132, 13000};
  h100.gpu = TuneGpu{"NVIDIA H100 80GB HBM3", 90, 132, 12040};
  a100.gpu = TuneGpu{"NVIDIA A100", 80, 108, 12040};
  EXPECT_EQ(matchDevice(h200, h200, true), DeviceMatch::Exact);
  EXPECT_EQ(matchDevice(h200, h100, true), DeviceMatch::Family);
  EXPECT_EQ(matchDevice(h200, a100, true), DeviceMatch::Foreign);
  EXPECT_EQ(machineText(h200, true), "NVIDIA H200 (sm_90, 132 SMs)");
}

TEST(machine, this_one_can_be_recorded) {
  TuneRecord record = measurement();
  record.machine.cpu = thisCpu();
  EXPECT_FALSE(record.machine.cpu->isas.empty());
  EXPECT_EQ(read(printTuneRecord(record)).machine.cpu->name, record.machine.cpu->name);
#ifdef __x86_64__
  EXPECT_FALSE(record.machine.cpu->vendor.empty());
  EXPECT_GT(record.machine.cpu->family, 0);
#endif
}

} // namespace
} // namespace moec
