// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Token ranges follow the rows a group can expect, m = T * choices / groups (uniform routing):
//
//     m        block_m   what bounds it
//     1        8         as the next, but columns so narrow that every multiprocessor has two tiles where the stage has
//                        as many: one block reads 50 to 100 GB/s, whatever the device could
//     ..4      8         weight bytes: small tiles, many of them, as many bytes in flight as shared memory holds,
//                        weights the first operand; beyond 4 expected rows one group of 50 has more than 8
//     ..12     16        the same; beyond 12 one of 10 has more than 16
//     ..32     32        the same, rows first
//     ..96     64        both
//     ..       128       tensor cores: 128 x 128 reads 1 byte of shared memory per 32 multiplications
//
// On sm_90a the last two are warp-specialised: 64 rows and 128 columns, two blocks a multiprocessor, then 128 x 256; so
// are the first ones where columns are wide. Without tensor cores rows come first and block_m is 16 from the start.
//
// Where A is not gathered TMA brings its rows too. A gathered A could be copied into the route's order first: 2 * T *
// choices * k
// * 2 bytes more traffic for the same multiplications, 3 % of a layer of 4096 x 1536 x 128 experts at 8192 tokens, for
// a producer that costs the multiplying warpgroups nothing either way. A schedule may say so.
//
// A stage without a route has no more tiles than its columns make at few tokens; where those are fewer than
// multiprocessors and a tile's weights take one block longer to read than the second kernel costs, blocks share the
// depth.

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
int64_t blockColumns(const MatmulStage &facts, int64_t most) {
  int64_t columns = int64_t(llvm::NextPowerOf2(uint64_t(facts.n * facts.parts - 1)));
  return std::clamp<int64_t>(columns, 32, most);
}

// f32 sums by FMA keep all accumulators of a tile busy with half the columns, and their rows are twice as long.
std::map<std::string, int64_t> tileValues(const MatmulStage &facts, CudaArch arch, int64_t blockM,
                                          int64_t mostColumns) {
  bool tensorCores = facts.tensorCores();
  if (!tensorCores)
    blockM = std::min<int64_t>(blockM, 64);
  int64_t blockN = blockColumns(facts, std::min<int64_t>(mostColumns, tensorCores ? 128 : 64));
  int64_t blockK = !tensorCores ? 16 : (blockM == 128 ? 64 : 128) / facts.inputBytes();
  int64_t warpsM = blockM >= 64 ? 2 : 1;
  int64_t warpsN = largest(4, 1, [&](int64_t w) { return blockN % (16 * facts.parts * w) == 0; });
  int64_t slot = blockK * (blockM * facts.inputBytes() + blockN * facts.weightBytes());
  int64_t stages = std::clamp<int64_t>(ringBudget(arch) / slot, 2, 8);
  return {{"block_m", blockM}, {"block_n", blockN}, {"block_k", blockK}, {"stages", stages},
          {"warps_m", warpsM}, {"warps_n", warpsN}, {"splits", 1}};
}

// Roles: one warpgroup copies for one or two that multiply 64 rows each.
std::map<std::string, int64_t> roleValues(const MatmulStage &facts, int64_t blockM) {
  int64_t blockN = std::max<int64_t>(64, blockColumns(facts, blockM == 128 ? 256 : 128));
  int64_t slot = 64 * 2 * (blockM + blockN) + 16, budget = blockM == 128 ? 200 << 10 : 108 << 10;
  return {{"block_m", blockM}, {"block_n", blockN},
          {"block_k", 64},     {"stages", std::clamp<int64_t>(budget / slot, 3, 8)},
          {"lag", 1},          {"consumers", blockM / 64}};
}

// Few rows, weights first.
std::map<std::string, int64_t> swappedValues(const MatmulStage &facts, CudaArch arch, int64_t blockM,
                                             int64_t mostColumns) {
  int64_t blockN = blockColumns(facts, mostColumns), blockK = 128 / facts.inputBytes();
  int64_t warpsN = largest(4, 1, [&](int64_t w) { return blockN % (16 * facts.parts * w) == 0; });
  int64_t slot = 128 * (blockM + blockN);
  return {{"block_m", blockM}, {"block_n", blockN},
          {"block_k", blockK}, {"stages", std::clamp<int64_t>(ringBudget(arch) / slot, 2, 8)},
          {"warps_m", 1},      {"warps_n", warpsN},
          {"splits", 1}};
}

// The same with roles: 64 columns of every part for each consumer, two blocks a multiprocessor.
std::map<std::string, int64_t> swappedRoleValues(const MatmulStage &facts, int64_t blockM) {
  int64_t consumers = facts.parts == 1 ? 2 : 1, blockN = 64 * consumers * facts.parts;
  int64_t slot = 128 * (blockM + blockN) + 16, stages = std::clamp<int64_t>((108 << 10) / slot, 3, 8);
  return {{"block_m", blockM},
          {"block_n", blockN},
          {"block_k", 64},
          {"stages", stages},
          {"lag", std::min<int64_t>(3, stages - 2)},
          {"consumers", consumers}};
}

// Bytes of a tile's weights from which sharing the depth pays: one block takes 2 us for them.
constexpr int64_t splitBytes = 128 << 10;
constexpr int64_t mostSplitTokens = 64, mostPartialBytes = 64 << 20;

constexpr int64_t multiprocessors = 132; // of an H100 and an H200; an A100 has 108

class ScheduleBuilder {
public:
  ScheduleBuilder(const MatmulStage &facts, CudaArch arch) : facts(facts), arch(arch) {
    schedule.stage = facts.name;
    schedule.arch = arch;
  }
  CudaStage schedule;

  // A router or a shared expert: all rows are one group. Up to 16 tokens blocks may share the depth; then small tiles
  // go on until larger ones fill the device.
  void dense() {
    int64_t columnsOfAll = facts.n * facts.parts, narrow = narrowColumns(1);
    if (facts.tensorCores())
      start(1, split(fewRows(8, narrow)));
    start(facts.tensorCores() ? 9 : 1, split(fewRows(16, narrow)));
    start(17, kernelFor(16, 32));
    for (auto [blockM, blockN] : {std::pair<int64_t, int64_t>{32, 64}, {64, 128}, {128, 256}}) {
      int64_t tileColumns = int64_t(llvm::divideCeil(uint64_t(columnsOfAll), uint64_t(blockN)));
      int64_t rowBlocks = int64_t(llvm::divideCeil(uint64_t(multiprocessors), uint64_t(tileColumns)));
      int64_t from = std::max<int64_t>(17, (rowBlocks - 1) * blockM + 1);
      if (from > maxScheduleInteger)
        break;
      start(from, kernelFor(blockM, blockN));
    }
  }

  // Two narrow tiles a multiprocessor for a few tokens, where wide ones would leave some without; then by expected
  // rows.
  void routed() {
    start(1, fewRows(8, narrowColumns(1)));
    int64_t wide = 1;
    while (wide * facts.rowsPerToken < facts.routeGroups() && tilesOf(wide, 128) < 2 * multiprocessors)
      ++wide;
    start(wide, fewRows(8, 128));
    if (int64_t from = firstTokens(4); from > wide && from <= maxScheduleInteger)
      start(from, fewRows(16, 128));
    for (auto [rows, blockM, blockN] :
         {std::tuple<int64_t, int64_t, int64_t>{12, 32, 128}, {32, 64, 128}, {96, 128, 256}})
      if (int64_t from = firstTokens(rows); from <= maxScheduleInteger)
        start(from, kernelFor(blockM, blockN));
  }

private:
  // The fewest tokens for which a group expects more than `rows` rows.
  int64_t firstTokens(int64_t rows) const { return rows * facts.routeGroups() / facts.rowsPerToken + 1; }

  int64_t narrowColumns(int64_t tokens) const {
    int64_t columns = 128;
    while (columns > 32 && tilesOf(tokens, columns) < 2 * multiprocessors)
      columns /= 2;
    return columns;
  }

  // Tiles of a call of `tokens` tokens, one block of rows per group.
  int64_t tilesOf(int64_t tokens, int64_t blockN) const {
    int64_t blocks = std::min(facts.routeGroups(), tokens * facts.rowsPerToken);
    return blocks * int64_t(llvm::divideCeil(uint64_t(facts.n * facts.parts), uint64_t(blockN)));
  }

  TemplateBinding kernelFor(int64_t blockM, int64_t blockN) const {
    TemplateBinding kernel;
    bool roles = arch == CudaArch::Sm90a && blockM >= 64 && facts.halves();
    bool contiguous = roles && !facts.gathered && facts.plainRows();
    kernel.templateName = contiguous ? "cuda/contiguous" : roles ? "cuda/warp_specialised" : "cuda/multistage";
    kernel.integers = roles ? roleValues(facts, blockM) : tileValues(facts, arch, blockM, blockN);
    if (contiguous)
      kernel.integers.erase("lag");
    if (roles)
      kernel.integers["vacant"] = blockM == 128 ? 2 : 1;
    return withEarly(std::move(kernel), roles);
  }

  // As much as can be done while the launch before still runs.
  TemplateBinding withEarly(TemplateBinding kernel, bool roles) const {
    kernel.integers["early"] = arch != CudaArch::Sm90a ? 1 : facts.weightsEarly ? 3 : roles ? 2 : 1;
    return kernel;
  }

  // For few rows: weights first where tensor cores multiply.
  TemplateBinding fewRows(int64_t blockM, int64_t blockN) const {
    if (!facts.tensorCores())
      return kernelFor(16, blockN);
    TemplateBinding kernel;
    bool roles = arch == CudaArch::Sm90a && facts.halves() && blockN >= 128 && facts.n * facts.parts >= 128;
    kernel.templateName = roles ? "cuda/swapped_specialised" : "cuda/swapped";
    kernel.integers = roles ? swappedRoleValues(facts, blockM) : swappedValues(facts, arch, blockM, blockN);
    return withEarly(std::move(kernel), roles);
  }

  // With as many blocks for a tile's depth as the device has room for, each of at least 4 steps; no share is empty.
  TemplateBinding split(TemplateBinding kernel) const {
    int64_t blockN = kernel.integers["block_n"];
    int64_t steps = int64_t(llvm::divideCeil(uint64_t(facts.k), uint64_t(kernel.integers["block_k"]))), splits = 1;
    bool roles = kernel.integers.count("consumers");
    while (2 * splits <= 64 && tilesOf(1, blockN) * 2 * splits <= multiprocessors && steps / (2 * splits) >= 4)
      splits *= 2;
    splits = int64_t(llvm::divideCeil(uint64_t(steps), llvm::divideCeil(uint64_t(steps), uint64_t(splits))));
    if (!roles && splits > 1 && !facts.mode.routed && blockN * facts.k * facts.weightBytes() >= splitBytes)
      kernel.integers["splits"] = splits;
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

  const MatmulStage &facts;
  CudaArch arch;
};

// How an error of an entry begins: "stage ffn_up sm_80 tokens 1..4: ".
std::string entryPlaceText(const CudaStage &stage, const CudaEntry &entry) {
  return "stage " + stage.stage + " " + cudaArchFacts(stage.arch).name.str() + " tokens " + tokenRangeText(entry) +
         ": ";
}

class EntryChecker {
public:
  EntryChecker(const MatmulStage &facts, const CudaStage &stage, const CudaEntry &entry)
      : facts(facts), stage(stage), arch(cudaArchFacts(stage.arch)), entry(entry) {}

  Result<> run(llvm::StringRef templatesDir) { return check(templatesDir) ? Result<>() : std::move(error); }

private:
  bool check(llvm::StringRef templatesDir) {
    auto bound = bindTemplateValues(entry.kernel, facts, {"block_m", "block_n", "block_k", "stages"}, templatesDir);
    if (!bound)
      return fail("S1", bound.error().placedMessage());
    values = std::move(*bound);
    for (const char *name : {"warps_m", "warps_n"})
      if (!values.count(name))
        return fail("D1", "template '" + entry.kernel.templateName + "' has no integer parameter '" + name + "'");
    return checkContiguous() && checkSwapped() && checkRoles() && checkRows() && checkWarps() && checkShared() &&
           checkThreads() && checkSplits() && checkEarly() && checkVacant();
  }

  bool fail(llvm::StringRef label, const std::string &message) {
    error = Diagnostic::error("E-SCHEDULE", entryPlaceText(stage, entry) + label.str() + ": " + message);
    error.setPlace(entry.place);
    return false;
  }
  static std::string text(int64_t value) { return std::to_string(value); }

  bool hasRoles() const { return values.count("consumers"); }
  bool isSwapped() const { return values.count("unit_m") && values.at("unit_m") == 8; }

  bool checkSwapped() {
    if (!isSwapped())
      return true;
    std::string named = "template '" + entry.kernel.templateName + "'";
    if (!facts.tensorCores())
      return fail("D7", named +
                            " needs input and weights of one type that tensor cores multiply: bf16, f16, or f32 with "
                            "--math tf32");
    if (int64_t row = values["block_k"] * facts.inputBytes(); row < 64)
      return fail("D7",
                  "block_k " + text(values["block_k"]) + " makes rows of " + text(row) + " bytes, expected 64 or 128");
    return true;
  }

  bool checkContiguous() {
    if (!values.count("by_tma") || facts.plainRows())
      return true;
    return fail("D9", "template '" + entry.kernel.templateName +
                          "' needs rows of A as they are, at multiples of 16 bytes where they are not gathered");
  }

  bool checkSplits() {
    int64_t splits = values.count("splits") ? values["splits"] : 1;
    if (splits == 1)
      return true;
    if (facts.mode.routed)
      return fail("D8", "splits is " + text(splits) + ", expected 1 for a stage with a route");
    if (entry.lastToken < 0 || entry.lastToken > mostSplitTokens)
      return fail("D8", "splits is " + text(splits) + ", expected 1 beyond " + text(mostSplitTokens) + " tokens");
    int64_t steps = int64_t(llvm::divideCeil(uint64_t(facts.k), uint64_t(values["block_k"])));
    int64_t used = int64_t(llvm::divideCeil(uint64_t(steps), llvm::divideCeil(uint64_t(steps), uint64_t(splits))));
    if (used < splits)
      return fail("D8", "splits is " + text(splits) + ", but " + text(steps) + " steps make " + text(used) + " shares");
    if (int64_t bytes = splits * entry.lastToken * facts.parts * facts.n * 4; bytes > mostPartialBytes)
      return fail("D8", "partial sums take " + text(bytes) + " bytes, expected at most " + text(mostPartialBytes));
    return true;
  }

  bool checkEarly() {
    int64_t early = values.count("early") ? values["early"] : 1;
    if (early > 1 && stage.arch != CudaArch::Sm90a)
      return fail("D10", "early is " + text(early) +
                             ", expected 1: only sm_90a starts a kernel before the one before has ended");
    if (early == 3 && !facts.weightsEarly)
      return fail("D10",
                  "early is 3, but which weights a block reads first is known only when the launch before has ended");
    return true;
  }

  bool checkVacant() {
    if (values.count("vacant") && values["vacant"] == 2 && values["consumers"] < 2)
      return fail("D11", "vacant is 2, expected 1 with one consumer, which has rows of every tile");
    return true;
  }

  bool checkRoles() {
    if (!hasRoles())
      return true;
    std::string named = "template '" + entry.kernel.templateName + "'";
    if (stage.arch != CudaArch::Sm90a)
      return fail("D6", named + " is for sm_90a");
    if (!facts.halves())
      return fail("D6", named + " needs bf16 input and weights, or f16");
    if (int64_t columns = 64 * facts.parts * values["consumers"]; isSwapped() && values["block_n"] != columns)
      return fail("D6",
                  "block_n is " + text(values["block_n"]) + ", expected 64 * parts * consumers, " + text(columns));
    if (!isSwapped() && values["block_m"] != 64 * values["consumers"])
      return fail("D6", "block_m is " + text(values["block_m"]) + ", expected 64 * consumers, " +
                            text(64 * values["consumers"]));
    if (values["lag"] > values["stages"] - 2)
      return fail("D6",
                  "lag is " + text(values["lag"]) + ", expected at most stages - 2, " + text(values["stages"] - 2));
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
    int64_t unit = isSwapped() ? 8 : 16;
    int64_t rows = unit * values["warps_m"], columns = 16 * facts.parts * values["warps_n"];
    if (values["block_m"] % rows)
      return fail("D3", "block_m is " + text(values["block_m"]) + ", expected a multiple of " + text(unit) +
                            " * warps_m, " + text(rows));
    if (values["block_n"] % columns)
      return fail("D3", "block_n is " + text(values["block_n"]) + ", expected a multiple of 16 * parts * warps_n, " +
                            text(columns));
    return true;
  }

  bool checkShared() {
    int64_t slot =
        values["block_k"] * (values["block_m"] * facts.inputBytes() + values["block_n"] * facts.weightBytes());
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

  const MatmulStage &facts;
  const CudaStage &stage;
  const CudaArchFacts &arch;
  const CudaEntry &entry;
  Diagnostic error; // why a check was false
  std::map<std::string, int64_t> values;
};

} // namespace

std::string tokenRangeText(const CudaEntry &entry) {
  return std::to_string(entry.firstToken) + ".." + (entry.lastToken < 0 ? "" : std::to_string(entry.lastToken));
}

CudaStage cudaSchedule(const MatmulStage &facts, CudaArch arch) {
  ScheduleBuilder builder(facts, arch);
  if (facts.routeGroups() == 1 && facts.rowsPerToken == 1)
    builder.dense();
  else
    builder.routed();
  return std::move(builder.schedule);
}

CudaFrontEntry cudaFront(CudaArch arch) { return {arch, 16}; }

Result<> checkStage(const MatmulStage &facts, const CudaStage &schedule, llvm::StringRef templatesDir) {
  std::string where = "stage " + schedule.stage + " " + cudaArchFacts(schedule.arch).name.str() + ": ";
  if (schedule.entries.empty() || schedule.entries.size() > maxScheduleEntries)
    return Diagnostic::error("E-SCHEDULE", where + std::to_string(schedule.entries.size()) + " entries, expected 1.." +
                                               std::to_string(maxScheduleEntries));
  int64_t next = 1;
  for (const CudaEntry &entry : schedule.entries) {
    bool last = &entry == &schedule.entries.back();
    if (entry.firstToken != next || (entry.lastToken < 0) != last)
      return Diagnostic::error("E-SCHEDULE", where + "found tokens " + tokenRangeText(entry) +
                                                 ", expected a range from " + std::to_string(next) +
                                                 (last ? " with an open end" : " with a last token"));
    if (Result<> legal = EntryChecker(facts, schedule, entry).run(templatesDir); !legal)
      return legal;
    next = entry.lastToken + 1;
  }
  return {};
}

} // namespace moec
