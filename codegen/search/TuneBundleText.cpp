// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A bundle -> bundle.json. Records are cut out of what printTuneRecord prints, so that their form is written once.

#include "codegen/search/BundleText.h"
#include "codegen/search/TuneBundle.h"

#include "codegen/tune/TuneCandidate.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace moec {

std::string bundleHash(StringRef bytes) {
  uint64_t hash = 0xcbf29ce484222325u; // FNV-1a
  for (char c : bytes)
    hash = (hash ^ uint8_t(c)) * 0x100000001b3u;
  std::string text;
  raw_string_ostream(text) << format_hex_no_prefix(hash, 16);
  return text;
}

static void writeNumbers(json::OStream &os, StringRef key, ArrayRef<int64_t> values) {
  os.attributeArray(key, [&] {
    for (int64_t value : values)
      os.value(value);
  });
}

static std::string fixed(const std::string &text) { return json::fixUTF8(text); }

static const char *fillName(StageArgument::Fill fill) {
  static const char *const names[] = {"normal", "row_token", "output"};
  return names[unsigned(fill)];
}

static void writeArguments(json::OStream &os, const StageLayout &layout) {
  os.attributeArray("arguments", [&] {
    for (const StageArgument &argument : listArgs(layout.arguments))
      os.object([&] {
        os.attribute("fill", fillName(argument.fill));
        os.attribute("bytes", argument.bytes);
        os.attribute("type", std::string(dataTypeName(argument.type)));
        os.attribute("seed", int64_t(argument.seed));
      });
  });
}

static void writeCandidates(json::OStream &os, const BundleRange &range, const BundleOptions &options) {
  const ScheduleEntry &standard = range.candidates.front().entry;
  std::string standardText = candidateText(standard);
  os.attributeArray("candidates", [&] {
    for (const BundleCandidate &candidate : range.candidates)
      os.object([&] {
        std::string text = candidateText(candidate.entry);
        os.attribute("kernel", text);
        if (std::string hash = overlayHash(text, /*cuda=*/false, options.space.templatesDir); !hash.empty())
          os.attribute("template", hash);
        os.attribute("changes", changesText(standardText, text, /*cuda=*/false, options.space.templatesDir));
        if (candidate.failed.empty())
          os.attribute("function", candidate.function);
        else
          os.attribute("failed", fixed(candidate.failed));
        os.attribute("panel_m", candidate.entry.kernel.integers.at("panel_m"));
        os.attribute("same_bits", haveSameBits(candidate.entry.numeric, standard.numeric));
      });
  });
}

// A record of the range, up to its member "machine".
static std::string headOf(TuneRecord record, TuneRecord::Kind kind) {
  record.kind = kind;
  std::string text = printTuneRecord(record);
  return text.substr(0, text.find("\"machine\":"));
}

static std::string stampOf(const TuneRecord &record) {
  std::string text = printTuneRecord(record), date = "\"date\":\"";
  size_t begin = text.find("\"stamp\":");
  return text.substr(begin, text.find(date, begin) + date.size() - begin);
}

void writeRecordHeads(json::OStream &os, TuneRecord record) {
  os.attribute("head", fixed(headOf(record, TuneRecord::Measurement)));
  os.attribute("choice_head", fixed(headOf(record, TuneRecord::Choice)));
}

void writeBundleHead(json::OStream &os, const TuneRecord &stamp, double minimumGain) {
  os.attribute("moec_bundle", 1);
  os.attribute("name", stamp.stage.layer);
  os.attribute("moec", stamp.stamp.moec);
  os.attribute("stamp", stampOf(stamp));
  os.attribute("tokens", stageTokens);
  os.attribute("minimum_gain_ppm", int64_t(minimumGain * 1e6 + 0.5));
}

static void writeRange(json::OStream &os, const BundleStage &stage, const BundleRange &range,
                       const BundleOptions &options) {
  const ScheduleEntry &standard = stage.schedule.entries[range.rows.entry];
  TuneRecord record = options.stamp;
  record.stage = tuneStageOf(stage.facts(), options.stamp.stage.spec, options.stamp.stage.layer);
  record.target = targetOf(stage.schedule.isa);
  record.rows = {standard.firstRow, standard.lastRow};
  record.routing = options.routing.name;
  record.machine = {};
  os.object([&] {
    os.attribute("class", classText(record.rows));
    os.attribute("rows", range.rows.rows);
    writeNumbers(os, "checked", range.rows.checked);
    writeRecordHeads(os, record);
    os.attribute("library", range.library.path);
    os.attribute("library_bytes", int64_t(range.library.bytes.size()));
    os.attribute("library_hash", bundleHash(range.library.bytes));
    if (!range.reference.empty())
      os.attribute("reference", range.reference);
    writeCandidates(os, range, options);
  });
}

static void writeStage(json::OStream &os, const BundleStage &stage, const BundleOptions &options) {
  const MatmulStage &facts = stage.facts();
  os.object([&] {
    os.attribute("stage", stage.schedule.stage);
    os.attribute("isa", isaFacts(stage.schedule.isa).name);
    os.attribute("n", facts.n);
    os.attribute("groups", stage.layout.groups);
    os.attribute("panels", facts.panels);
    os.attribute("panel_bytes", facts.panelBytes);
    os.attribute("panel_flops", 2 * facts.columnsPerPanel() * facts.parts * facts.k);
    os.attribute("item_panels", stage.layout.itemPanels);
    os.attribute("max_rows", stage.layout.maxRows);
    os.attribute("total_rows", stage.layout.totalRows);
    os.attribute("out_stride", facts.outStride);
    os.attribute("out_type", std::string(dataTypeName(DataType(facts.result))));
    os.attribute("scratch_bytes", stage.scratchBytes);
    writeArguments(os, stage.layout);
    os.attributeArray("ranges", [&] {
      for (const BundleRange &range : stage.ranges)
        writeRange(os, stage, range, options);
    });
  });
}

std::string bundleText(const TuneBundle &bundle, const BundleOptions &options) {
  std::string text;
  raw_string_ostream stream(text);
  json::OStream os(stream, 1);
  os.object([&] {
    writeBundleHead(os, options.stamp, options.minimumGain);
    os.attributeArray("stages", [&] {
      for (const BundleStage &stage : bundle.stages)
        writeStage(os, stage, options);
    });
  });
  stream << "\n";
  return text;
}

} // namespace moec
