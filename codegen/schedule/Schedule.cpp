// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Legality of schedule entries: the values of a template's parameters and the facts of a stage in -> which of S1 to S6
// is violated.

#include "codegen/schedule/Schedule.h"

#include <algorithm>

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

const CudaStage *Schedule::find(llvm::StringRef stage, CudaArch arch) const {
  for (const CudaStage &schedule : cudaStages)
    if (stage == schedule.stage && arch == schedule.arch)
      return &schedule;
  return nullptr;
}

const CudaFrontEntry *Schedule::findFront(CudaArch arch) const {
  for (const CudaFrontEntry &front : fronts)
    if (arch == front.arch)
      return &front;
  return nullptr;
}

std::string rowRangeText(const ScheduleEntry &entry) {
  return std::to_string(entry.firstRow) + ".." + (entry.lastRow < 0 ? "" : std::to_string(entry.lastRow));
}

const std::array<llvm::StringRef, 3> numericNames = {"amx", "dot", "fma"};

bool haveSameBits(llvm::StringRef numeric, llvm::StringRef other) { return (numeric == "amx") == (other == "amx"); }

int64_t packedRowBytes(const MatmulStage &facts, llvm::StringRef numeric, int64_t blockK) {
  int64_t padded = (facts.k + blockK - 1) / blockK * blockK;
  if (numeric == "amx")
    return padded * 2;
  return (padded * (numeric == "dot" ? 2 : 4) + 63) / 64 * 64 + 64;
}

// How an error of an entry begins: "stage ffn_up amx rows 1..4: ".
static std::string entryPlaceText(llvm::StringRef stage, Isa isa, const ScheduleEntry &entry) {
  return "stage " + stage.str() + " " + isaFacts(isa).name.str() + " rows " + rowRangeText(entry) + ": ";
}

namespace {

class EntryChecker {
public:
  EntryChecker(const MatmulStage &facts, Isa isa, const ScheduleEntry &entry) : facts(facts), isa(isa), entry(entry) {}

  Result<> run(llvm::StringRef templatesDir) {
    bool good = bind(templatesDir) && checkRows() && checkNumeric() && checkRegisters() && checkPrefetch() &&
                checkScratch() && checkStores();
    return good ? Result<>() : std::move(error);
  }

private:
  bool fail(llvm::StringRef label, const std::string &message) {
    error = Diagnostic::error("E-SCHEDULE", entryPlaceText(facts.name, isa, entry) + label.str() + ": " + message);
    error.setPlace(entry.place);
    return false;
  }
  static std::string text(int64_t value) { return std::to_string(value); }

  bool bind(llvm::StringRef templatesDir) {
    auto bound = bindTemplateValues(entry.kernel, facts, {"block_m", "panel_m", "block_k"}, templatesDir);
    if (!bound)
      return fail("S1", bound.error().placedMessage());
    values = std::move(*bound);
    return true;
  }
  bool checkRows();
  bool checkNumeric();
  bool checkRegisters();
  bool checkPrefetch();
  bool checkScratch();
  bool checkStores();

  const MatmulStage &facts;
  Isa isa;
  const ScheduleEntry &entry;

  Diagnostic error;                      // why a check was false
  std::map<std::string, int64_t> values; // integers and derived parameters by name, and n, k, parts
};

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
  bool amx = entry.numeric == "amx", dot = entry.numeric == "dot";
  if (!llvm::is_contained(numericNames, entry.numeric))
    return fail("S3", "numeric is '" + entry.numeric + "', expected amx, dot or fma");
  if (facts.weightBytes() == 2 && depth != 32)
    return fail("S3", "block_k is " + text(depth) + ", expected 32 for bf16 weights");
  if (facts.weightBytes() != 2 && depth != 4 && depth != 8)
    return fail("S3", "block_k is " + text(depth) + ", expected 4 or 8 for f32 weights");
  if (!amx && !dot)
    return true;
  if (amx ? isa != Isa::Amx : !isaFacts(isa).bf16Dot)
    return fail("S3", "numeric " + entry.numeric + " needs instruction set " + (amx ? "" : "avx512_bf16 or ") +
                          "amx, found " + isaFacts(isa).name.str());
  if (!facts.bf16Pairs())
    return fail("S3", "numeric " + entry.numeric + std::string(" needs bf16 input and bf16 weights, found ") +
                          (facts.inputBytes() == 2 ? "bf16" : "f32") + " input and " +
                          (facts.weightBytes() == 2 ? "bf16" : "f32") + " weights");
  // 48 rows are 3 pairs of tiles and leave two of the eight registers for A and B
  if (amx && values.count("heights") && values["heights"] != 1)
    return fail("S3", "heights is " + text(values["heights"]) + ", expected 1 for numeric amx");
  if (amx && (block > 48 || (block > 16 && block % 16)))
    return fail("S3", "block_m is " + text(block) + ", expected up to 16, 32 or 48 for numeric amx");
  return true;
}

// The multiply keeps either one row's worth of B or a column of A beside the accumulators, and one operand in flight.
bool EntryChecker::checkRegisters() {
  if (entry.numeric == "amx")
    return true;
  if (values["block_m"] < 2 && values.count("heights") && values["heights"] != 1)
    return fail("S4", "heights is " + text(values["heights"]) + ", expected 1 for blocks of one row");
  const IsaFacts &machine = isaFacts(isa);
  int64_t block = values["block_m"], vectors = 32 / machine.lanes;
  int64_t needed = block * vectors + (entry.numeric == "dot" ? vectors : std::min(block, vectors)) + 1;
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

// Half a line past the caches costs a read of memory for the other half.
bool EntryChecker::checkStores() {
  auto hint = entry.kernel.words.find("out_hint");
  int64_t columns = facts.columnsPerPanel(), bytes = columns * moec_dtype_bytes(facts.result);
  if (hint == entry.kernel.words.end() || hint->second != "nta" ||
      (bytes % 64 == 0 && facts.n % columns == 0 && facts.outStride % 64 == 0))
    return true;
  return fail("S7", "out_hint is nta, expected none: a panel writes " + text(columns) + " of " + text(facts.n) +
                        " columns, " + text(bytes) + " bytes, and rows are " + text(facts.outStride) +
                        " bytes apart, which is not in whole lines of 64 bytes");
}

} // namespace

Result<> checkEntry(const MatmulStage &facts, Isa isa, const ScheduleEntry &entry, llvm::StringRef templatesDir) {
  return EntryChecker(facts, isa, entry).run(templatesDir);
}

Result<> checkOneNumeric(const StageSchedule &schedule) {
  const std::string &first = schedule.entries.front().numeric;
  for (const ScheduleEntry &entry : schedule.entries)
    if (!haveSameBits(entry.numeric, first)) {
      Diagnostic error =
          Diagnostic::error("E-SCHEDULE", entryPlaceText(schedule.stage, schedule.isa, entry) + "numeric " +
                                              entry.numeric + " after " + schedule.entries.front().numeric +
                                              ": with --det batch all entries of a stage use amx, or none does");
      error.setPlace(entry.place);
      return error;
    }
  return {};
}

Result<> checkStage(const MatmulStage &facts, const StageSchedule &schedule, llvm::StringRef templatesDir) {
  std::string where = "stage " + schedule.stage + " " + isaFacts(schedule.isa).name.str() + ": ";
  if (schedule.entries.empty() || schedule.entries.size() > maxScheduleEntries)
    return Diagnostic::error("E-SCHEDULE", where + std::to_string(schedule.entries.size()) + " entries, expected 1.." +
                                               std::to_string(maxScheduleEntries));
  int64_t next = 1;
  for (const ScheduleEntry &entry : schedule.entries) {
    bool last = &entry == &schedule.entries.back();
    if (entry.firstRow != next || (entry.lastRow < 0) != last)
      return Diagnostic::error("E-SCHEDULE", where + "found rows " + rowRangeText(entry) + ", expected a range from " +
                                                 std::to_string(next) +
                                                 (last ? " with an open end" : " with a last row"));
    if (Result<> legal = checkEntry(facts, schedule.isa, entry, templatesDir); !legal)
      return legal;
    next = entry.lastRow + 1;
  }
  return {};
}

} // namespace moec
