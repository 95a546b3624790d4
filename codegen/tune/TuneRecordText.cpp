// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// TuneRecord -> one line of JSON, and a line that nobody vouches for -> TuneRecord or what is wrong with it.

#include "codegen/tune/TuneRecord.h"

#include "dsl/text/JsonTree.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>

using namespace llvm;

namespace moec {

static constexpr const char *schemaName = "moec.tune/1";
static constexpr size_t maxDetailBytes = 1000;
static constexpr size_t maxKernelBytes = 2000;
static constexpr size_t maxDuels = 16;

// ---- printing ----------------------------------------------------------------------------------------------------

static void writeText(json::OStream &os, StringRef key, const std::string &text) {
  os.attribute(key, json::fixUTF8(text));
}

static std::string numberText(double value) {
  std::string text;
  if (!std::isfinite(value))
    return "null";
  raw_string_ostream(text) << format("%.6g", value);
  return text;
}

static void writeNumbers(json::OStream &os, StringRef key, double a, double b, double c) {
  os.attributeArray(key, [&] {
    for (double value : {a, b, c})
      os.rawValue(numberText(value));
  });
}

static void writeStage(json::OStream &os, const TuneStage &stage) {
  os.attributeObject("stage", [&] {
    writeText(os, "spec", stage.spec);
    writeText(os, "layer", stage.layer);
    writeText(os, "name", stage.name);
    os.attribute("n", stage.n);
    os.attribute("k", stage.k);
    os.attribute("parts", stage.parts);
    writeText(os, "a", stage.a);
    writeText(os, "b", stage.b);
    writeText(os, "out", stage.out);
    os.attribute("gathered", stage.gathered);
  });
}

static void writeMachine(json::OStream &os, const TuneMachine &machine) {
  os.attributeObject("machine", [&] {
    if (machine.cpu)
      os.attributeObject("cpu", [&] {
        writeText(os, "vendor", machine.cpu->vendor);
        os.attribute("family", machine.cpu->family);
        os.attribute("model", machine.cpu->model);
        os.attribute("stepping", machine.cpu->stepping);
        writeText(os, "name", machine.cpu->name);
        os.attributeArray("isas", [&] {
          for (const std::string &isa : machine.cpu->isas)
            os.value(json::fixUTF8(isa));
        });
      });
    if (machine.gpu)
      os.attributeObject("gpu", [&] {
        writeText(os, "name", machine.gpu->name);
        os.attribute("capability", machine.gpu->capability);
        os.attribute("multiprocessors", machine.gpu->multiprocessors);
        os.attribute("driver", machine.gpu->driver);
      });
  });
}

static void writeTimes(json::OStream &os, const TuneTimes &times) {
  os.attributeObject("times", [&] {
    writeNumbers(os, "default_us", times.standard.median, times.standard.low, times.standard.high);
    writeNumbers(os, "candidate_us", times.candidate.median, times.candidate.low, times.candidate.high);
    os.attribute("pairs", times.pairs);
    os.attribute("wins", times.wins);
    writeNumbers(os, "gain", times.gain, times.gainLow, times.gainHigh);
    os.attribute("flops", times.flops);
    os.attribute("bytes", times.bytes);
  });
}

static void writeDuels(json::OStream &os, const std::vector<TuneDuel> &duels) {
  os.attributeArray("duels", [&] {
    for (const TuneDuel &duel : duels)
      os.object([&] {
        writeText(os, "first", duel.first);
        writeText(os, "second", duel.second);
        os.attribute("pairs", duel.pairs);
        os.attribute("wins", duel.wins);
        writeNumbers(os, "gain", duel.gain, duel.gainLow, duel.gainHigh);
      });
  });
}

std::string printTuneRecord(const TuneRecord &record) {
  std::string text;
  raw_string_ostream stream(text);
  json::OStream os(stream);
  os.object([&] {
    os.attribute("schema", schemaName);
    os.attribute("kind", record.kind == TuneRecord::Choice ? "choice" : "measurement");
    writeStage(os, record.stage);
    writeText(os, "target", record.target);
    os.attribute("class", classText(record.rows));
    os.attribute("threads", record.threads);
    writeText(os, "routing", record.routing);
    writeMachine(os, record.machine);
    writeText(os, "default", record.standard);
    if (record.kind == TuneRecord::Choice) {
      writeText(os, "choice", record.keepsDefault() ? "default" : record.candidate);
    } else {
      writeText(os, "candidate", record.candidate);
    }
    if (!record.templateHash.empty())
      writeText(os, "template", record.templateHash);
    if (record.kind == TuneRecord::Measurement)
      os.attribute("result", tuneResultName(record.result));
    if (!record.detail.empty())
      writeText(os, "detail", record.detail.substr(0, maxDetailBytes));
    if (record.predicted)
      os.attribute("predicted", true);
    if (record.share > 0) {
      os.attributeBegin("share");
      os.rawValue(numberText(record.share));
      os.attributeEnd();
    }
    if (record.unfinished)
      os.attribute("unfinished", true);
    if (record.times)
      writeTimes(os, *record.times);
    if (!record.duels.empty())
      writeDuels(os, record.duels);
    os.attributeObject("stamp", [&] {
      writeText(os, "moec", record.stamp.moec);
      writeText(os, "abi", record.stamp.abi);
      os.attribute("timing", record.stamp.timing);
      writeText(os, "date", record.stamp.date);
    });
  });
  return text;
}

// ---- reading -----------------------------------------------------------------------------------------------------

namespace {

bool isWord(StringRef text) {
  return !text.empty() && text.size() <= 63 &&
         all_of(text, [](char c) { return isLower(c) || isDigit(c) || c == '_'; });
}

bool isTargetName(StringRef text) {
  return (text.consume_front("cpu:") || text.consume_front("cuda:")) && isWord(text);
}

bool isRouting(StringRef text) {
  return !text.empty() && text.size() <= 100 &&
         all_of(text, [](char c) { return isLower(c) || isDigit(c) || c == '_' || c == '-' || c == ':' || c == '.'; });
}

bool isHash(StringRef text) {
  return text.size() == 64 && all_of(text, [](char c) { return isDigit(c) || (c >= 'a' && c <= 'f'); });
}

// "0.1.0" and what a suffix may add to it.
bool isVersion(StringRef text) {
  return !text.empty() && text.size() <= 40 && isDigit(text[0]) &&
         all_of(text, [](char c) { return isAlnum(c) || c == '.' || c == '-' || c == '+'; });
}

bool isAbi(StringRef text) {
  auto [major, minor] = text.split('.');
  auto number = [](StringRef digits) { return !digits.empty() && digits.size() <= 6 && all_of(digits, isDigit); };
  return number(major) && number(minor);
}

bool isDate(StringRef text) {
  static constexpr StringLiteral form = "0000-00-00T00:00:00Z";
  if (text.size() != form.size())
    return false;
  for (size_t i = 0; i < form.size(); ++i)
    if (form[i] == '0' ? !isDigit(text[i]) : text[i] != form[i])
      return false;
  auto within = [&](size_t at, int low, int high) {
    int value = (text[at] - '0') * 10 + text[at + 1] - '0';
    return value >= low && value <= high;
  };
  return within(5, 1, 12) && within(8, 1, 31) && within(11, 0, 23) && within(14, 0, 59) && within(17, 0, 60);
}

// One entry on one line: no comment and no line end, so that it stays one entry inside a schedule.
bool isKernel(StringRef text) {
  return !text.empty() && text.size() <= maxKernelBytes && isLower(text[0]) && text.contains('{') &&
         all_of(text, [](char c) { return isAlnum(c) || StringRef("_ {}=,").contains(c); });
}

bool isText(StringRef text) { return text.size() <= 256; }
bool isDetail(StringRef text) { return !text.empty() && text.size() <= 4 * maxDetailBytes; }

constexpr int64_t maxExtent = int64_t(1) << 31;
constexpr int64_t maxWork = int64_t(1) << 62;
constexpr double maxMicroseconds = 1e12;

class RecordReader {
public:
  explicit RecordReader(std::string_view line) { list.setSource("", line); }

  Result<TuneRecord> run() {
    JsonLimits limits;
    limits.bytes = maxTuneLineBytes;
    limits.depth = 8;
    limits.nodes = 1000;
    std::string_view line = list.source().text();
    std::optional<JsonTree> read = readJson(line, limits, list);
    if (!read)
      return jsonError();
    tree = std::move(*read);
    TuneRecord record;
    if (!readRecord(record))
      return std::move(error);
    return record;
  }

private:
  using Check = bool (*)(StringRef);

  Diagnostic jsonError() {
    Diagnostic found = list.all().empty() ? Diagnostic::error("E-TUNE", "the line is not JSON") : list.all().front();
    error = Diagnostic::error("E-TUNE", found.message);
    error.column = found.column;
    return error;
  }
  bool failAt(const JsonNode &node, const std::string &path, const std::string &expected) {
    std::string found = node.kind == JsonKind::String || node.kind == JsonKind::Number
                            ? quoteText(node.text)
                            : std::string(kindName(node.kind));
    error = Diagnostic::error("E-TUNE", path + ": found " + found + ", expected " + expected, "", path);
    error.column = list.source().place(node.offset, node.length).column;
    return false;
  }
  bool failLine(const std::string &message) {
    error = Diagnostic::error("E-TUNE", message);
    error.column = 1;
    return false;
  }
  // The member, or null after failing because it is missing.
  const JsonNode *need(const JsonNode &object, const std::string &prefix, StringRef key) {
    if (const JsonNode *node = tree.member(object, key))
      return node;
    error = Diagnostic::error("E-TUNE", "member " + prefix + key.str() + " is missing", "", prefix + key.str());
    error.column = list.source().place(object.offset, object.length).column;
    return nullptr;
  }
  const JsonNode *needObject(const JsonNode &object, const std::string &prefix, StringRef key) {
    const JsonNode *node = need(object, prefix, key);
    if (node && node->kind != JsonKind::Object) {
      failAt(*node, prefix + key.str(), "an object");
      return nullptr;
    }
    return node;
  }
  bool text(const JsonNode &object, const std::string &prefix, StringRef key, std::string &out, Check check,
            const char *expected) {
    const JsonNode *node = need(object, prefix, key);
    if (!node)
      return false;
    if (node->kind != JsonKind::String || !check(node->text))
      return failAt(*node, prefix + key.str(), expected);
    out = node->text;
    return true;
  }
  bool integer(const JsonNode &object, const std::string &prefix, StringRef key, int64_t &out, int64_t low,
               int64_t high) {
    const JsonNode *node = need(object, prefix, key);
    if (!node)
      return false;
    std::optional<int64_t> value = node->kind == JsonKind::Number ? integerOf(node->text) : std::nullopt;
    if (!value || *value < low || *value > high)
      return failAt(*node, prefix + key.str(), "an integer in " + std::to_string(low) + ".." + std::to_string(high));
    out = *value;
    return true;
  }
  bool boolean(const JsonNode &object, const std::string &prefix, StringRef key, bool &out) {
    const JsonNode *node = need(object, prefix, key);
    if (!node)
      return false;
    if (node->kind != JsonKind::Bool)
      return failAt(*node, prefix + key.str(), "true or false");
    out = node->boolean;
    return true;
  }
  bool numbers(const JsonNode &object, const std::string &prefix, StringRef key, double (&out)[3], double low,
               double high) {
    const JsonNode *node = need(object, prefix, key);
    if (!node)
      return false;
    const char *expected = "a list of three numbers";
    if (node->kind != JsonKind::Array || node->children.size() != 3)
      return failAt(*node, prefix + key.str(), expected);
    for (size_t i = 0; i < 3; ++i) {
      const JsonNode &item = *tree.item(*node, i);
      std::optional<double> value = item.kind == JsonKind::Number ? doubleOf(item.text) : std::nullopt;
      if (!value || *value < low || *value > high)
        return failAt(item, prefix + key.str(), "a number in " + numberText(low) + ".." + numberText(high));
      out[i] = *value;
    }
    return true;
  }

  bool readRecord(TuneRecord &record);
  bool readKind(TuneRecord &record);
  bool readStage(TuneStage &stage);
  bool readMachine(TuneMachine &machine, bool cuda);
  bool readCpu(const JsonNode &object, TuneCpu &cpu);
  bool readGpu(const JsonNode &object, TuneGpu &gpu);
  bool readOutcome(TuneRecord &record);
  bool readTimes(TuneRecord &record);
  bool readDuels(TuneRecord &record);
  bool readStamp(TuneStamp &stamp);

  DiagnosticList list;
  JsonTree tree;
  Diagnostic error; // why a function was false
};

bool RecordReader::readRecord(TuneRecord &record) {
  const JsonNode &root = tree.root();
  if (root.kind != JsonKind::Object)
    return failAt(root, "the line", "an object");
  std::string rows;
  if (!readKind(record) || !readStage(record.stage) ||
      !text(root, "", "target", record.target, isTargetName, "a target such as cpu:avx512 or cuda:sm_90a") ||
      !text(
          root, "", "class", rows, [](StringRef t) { return classOfText(t).has_value(); },
          "rows such as 9..12 or 65..") ||
      !integer(root, "", "threads", record.threads, 1, 65536) ||
      !text(root, "", "routing", record.routing, isRouting, "a routing such as uniform or zipf") ||
      !readMachine(record.machine, record.cuda()) ||
      !text(root, "", "default", record.standard, isKernel, "an entry of a schedule without its rows"))
    return false;
  record.rows = *classOfText(rows);
  return readOutcome(record) && readTimes(record) && readDuels(record) && readStamp(record.stamp);
}

bool RecordReader::readKind(TuneRecord &record) {
  std::string schema, kind;
  if (!text(
          tree.root(), "", "schema", schema, [](StringRef t) { return t == schemaName; },
          "moec.tune/1, the only schema that this version reads") ||
      !text(
          tree.root(), "", "kind", kind, [](StringRef t) { return t == "measurement" || t == "choice"; },
          "measurement or choice"))
    return false;
  record.kind = kind == "choice" ? TuneRecord::Choice : TuneRecord::Measurement;
  return true;
}

bool RecordReader::readStage(TuneStage &stage) {
  const JsonNode *object = needObject(tree.root(), "", "stage");
  const char *type = "an element type such as bf16", *name = "a name, [a-z0-9_]{1,63}";
  return object && text(*object, "stage.", "spec", stage.spec, isHash, "64 hex digits") &&
         text(*object, "stage.", "layer", stage.layer, isWord, name) &&
         text(*object, "stage.", "name", stage.name, isWord, name) &&
         integer(*object, "stage.", "n", stage.n, 1, maxExtent) &&
         integer(*object, "stage.", "k", stage.k, 1, maxExtent) &&
         integer(*object, "stage.", "parts", stage.parts, 1, 16) &&
         text(*object, "stage.", "a", stage.a, isWord, type) && text(*object, "stage.", "b", stage.b, isWord, type) &&
         text(*object, "stage.", "out", stage.out, isWord, type) &&
         boolean(*object, "stage.", "gathered", stage.gathered);
}

bool RecordReader::readCpu(const JsonNode &object, TuneCpu &cpu) {
  const std::string prefix = "machine.cpu.";
  const char *name = "a text of at most 256 bytes";
  if (!text(object, prefix, "vendor", cpu.vendor, isText, name) ||
      !integer(object, prefix, "family", cpu.family, 0, 65535) ||
      !integer(object, prefix, "model", cpu.model, 0, 65535) ||
      !integer(object, prefix, "stepping", cpu.stepping, 0, 65535) ||
      !text(object, prefix, "name", cpu.name, isText, name))
    return false;
  const JsonNode *isas = need(object, prefix, "isas");
  if (!isas)
    return false;
  if (isas->kind != JsonKind::Array || isas->children.size() > 64)
    return failAt(*isas, prefix + "isas", "a list of at most 64 instruction sets");
  for (size_t i = 0; i < isas->children.size(); ++i) {
    const JsonNode &item = *tree.item(*isas, i);
    if (item.kind != JsonKind::String || !isWord(item.text))
      return failAt(item, prefix + "isas", "the name of an instruction set");
    cpu.isas.push_back(item.text);
  }
  return true;
}

bool RecordReader::readGpu(const JsonNode &object, TuneGpu &gpu) {
  const std::string prefix = "machine.gpu.";
  return text(object, prefix, "name", gpu.name, isText, "a text of at most 256 bytes") &&
         integer(object, prefix, "capability", gpu.capability, 0, 9999) &&
         integer(object, prefix, "multiprocessors", gpu.multiprocessors, 1, 65535) &&
         integer(object, prefix, "driver", gpu.driver, 0, 1000000000);
}

bool RecordReader::readMachine(TuneMachine &machine, bool cuda) {
  const JsonNode *object = needObject(tree.root(), "", "machine");
  if (!object)
    return false;
  for (const char *key : {"cpu", "gpu"}) {
    bool gpu = key[0] == 'g';
    if (gpu != cuda && !tree.member(*object, key))
      continue;
    const JsonNode *facts = needObject(*object, "machine.", key);
    if (!facts || !(gpu ? readGpu(*facts, machine.gpu.emplace()) : readCpu(*facts, machine.cpu.emplace())))
      return false;
  }
  return true;
}

bool RecordReader::readOutcome(TuneRecord &record) {
  const JsonNode &root = tree.root();
  const char *kernel = "an entry of a schedule without its rows";
  if (tree.member(root, "detail") && !text(root, "", "detail", record.detail, isDetail, "a text of at most 4000 bytes"))
    return false;
  if (tree.member(root, "template") && !text(root, "", "template", record.templateHash, isHash, "64 hex digits"))
    return false;
  if (tree.member(root, "predicted") && !boolean(root, "", "predicted", record.predicted))
    return false;
  if (tree.member(root, "unfinished") && !boolean(root, "", "unfinished", record.unfinished))
    return false;
  if (const JsonNode *node = tree.member(root, "share")) {
    std::optional<double> share = node->kind == JsonKind::Number ? doubleOf(node->text) : std::nullopt;
    if (!share || !(*share > 0 && *share <= 1))
      return failAt(*node, "share", "a number above 0, at most 1");
    record.share = *share;
  }
  if (record.kind == TuneRecord::Choice) {
    if (!text(
            root, "", "choice", record.candidate, [](StringRef t) { return t == "default" || isKernel(t); },
            "default, or an entry of a schedule without its rows"))
      return false;
    if (record.candidate == "default")
      record.candidate = record.standard;
    return true;
  }
  std::string word;
  if (!text(root, "", "candidate", record.candidate, isKernel, kernel) ||
      !text(
          root, "", "result", word,
          [](StringRef t) { return t == "ok" || t == "wrong" || t == "failed" || t == "timeout"; },
          "ok, wrong, failed or timeout"))
    return false;
  record.result = word == "ok"       ? TuneResult::Ok
                  : word == "wrong"  ? TuneResult::Wrong
                  : word == "failed" ? TuneResult::Failed
                                     : TuneResult::Timeout;
  if ((record.result == TuneResult::Wrong || record.result == TuneResult::Failed) && record.detail.empty())
    return failLine("result is " + word + ", but member detail, which says " +
                    (record.result == TuneResult::Wrong ? "where" : "why") + ", is missing");
  return true;
}

bool RecordReader::readTimes(TuneRecord &record) {
  const JsonNode &root = tree.root();
  if (record.result != TuneResult::Ok && !tree.member(root, "times"))
    return true;
  const JsonNode *object = needObject(root, "", "times");
  TuneTimes times;
  double standard[3], candidate[3], gain[3];
  if (!object || !numbers(*object, "times.", "default_us", standard, 0, maxMicroseconds) ||
      !numbers(*object, "times.", "candidate_us", candidate, 0, maxMicroseconds) ||
      !integer(*object, "times.", "pairs", times.pairs, 1, 1000000) ||
      !integer(*object, "times.", "wins", times.wins, 0, 1000000) ||
      !numbers(*object, "times.", "gain", gain, -1, 1e6) ||
      !integer(*object, "times.", "flops", times.flops, 0, maxWork) ||
      !integer(*object, "times.", "bytes", times.bytes, 0, maxWork))
    return false;
  times.standard = {standard[0], standard[1], standard[2]};
  times.candidate = {candidate[0], candidate[1], candidate[2]};
  times.gain = gain[0], times.gainLow = gain[1], times.gainHigh = gain[2];
  record.times = times;
  return true;
}

bool RecordReader::readDuels(TuneRecord &record) {
  const JsonNode *list = tree.member(tree.root(), "duels");
  if (!list)
    return true;
  if (record.kind != TuneRecord::Choice || list->kind != JsonKind::Array || list->children.size() > maxDuels)
    return failAt(*list, "duels", "a list of at most 16 pairs of kernels, in a choice");
  for (size_t i = 0; i < list->children.size(); ++i) {
    const JsonNode &object = *tree.item(*list, i);
    const char *kernel = "an entry of a schedule without its rows";
    if (object.kind != JsonKind::Object)
      return failAt(object, "duels", "a list of objects");
    TuneDuel duel;
    double gain[3];
    if (!text(object, "duels.", "first", duel.first, isKernel, kernel) ||
        !text(object, "duels.", "second", duel.second, isKernel, kernel) ||
        !integer(object, "duels.", "pairs", duel.pairs, 1, 1000000) ||
        !integer(object, "duels.", "wins", duel.wins, 0, 1000000) || !numbers(object, "duels.", "gain", gain, -1, 1e6))
      return false;
    duel.gain = gain[0], duel.gainLow = gain[1], duel.gainHigh = gain[2];
    record.duels.push_back(std::move(duel));
  }
  return true;
}

bool RecordReader::readStamp(TuneStamp &stamp) {
  const JsonNode *object = needObject(tree.root(), "", "stamp");
  return object && text(*object, "stamp.", "moec", stamp.moec, isVersion, "a version such as 0.1.0") &&
         text(*object, "stamp.", "abi", stamp.abi, isAbi, "a version such as 1.0") &&
         integer(*object, "stamp.", "timing", stamp.timing, 0, 1000000) &&
         text(*object, "stamp.", "date", stamp.date, isDate, "a time such as 2026-11-27T10:00:00Z");
}

} // namespace

Result<TuneRecord> parseTuneRecord(std::string_view line) {
  if (line.size() > maxTuneLineBytes) {
    Diagnostic error = Diagnostic::error("E-TUNE", "found a line of " + std::to_string(line.size()) +
                                                       " bytes, expected at most " + std::to_string(maxTuneLineBytes));
    error.column = 1;
    return error;
  }
  return RecordReader(line).run();
}

} // namespace moec
