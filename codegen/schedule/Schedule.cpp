// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Legality of schedule entries: a template's parameter block and the facts of a stage in -> which of S1 to S6 is
// violated.

#include "codegen/schedule/Schedule.h"

#include "codegen/moe/TemplateFiles.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"

#include <algorithm>
#include <optional>

namespace moec {

size_t StageSchedule::entryFor(int64_t rows) const {
  for (size_t i = 0; i < entries.size(); ++i)
    if (rows >= entries[i].firstRow && (entries[i].lastRow < 0 || rows <= entries[i].lastRow))
      return i;
  return entries.size();
}

const StageSchedule *Schedule::find(llvm::StringRef stage, Isa isa) const {
  for (const StageSchedule &schedule : stages)
    if (stage == schedule.stage && isa == schedule.isa)
      return &schedule;
  return nullptr;
}

std::string rowRangeText(const ScheduleEntry &entry) {
  return std::to_string(entry.firstRow) + ".." + (entry.lastRow < 0 ? "" : std::to_string(entry.lastRow));
}

ParameterKind parameterKind(const TemplateParameter &parameter) {
  if (!parameter.formula.empty())
    return ParameterKind::Derived;
  llvm::StringRef value = parameter.value;
  if (parameter.name[0] == '#' && value.starts_with("#tile.hint<"))
    return ParameterKind::Word;
  if (parameter.name[0] == '#' && value.ends_with("index"))
    return ParameterKind::Integer;
  return ParameterKind::Stage;
}

bool defaultInteger(const TemplateParameter &parameter, int64_t &out) {
  return !llvm::StringRef(parameter.value).split(':').first.trim().getAsInteger(10, out);
}

std::string defaultWord(const TemplateParameter &parameter) {
  llvm::StringRef value = parameter.value;
  value.consume_front("#tile.hint<");
  return value.take_until([](char c) { return c == '>'; }).str();
}

bool isHintWord(llvm::StringRef word) { return word == "none" || word == "t0" || word == "t1" || word == "nta"; }

int64_t packedRowBytes(const StageFacts &facts, llvm::StringRef numeric, int64_t blockK) {
  int64_t padded = (facts.k + blockK - 1) / blockK * blockK;
  return numeric == "amx" ? padded * 2 : (padded * 4 + 63) / 64 * 64 + 64;
}

namespace {

class EntryChecker {
public:
  EntryChecker(const StageFacts &facts, Isa isa, const ScheduleEntry &entry, std::string &error)
      : facts(facts), isa(isa), entry(entry), error(error) {}

  bool run(llvm::StringRef templatesDir) {
    return readParameters(templatesDir) && checkNames() && bindValues() && checkAllowed() && checkRows() &&
           checkNumeric() && checkRegisters() && checkPrefetch() && checkScratch();
  }

private:
  bool fail(llvm::StringRef label, const std::string &message) {
    error = entryPlaceText(facts.stage, isa, entry) +
            label.str() + ": " + message;
    return false;
  }
  std::string quoted() const { return "template '" + entry.kernel.templateName + "'"; }
  static std::string text(int64_t value) { return std::to_string(value); }

  bool readParameters(llvm::StringRef templatesDir);
  bool checkNames();
  bool bindValues();
  bool checkAllowed();
  bool checkAllowedInteger(const TemplateParameter &parameter, llvm::StringRef allowed);
  bool checkRows();
  bool checkNumeric();
  bool checkRegisters();
  bool checkPrefetch();
  bool checkScratch();

  const StageFacts &facts;
  Isa isa;
  const ScheduleEntry &entry;
  std::string &error;

  std::vector<TemplateParameter> parameters;
  std::vector<std::string> allowed;      // per parameter: its comment up to the ':'
  std::map<std::string, int64_t> values; // integers and derived parameters by name, and n, k, parts
  std::map<std::string, std::string> words;
};

bool EntryChecker::readParameters(llvm::StringRef templatesDir) {
  std::string why;
  auto source = readTemplate(templatesDir, "kernels/" + entry.kernel.templateName + ".mlir", why);
  if (!source)
    return fail("S1", why.empty() ? "there is no kernel " + quoted() : why);
  parameters = templateParameters(source->text);
  for (const TemplateParameter &parameter : parameters) {
    llvm::StringRef rest = llvm::StringRef(source->text).drop_front(parameter.end);
    llvm::StringRef comment = rest.take_until([](char c) { return c == '\n'; }).split("//").second;
    allowed.push_back(comment.take_until([](char c) { return c == ':'; }).trim().str());
  }
  return true;
}

// What is set must be settable, and the parameters this check reasons with must exist.
bool EntryChecker::checkNames() {
  auto kindOf = [&](const std::string &name) -> std::optional<ParameterKind> {
    for (const TemplateParameter &parameter : parameters)
      if (parameter.name.substr(1) == name)
        return parameterKind(parameter);
    return std::nullopt;
  };
  auto check = [&](const std::string &name, ParameterKind wanted) {
    auto kind = kindOf(name);
    if (!kind)
      return fail("S1", quoted() + " has no parameter '" + name + "'");
    if (*kind == ParameterKind::Derived || *kind == ParameterKind::Stage)
      return fail("S1", "parameter '" + name + "' of " + quoted() + " follows from the stage and cannot be set");
    if (*kind != wanted)
      return fail("S1", "parameter '" + name + "' of " + quoted() + " takes " +
                            (*kind == ParameterKind::Integer ? "an integer" : "one of none, t0, t1, nta"));
    return true;
  };
  for (const auto &[name, value] : entry.kernel.integers)
    if (!check(name, ParameterKind::Integer))
      return false;
  for (const auto &[name, word] : entry.kernel.words)
    if (!check(name, ParameterKind::Word))
      return false;
  for (const char *name : {"block_m", "panel_m", "block_k"})
    if (kindOf(name) != ParameterKind::Integer)
      return fail("S1", quoted() + " has no integer parameter '" + name + "', which a schedule needs");
  return true;
}

// The value every parameter will have: the entry's, its formula's, else the template's default.
bool EntryChecker::bindValues() {
  if (facts.n < 1 || facts.k < 1 || facts.n > INT32_MAX || facts.k > INT32_MAX)
    return fail("S1", "a stage of " + text(facts.n) + " columns and depth " + text(facts.k) +
                          " cannot be scheduled, expected both in 1..2147483647");
  values = {{"n", facts.n}, {"k", facts.k}, {"parts", facts.parts}};
  for (const TemplateParameter &parameter : parameters) {
    std::string name = parameter.name.substr(1), why;
    int64_t value = 0;
    switch (parameterKind(parameter)) {
    case ParameterKind::Stage:
      continue;
    case ParameterKind::Word: {
      auto it = entry.kernel.words.find(name);
      words[name] = it != entry.kernel.words.end() ? it->second : defaultWord(parameter);
      continue;
    }
    case ParameterKind::Derived:
      if (!evaluateFormula(parameter.formula, values, value, why))
        return fail("S1",
                    "formula '" + parameter.formula + "' of parameter '" + name + "' of " + quoted() + ": " + why);
      break;
    case ParameterKind::Integer:
      if (auto it = entry.kernel.integers.find(name); it != entry.kernel.integers.end())
        value = it->second;
      else if (!defaultInteger(parameter, value))
        return fail("S1", "default '" + parameter.value + "' of parameter '" + name + "' of " + quoted() +
                              " is not an integer");
      if (value < 1 || value > maxScheduleInteger)
        return fail("S1", name + " is " + text(value) + ", expected 1..1000000");
    }
    values[name] = value;
  }
  return true;
}

// "{1, 2, 4}" -> its items; nullopt where the comment is not a list.
std::optional<llvm::SmallVector<llvm::StringRef>> listItems(llvm::StringRef allowed) {
  if (!allowed.consume_front("{") || !allowed.consume_back("}") || allowed.contains(".."))
    return std::nullopt;
  llvm::SmallVector<llvm::StringRef> items;
  allowed.split(items, ',');
  for (llvm::StringRef &item : items)
    item = item.trim();
  return items;
}

bool EntryChecker::checkAllowedInteger(const TemplateParameter &parameter, llvm::StringRef set) {
  std::string name = parameter.name.substr(1);
  int64_t value = values[name];
  std::string found = name + " is " + text(value) + ", expected ";
  if (auto items = listItems(set)) {
    if (!llvm::is_contained(*items, text(value)))
      return fail("S1", found + "one of " + set.str());
    return true;
  }
  llvm::StringRef body = set;
  if (body.consume_front("{") && body.consume_back("}")) {
    auto [low, high] = body.split("..");
    int64_t first, last;
    if (low.trim().getAsInteger(10, first) || high.trim().getAsInteger(10, last))
      return fail("S1", "the allowed set '" + set.str() + "' of parameter '" + name + "' of " + quoted() +
                            " is neither {a, b, ...} nor {a .. b}");
    if (value < first || value > last)
      return fail("S1", found + text(first) + ".." + text(last));
    return true;
  }
  if (body = set; body.consume_front("multiple of ")) {
    auto base = values.find(body.trim().str());
    if (base == values.end() || base->second < 1)
      return fail("S1", "the comment of parameter '" + name + "' of " + quoted() + " names '" + body.trim().str() +
                            "', which is not a parameter above it");
    if (value % base->second)
      return fail("S1", found + "a multiple of " + base->first + " (" + text(base->second) + ")");
  }
  return true;
}

// S1. A comment that is none of the three forms is prose and restricts nothing.
bool EntryChecker::checkAllowed() {
  for (size_t i = 0; i < parameters.size(); ++i) {
    std::string name = parameters[i].name.substr(1);
    ParameterKind kind = parameterKind(parameters[i]);
    if (kind == ParameterKind::Integer && !checkAllowedInteger(parameters[i], allowed[i]))
      return false;
    if (kind != ParameterKind::Word)
      continue;
    auto items = listItems(allowed[i]);
    if (!isHintWord(words[name]) || (items && !llvm::is_contained(*items, words[name])))
      return fail("S1", name + " is " + words[name] + ", expected one of " +
                            (items ? allowed[i] : std::string("{none, t0, t1, nta}")));
  }
  return true;
}

bool EntryChecker::checkRows() {
  bool open = entry.lastRow < 0;
  int64_t needed = open ? entry.firstRow : entry.lastRow;
  if (entry.firstRow < 1 || needed < entry.firstRow)
    return fail("S2", "the row range is empty or does not start at 1 or above");
  if (values["panel_m"] < needed)
    return fail("S2", "panel_m is " + text(values["panel_m"]) + ", expected at least " + text(needed) + ", the " +
                          (open ? "first" : "last") + " row of the entry");
  return true;
}

bool EntryChecker::checkNumeric() {
  int64_t block = values["block_m"], depth = values["block_k"];
  if (entry.numeric != "amx" && entry.numeric != "fma")
    return fail("S3", "numeric is '" + entry.numeric + "', expected amx or fma");
  if (facts.bf16Weight && depth != 32)
    return fail("S3", "block_k is " + text(depth) + ", expected 32 for bf16 weights");
  if (!facts.bf16Weight && depth != 4 && depth != 8)
    return fail("S3", "block_k is " + text(depth) + ", expected 4 or 8 for f32 weights");
  if (entry.numeric != "amx")
    return true;
  if (isa != Isa::Amx)
    return fail("S3", "numeric amx needs instruction set amx, found " + isaFacts(isa).name.str());
  if (!facts.bf16Input || !facts.bf16Weight)
    return fail("S3", std::string("numeric amx needs bf16 input and bf16 weights, found ") +
                          (facts.bf16Input ? "bf16" : "f32") + " input and " + (facts.bf16Weight ? "bf16" : "f32") +
                          " weights");
  // 48 rows are 3 pairs of tiles and leave two of the eight registers for A and B
  if (block > 48 || (block > 16 && block % 16))
    return fail("S3", "block_m is " + text(block) + ", expected up to 16, 32 or 48 for numeric amx");
  return true;
}

// The multiply keeps either one row's worth of B or a column of A beside the accumulators, and one operand in flight.
bool EntryChecker::checkRegisters() {
  if (entry.numeric == "amx")
    return true;
  const IsaFacts &machine = isaFacts(isa);
  int64_t block = values["block_m"], vectors = 32 / machine.lanes;
  int64_t needed = block * vectors + std::min(block, vectors) + 1;
  if (needed > int64_t(machine.registers))
    return fail("S4", "block_m " + text(block) + " needs " + text(needed) + " vector registers, " + machine.name.str() +
                          " has " + text(machine.registers));
  return true;
}

bool EntryChecker::checkPrefetch() {
  auto block = values.find("prefetch_block"), steps = values.find("k_steps"), streams = values.find("streams");
  if (block != values.end() && steps != values.end() && steps->second > 0 && steps->second % block->second &&
      block->second % steps->second)
    return fail("S5", "prefetch_block is " + text(block->second) + ", expected a divisor or a multiple of k_steps (" +
                          text(steps->second) + ")");
  int64_t lines = values["block_k"] * 32 * facts.weightBytes() / 64;
  if (streams != values.end() && streams->second > lines)
    return fail("S5", "streams is " + text(streams->second) + ", expected at most " + text(lines) +
                          ", the cache lines of a step");
  return true;
}

bool EntryChecker::checkScratch() {
  int64_t bytes = values["panel_m"] * packedRowBytes(facts, entry.numeric, values["block_k"]);
  if (bytes > maxPackedBytes)
    return fail("S6", "panel_m " + text(values["panel_m"]) + " packs " + text(bytes) +
                          " bytes of A, expected at most " + text(maxPackedBytes));
  return true;
}

} // namespace

std::string entryPlaceText(llvm::StringRef stage, Isa isa, const ScheduleEntry &entry) {
  return "stage " + stage.str() + " " + isaFacts(isa).name.str() + " rows " + rowRangeText(entry) + ": ";
}

bool checkEntry(const StageFacts &facts, Isa isa, const ScheduleEntry &entry, std::string &error,
                llvm::StringRef templatesDir) {
  return EntryChecker(facts, isa, entry, error).run(templatesDir);
}

bool checkStage(const StageFacts &facts, const StageSchedule &schedule, std::string &error,
                llvm::StringRef templatesDir) {
  std::string where = "stage " + schedule.stage + " " + isaFacts(schedule.isa).name.str() + ": ";
  if (schedule.entries.empty() || schedule.entries.size() > maxScheduleEntries) {
    error =
        where + std::to_string(schedule.entries.size()) + " entries, expected 1.." + std::to_string(maxScheduleEntries);
    return false;
  }
  int64_t next = 1;
  for (const ScheduleEntry &entry : schedule.entries) {
    bool last = &entry == &schedule.entries.back();
    if (entry.firstRow != next || (entry.lastRow < 0) != last) {
      error = where + "found rows " + rowRangeText(entry) + ", expected a range from " + std::to_string(next) +
              (last ? " with an open end" : " with a last row");
      return false;
    }
    if (!checkEntry(facts, schedule.isa, entry, error, templatesDir))
      return false;
    next = entry.lastRow + 1;
  }
  return true;
}

} // namespace moec
