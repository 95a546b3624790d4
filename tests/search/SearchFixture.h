// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Test fixture: the JSON of a small layer -> its stages for one instruction set, and options for a quick search whose
// records are kept in memory.

#ifndef MOEC_TESTS_SEARCH_SEARCHFIXTURE_H
#define MOEC_TESTS_SEARCH_SEARCHFIXTURE_H

#include "codegen/search/TuneSearch.h"

#include "codegen/CompileOptions.h"
#include "codegen/emit/Manifest.h"
#include "codegen/tune/TuneAudit.h"
#include "codegen/tune/TuneCandidate.h"

#include "dsl/spec/SpecReader.h"
#include "runtime/moec.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

namespace moec {

inline std::string smallLayer(const std::string &dtype, int hidden = 64, int intermediate = 96) {
  return R"({"moec": 1, "name": "small", "dtype": ")" + dtype + R"(", "hidden": )" + std::to_string(hidden) +
         R"(, "router": {"top_k": 2, "normalize": {"kind": "sum"}}, "experts": {"count": 4, "intermediate": )" +
         std::to_string(intermediate) + "}}";
}

class SearchFixture {
public:
  explicit SearchFixture(const std::string &json, Isa isa = Isa::Avx2, const std::string &templatesDir = "",
                         const std::string &schedule = "") {
    SpecSource source;
    DiagnosticList problems;
    auto read = readSpec(json, "small.json", {}, source, problems);
    if (!read) {
      ADD_FAILURE() << "the layer is not valid";
      return;
    }
    spec = *read;
    input.spec = &spec;
    options.isas = IsaSet::of(isa);
    options.templatesDir = templatesDir;
    options.scheduleText = schedule;
    options.scheduleName = "test.schedule";
    std::vector<Diagnostic> errors;
    compiler = StageCompiler::make(input, options, errors);
    for (const Diagnostic &error : errors)
      ADD_FAILURE() << error.placedMessage();
    search.stamp.stage.spec = std::string(64, 'a');
    search.stamp.stage.layer = "small";
    search.stamp.machine.cpu = thisCpu();
    search.stamp.stamp = currentStamp(moecVersion());
    search.space = candidateSpace(templatesDir, false);
    search.ceilings = {1e6, 1e6}; // small weights come from caches: no time is too short
    search.rounds = 6, search.pairs = 7;
    search.coldBytes = 1 << 20;
    search.expired = [] { return false; };
    search.remember = [this](const TuneRecord &record) -> Result<> {
      records.push_back(record);
      return {};
    };
  }

  size_t stepOf(const std::string &stage) const {
    for (size_t step = 0; step < compiler->stages().size(); ++step)
      if (compiler->stages()[step].name == stage)
        return step;
    ADD_FAILURE() << "no stage " << stage;
    return 0;
  }
  const StageSchedule &scheduleOf(const std::string &stage) const {
    for (const StageSchedule &schedule : compiler->schedule().stages)
      if (schedule.stage == stage)
        return schedule;
    ADD_FAILURE() << "no schedule of " << stage;
    return compiler->schedule().stages.front();
  }
  std::unique_ptr<StageSearch> start(const std::string &stage) {
    return std::make_unique<StageSearch>(*compiler, stepOf(stage), scheduleOf(stage), search, earlier);
  }

  // What `moec tunedb verify` says of the records.
  std::vector<std::string> problems() const {
    TuneSet set;
    TuneFile file;
    file.path = "memory.jsonl";
    for (const TuneRecord &record : records) {
      Result<TuneRecord> read = parseTuneRecord(printTuneRecord(record));
      if (!read)
        return {read.error().message};
      file.records.push_back({*read, file.records.size() + 1});
    }
    set.add(std::move(file), TuneSource::User);
    std::vector<std::string> messages;
    for (const Diagnostic &problem : auditRecords(set, search.space.templatesDir))
      messages.push_back(problem.message);
    return messages;
  }

  LayerSpec spec;
  CompileInput input;
  CompileOptions options;
  std::unique_ptr<StageCompiler> compiler;
  SearchOptions search;
  std::vector<TuneRecord> earlier, records;
};

inline bool machineHas(Isa isa) { return moec_cpu_isa() >= int(isa); }

// templates/kernels/panel.mlir as NAME, with parts of its text replaced, in a folder that is removed at the end.
class Overlay {
public:
  Overlay() {
    std::string form = (std::filesystem::temp_directory_path() / "moec-search-XXXXXX").string();
    if (const char *made = mkdtemp(form.data()))
      path = made;
    std::filesystem::create_directories(path + "/kernels");
  }
  ~Overlay() {
    std::error_code ignored;
    if (!path.empty())
      std::filesystem::remove_all(path, ignored);
  }
  void add(const std::string &name, const std::vector<std::pair<std::string, std::string>> &changes) {
    std::ostringstream read;
    read << std::ifstream(MOEC_SOURCE_DIR "/templates/kernels/panel.mlir").rdbuf();
    std::string text = read.str();
    auto replace = [&](const std::string &from, const std::string &to) {
      size_t at = text.find(from);
      ASSERT_NE(at, std::string::npos) << from;
      text.replace(at, from.size(), to);
    };
    replace("tile.kernel @panel ", "tile.kernel @" + name + " ");
    for (const auto &[from, to] : changes)
      replace(from, to);
    std::ofstream(path + "/kernels/" + name + ".mlir") << text;
  }

  std::string path;
};

} // namespace moec

#endif
