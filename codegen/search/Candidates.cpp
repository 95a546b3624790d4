// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every choice is tried on a copy of the entry; checkEntry decides what is legal, so that no rule is written twice.

#include "codegen/search/Candidates.h"

#include "codegen/TemplateFiles.h"
#include "codegen/schedule/CpuSchedule.h"

#include "llvm/ADT/STLExtras.h"

#include <functional>
#include <set>

namespace moec {

CandidateSpace candidateSpace(const std::string &templatesDir, bool otherNumerics) {
  CandidateSpace space;
  space.templatesDir = templatesDir;
  space.otherNumerics = otherNumerics;
  for (const std::string &name : templateNames(templatesDir, "kernels")) {
    Result<std::optional<TemplateText>> text = readTemplate(templatesDir, "kernels/" + name + ".mlir");
    if (text && *text && llvm::StringRef((*text)->text).contains("for(cpu)"))
      space.names.push_back(name);
  }
  return space;
}

namespace {

class Neighbours {
public:
  Neighbours(const MatmulStage &stage, Isa isa, const ScheduleEntry &from, int64_t rows, int64_t mostRows,
             const CandidateSpace &space)
      : stage(stage), isa(isa), from(from), rows(rows), mostRows(mostRows), space(space) {
    seen.insert(textOf(from));
  }

  std::vector<ScheduleEntry> run() {
    kernels();
    heights();
    walks();
    auto value = [&](const char *name) { return from.kernel.integers.count(name) != 0; };
    int64_t steps = (stage.k + from.kernel.integers.at("block_k") - 1) / from.kernel.integers.at("block_k");
    for (int64_t block = 2; block <= 128 && value("prefetch_block"); ++block)
      if (steps % block == 0)
        integer("prefetch_block", block);
    for (int64_t streams : {1, 2, 4, 8})
      integer("streams", streams);
    for (int64_t share : {1, 2, 3, 4})
      integer("share", share);
    for (int64_t chunk : {8, 16, 32, 64})
      integer("chunk", chunk);
    for (int64_t depth : {4, 8})
      integer("block_k", depth);
    for (const char *hint : {"none", "nta"})
      if (from.kernel.words.count("a_hint"))
        add([&](ScheduleEntry &e) { e.kernel.words["a_hint"] = hint; });
    for (const char *hint : {"none", "nta"})
      if (from.kernel.words.count("out_hint"))
        add([&](ScheduleEntry &e) { e.kernel.words["out_hint"] = hint; });
    for (llvm::StringRef numeric : numericNames)
      if (space.otherNumerics || haveSameBits(numeric, from.numeric))
        add([&](ScheduleEntry &e) { e.numeric = numeric.str(); });
    return std::move(found);
  }

private:
  // Equal for entries of equal code. Without prefetches it does not matter how they would be spread.
  static std::string textOf(const ScheduleEntry &entry) {
    ScheduleEntry any = entry;
    any.firstRow = 1, any.lastRow = -1;
    if (auto hint = any.kernel.words.find("hint"); hint != any.kernel.words.end() && hint->second == "none")
      for (const char *name : {"prefetch_block", "streams", "share"})
        if (auto value = any.kernel.integers.find(name); value != any.kernel.integers.end())
          value->second = 1;
    return printSchedule({"l", {{"s", Isa::Baseline, {any}}}});
  }

  void add(const std::function<void(ScheduleEntry &)> &change) {
    ScheduleEntry entry = from;
    change(entry);
    if (entry.kernel.integers.at("panel_m") < rows || !checkEntry(stage, isa, entry, space.templatesDir))
      return;
    if (seen.insert(textOf(entry)).second)
      found.push_back(std::move(entry));
  }

  void integer(const char *name, int64_t value) {
    if (from.kernel.integers.count(name))
      add([&](ScheduleEntry &e) { e.kernel.integers[name] = value; });
  }

  // Another kernel keeps the parameters that it has too and takes its own defaults for the others.
  void kernels() {
    for (const std::string &name : space.names)
      add([&](ScheduleEntry &e) {
        Result<std::optional<TemplateText>> text = readTemplate(space.templatesDir, "kernels/" + name + ".mlir");
        if (!text || !*text)
          return;
        TemplateBinding other = {name, {}, {}};
        for (const TemplateParameter &parameter : templateParameters((*text)->text)) {
          std::string key = parameter.name.substr(1);
          ParameterKind kind = parameterKind(parameter);
          int64_t number = 0;
          if (kind == ParameterKind::Integer && defaultInteger(parameter, number)) {
            auto kept = from.kernel.integers.find(key);
            other.integers[key] = kept == from.kernel.integers.end() ? number : kept->second;
          } else if (kind == ParameterKind::Word) {
            auto kept = from.kernel.words.find(key);
            other.words[key] = kept == from.kernel.words.end() ? defaultWord(parameter) : kept->second;
          }
        }
        e.kernel = std::move(other);
      });
  }

  void heights() {
    for (int64_t height = 1; height <= 48; ++height) {
      int64_t padded = (rows + height - 1) / height * height;
      if (padded - rows > std::max<int64_t>(1, rows / 8) && height != from.kernel.integers.at("block_m"))
        continue;
      add([&](ScheduleEntry &e) {
        e.kernel.integers["block_m"] = height;
        e.kernel.integers["panel_m"] = (mostRows + height - 1) / height * height;
      });
    }
  }

  void walks() {
    for (int64_t tiles : {1, 2})
      for (const char *hint : {"none", "t0", "t1", "nta"})
        if (from.kernel.words.count("hint"))
          add([&](ScheduleEntry &e) {
            if (e.kernel.integers.count("tiles"))
              e.kernel.integers["tiles"] = tiles;
            e.kernel.words["hint"] = hint;
          });
  }

  const MatmulStage &stage;
  Isa isa;
  const ScheduleEntry &from;
  int64_t rows, mostRows;
  const CandidateSpace &space;
  std::set<std::string> seen;
  std::vector<ScheduleEntry> found;
};

} // namespace

std::vector<ScheduleEntry> neighbours(const MatmulStage &stage, Isa isa, const ScheduleEntry &from, int64_t rows,
                                      int64_t mostRows, const CandidateSpace &space) {
  return Neighbours(stage, isa, from, rows, mostRows, space).run();
}

size_t countChanges(const ScheduleEntry &from, const ScheduleEntry &to) {
  size_t count = (from.kernel.templateName != to.kernel.templateName) + (from.numeric != to.numeric);
  auto add = [&](const auto &a, const auto &b) {
    for (const auto &[key, value] : a) {
      auto other = b.find(key);
      count += key != "panel_m" && (other == b.end() || other->second != value);
    }
    for (const auto &[key, value] : b)
      count += key != "panel_m" && !a.count(key);
  };
  add(from.kernel.integers, to.kernel.integers);
  add(from.kernel.words, to.kernel.words);
  return count;
}

std::optional<ScheduleEntry> heuristicEntry(const MatmulStage &stage, Isa isa, const ScheduleEntry &from, int64_t rows,
                                            int64_t mostRows, const CandidateSpace &space) {
  StageSchedule usual = cpuSchedule(stage, isa);
  ScheduleEntry entry = usual.entries[usual.entryFor(rows)];
  entry.firstRow = from.firstRow, entry.lastRow = from.lastRow;
  int64_t height = entry.kernel.integers["block_m"];
  entry.kernel.integers["panel_m"] = (mostRows + height - 1) / height * height;
  bool fits = space.otherNumerics || haveSameBits(entry.numeric, from.numeric);
  return fits && checkEntry(stage, isa, entry, space.templatesDir) ? std::optional(entry) : std::nullopt;
}

} // namespace moec
