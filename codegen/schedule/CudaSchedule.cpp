// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Token ranges follow the rows a group can expect, m = T * choices / groups (uniform routing):
//
//     m        block_m   what bounds it
//     1        16        as the next, but columns so narrow that every multiprocessor has two tiles where the stage has as
//                        many: one block reads 50 to 100 GB/s, whatever the device could
//     ..16     16        weight bytes: small tiles, many of them, as many bytes in flight as shared memory holds
//     ..32     32        the same
//     ..96     64        both
//     ..       128       tensor cores: 128 x 128 reads 1 byte of shared memory per 32 multiplications
//
// On sm_90a the last two are warp-specialised: 64 rows and 128 columns, two blocks a multiprocessor, then 128 x 256.

#include "codegen/schedule/CudaSchedule.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>
#include <tuple>

namespace moec {
namespace {

// Ring bytes of a block: two blocks share a multiprocessor of sm_90a, and of sm_80 where it has 164 KiB.
int64_t ringBudget(CudaArch arch) { return arch == CudaArch::Sm90a ? 96 << 10 : 80 << 10; }

// Powers of two down to the first that fits.
template <typename Fits> int64_t largest(int64_t from, int64_t least, Fits fits) {
  while (from > least && !fits(from))
    from /= 2;
  return from;
}

// Columns of a tile, all parts together: no wider than the stage has, in warps of at least 16 per part.
int64_t blockColumns(const StageFacts &facts, int64_t most) {
  int64_t columns = int64_t(llvm::NextPowerOf2(uint64_t(facts.n * facts.parts - 1)));
  return std::clamp<int64_t>(columns, 32, most);
}

// f32 sums by FMA keep all accumulators of a tile busy with half the columns, and their rows are twice as long.
std::map<std::string, int64_t> tileValues(const StageFacts &facts, CudaArch arch, int64_t blockM, int64_t mostColumns) {
  bool tensorCores = facts.tensorCores();
  if (!tensorCores)
    blockM = std::min<int64_t>(blockM, 64);
  int64_t blockN = blockColumns(facts, std::min<int64_t>(mostColumns, tensorCores ? 128 : 64));
  int64_t blockK = !tensorCores ? 16 : blockM == 128 ? 32 : 64;
  int64_t warpsM = blockM >= 64 ? 2 : 1;
  int64_t warpsN = largest(4, 1, [&](int64_t w) { return blockN % (16 * facts.parts * w) == 0; });
  int64_t slot = blockK * (blockM * facts.inputBytes() + blockN * facts.weightBytes());
  int64_t stages = std::clamp<int64_t>(ringBudget(arch) / slot, 2, 8);
  return {{"block_m", blockM}, {"block_n", blockN}, {"block_k", blockK},
          {"stages", stages},  {"warps_m", warpsM}, {"warps_n", warpsN}};
}

// Roles: one warpgroup copies for one or two that multiply 64 rows each.
std::map<std::string, int64_t> roleValues(const StageFacts &facts, int64_t blockM) {
  int64_t blockN = std::max<int64_t>(64, blockColumns(facts, blockM == 128 ? 256 : 128));
  int64_t slot = 64 * 2 * (blockM + blockN) + 16, budget = blockM == 128 ? 200 << 10 : 108 << 10;
  return {{"block_m", blockM}, {"block_n", blockN}, {"block_k", 64}, {"stages", std::clamp<int64_t>(budget / slot, 3, 8)},
          {"lag", 1},          {"consumers", blockM / 64}};
}

constexpr int64_t multiprocessors = 132; // of an H100 and an H200; an A100 has 108

class ScheduleBuilder {
public:
  ScheduleBuilder(const StageFacts &facts, CudaArch arch) : facts(facts), arch(arch) {
    schedule.stage = facts.stage;
    schedule.arch = arch;
  }
  CudaStage schedule;

  // A router or a shared expert: all rows are one group, and small tiles go on until larger ones fill the device.
  void dense() {
    int64_t columnsOfAll = facts.n * facts.parts;
    for (auto [blockM, blockN] : {std::pair<int64_t, int64_t>{16, 32}, {32, 64}, {64, 128}, {128, 256}}) {
      int64_t tileColumns = int64_t(llvm::divideCeil(uint64_t(columnsOfAll), uint64_t(blockN)));
      int64_t rowBlocks = int64_t(llvm::divideCeil(uint64_t(multiprocessors), uint64_t(tileColumns)));
      int64_t from = schedule.entries.empty() ? 1 : (rowBlocks - 1) * blockM + 1;
      if (from > maxScheduleInteger)
        break;
      start(from, kernelFor(blockM, blockN));
    }
  }

  // Two narrow tiles a multiprocessor for a few tokens, where wide ones would leave some without; then by expected rows.
  void routed() {
    int64_t columns = 128;
    while (columns > 32 && tilesOf(1, columns) < 2 * multiprocessors)
      columns /= 2;
    start(1, kernelFor(16, columns));
    int64_t wide = 1;
    while (wide * facts.rowsPerToken < facts.groups && tilesOf(wide, 128) < 2 * multiprocessors)
      ++wide;
    start(wide, kernelFor(16, 128));
    for (auto [rows, blockM, blockN] : {std::tuple<int64_t, int64_t, int64_t>{16, 32, 128}, {32, 64, 128}, {96, 128, 256}})
      if (int64_t from = rows * facts.groups / facts.rowsPerToken + 1; from <= maxScheduleInteger)
        start(from, kernelFor(blockM, blockN));
  }

private:
  // Tiles of a call of `tokens` tokens, one block of rows per group.
  int64_t tilesOf(int64_t tokens, int64_t blockN) const {
    int64_t blocks = std::min(facts.groups, tokens * facts.rowsPerToken);
    return blocks * int64_t(llvm::divideCeil(uint64_t(facts.n * facts.parts), uint64_t(blockN)));
  }

  TemplateBinding kernelFor(int64_t blockM, int64_t blockN) const {
    TemplateBinding kernel;
    bool roles = arch == CudaArch::Sm90a && blockM >= 64 && facts.tensorCores();
    kernel.templateName = roles ? "cuda/warp_specialised" : "cuda/multistage";
    kernel.integers = roles ? roleValues(facts, blockM) : tileValues(facts, arch, blockM, blockN);
    return kernel;
  }

  // From `from` tokens on; what began there or later is given up.
  void start(int64_t from, TemplateBinding kernel) {
    auto &entries = schedule.entries;
    while (!entries.empty() && entries.back().firstToken >= from)
      entries.pop_back();
    if (entries.empty())
      from = 1;
    auto same = [&](const TemplateBinding &other) {
      return other.templateName == kernel.templateName && other.integers == kernel.integers;
    };
    if (!entries.empty() && same(entries.back().kernel)) {
      entries.back().lastToken = -1;
      return;
    }
    if (!entries.empty())
      entries.back().lastToken = from - 1;
    CudaEntry entry;
    entry.firstToken = from;
    entry.kernel = std::move(kernel);
    entries.push_back(std::move(entry));
  }

  const StageFacts &facts;
  CudaArch arch;
};

class EntryChecker {
public:
  EntryChecker(const StageFacts &facts, const CudaStage &stage, const CudaEntry &entry, std::string &error)
      : facts(facts), stage(stage), arch(cudaArchFacts(stage.arch)), entry(entry), error(error) {}

  bool run(llvm::StringRef templatesDir) {
    StageShape shape = {facts.n, facts.k, facts.parts};
    if (!bindTemplateValues(entry.kernel, shape, {"block_m", "block_n", "block_k", "stages"}, templatesDir, values, error))
      return fail("S1", error);
    for (const char *name : {"warps_m", "warps_n"})
      if (!values.count(name))
        return fail("D1", "template '" + entry.kernel.templateName + "' has no integer parameter '" + name + "'");
    return checkRoles() && checkRows() && checkWarps() && checkShared() && checkThreads();
  }

private:
  bool fail(llvm::StringRef label, const std::string &message) {
    error = entryPlaceText(stage, entry) + label.str() + ": " + message;
    return false;
  }
  static std::string text(int64_t value) { return std::to_string(value); }

  bool hasRoles() const { return values.count("consumers"); }

  bool checkRoles() {
    if (!hasRoles())
      return true;
    std::string named = "template '" + entry.kernel.templateName + "'";
    if (stage.arch != CudaArch::Sm90a)
      return fail("D6", named + " is for sm_90a");
    if (!facts.tensorCores())
      return fail("D6", named + " needs bf16 input and weights, or f16");
    if (values["block_m"] != 64 * values["consumers"])
      return fail("D6", "block_m is " + text(values["block_m"]) + ", expected 64 * consumers, " + text(64 * values["consumers"]));
    if (values["lag"] > values["stages"] - 2)
      return fail("D6", "lag is " + text(values["lag"]) + ", expected at most stages - 2, " + text(values["stages"] - 2));
    return true;
  }

  bool checkRows() {
    for (auto [name, bytes] : {std::pair("input", facts.inputBytes()), std::pair("weights", facts.weightBytes())}) {
      int64_t row = values["block_k"] * bytes;
      if (row != 32 && row != 64 && row != 128)
        return fail("D2", "block_k " + text(values["block_k"]) + " makes rows of " + text(row) + " bytes of " + name +
                              ", expected 32, 64 or 128");
    }
    return true;
  }

  bool checkWarps() {
    int64_t rows = 16 * values["warps_m"], columns = 16 * facts.parts * values["warps_n"];
    if (values["block_m"] % rows)
      return fail("D3", "block_m is " + text(values["block_m"]) + ", expected a multiple of 16 * warps_m, " + text(rows));
    if (values["block_n"] % columns)
      return fail("D3", "block_n is " + text(values["block_n"]) + ", expected a multiple of 16 * parts * warps_n, " +
                            text(columns));
    return true;
  }

  bool checkShared() {
    int64_t slot = values["block_k"] * (values["block_m"] * facts.inputBytes() + values["block_n"] * facts.weightBytes());
    slot += hasRoles() ? 16 : 0;
    int64_t bytes = values["stages"] * slot;
    if (bytes > arch.maxSharedBytes)
      return fail("D4", text(values["stages"]) + " stages of " + text(slot) + " bytes take " + text(bytes) +
                            " bytes of shared memory, expected at most " + text(arch.maxSharedBytes));
    return true;
  }

  bool checkThreads() {
    int64_t threads = 32 * values["warps_m"] * values["warps_n"];
    int64_t accumulators = values["block_m"] * values["block_n"] / threads;
    if (threads > 512)
      return fail("D5", text(threads) + " threads, expected at most 512");
    if (accumulators > 128)
      return fail("D5", text(values["block_m"]) + " x " + text(values["block_n"]) + " sums on " + text(threads) +
                            " threads are " + text(accumulators) + " each, expected at most 128");
    return true;
  }

  const StageFacts &facts;
  const CudaStage &stage;
  const CudaArchFacts &arch;
  const CudaEntry &entry;
  std::string &error;
  std::map<std::string, int64_t> values;
};

} // namespace

std::string tokenRangeText(const CudaEntry &entry) {
  return std::to_string(entry.firstToken) + ".." + (entry.lastToken < 0 ? "" : std::to_string(entry.lastToken));
}

std::string entryPlaceText(const CudaStage &stage, const CudaEntry &entry) {
  return "stage " + stage.stage + " " + cudaArchFacts(stage.arch).name.str() + " tokens " + tokenRangeText(entry) + ": ";
}

CudaStage cudaSchedule(const StageFacts &facts, CudaArch arch) {
  ScheduleBuilder builder(facts, arch);
  if (facts.groups == 1 && facts.rowsPerToken == 1)
    builder.dense();
  else
    builder.routed();
  return std::move(builder.schedule);
}

bool checkStage(const StageFacts &facts, const CudaStage &schedule, std::string &error, llvm::StringRef templatesDir) {
  std::string where = "stage " + schedule.stage + " " + cudaArchFacts(schedule.arch).name.str() + ": ";
  if (schedule.entries.empty() || schedule.entries.size() > maxScheduleEntries) {
    error =
        where + std::to_string(schedule.entries.size()) + " entries, expected 1.." + std::to_string(maxScheduleEntries);
    return false;
  }
  int64_t next = 1;
  for (const CudaEntry &entry : schedule.entries) {
    bool last = &entry == &schedule.entries.back();
    if (entry.firstToken != next || (entry.lastToken < 0) != last) {
      error = where + "found tokens " + tokenRangeText(entry) + ", expected a range from " + std::to_string(next) +
              (last ? " with an open end" : " with a last token");
      return false;
    }
    if (!EntryChecker(facts, schedule, entry, error).run(templatesDir))
      return false;
    next = entry.lastToken + 1;
  }
  return true;
}

} // namespace moec
