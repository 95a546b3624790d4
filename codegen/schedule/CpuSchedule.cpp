// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The heuristics. Shares are of a bound of 2,500 GFLOP/s and 17 GB/s, one core with AMX, bf16 weights in 2 MiB pages,
// an intrinsics prototype of a whole expert FFN, 2026-11-22:
//
//     rows      blocks                            share of the bound
//     1..4      one row tile of the rows there are  98 % at T = 1, 99 % at T = 32 (128 experts, 8 chosen)
//     5..16     one row tile of 16 rows             89 % at T = 128
//     17..32    2 row tiles x 2 column tiles        82 % at T = 256
//     33..48    3 x 2: weights are walked once      76 % at T = 512, where half of the experts have so many rows
//     49..      2 x 2 over blocks of 32             45 % with k in chunks of 16 steps and A past L1, else 20-25 % less
//
// Without software prefetch the first two rows reach 65 %.

#include "codegen/schedule/CpuSchedule.h"

#include <algorithm>

namespace moec {
namespace {

// Rows lastRow + 1 of the entry before .. lastRow, in accumulator blocks of blockM, at most panelM rows packed at once.
struct RowClass {
  int64_t lastRow, blockM, panelM;
  const char *kernel = "panel";
  int64_t heights = 1; // 2: blocks of blockM - 1 rows as well
};

constexpr int64_t openEnd = -1;

// Deeper stages keep a chunk of k in L1 and pass over all row blocks: 1,100 to 1,157 GFLOP/s instead of 970 at a depth
// of
// 4096. 16 steps are 32 KiB of B; 12 and 20 steps measured 3 and 7 % slower.
constexpr int64_t longestWholeDepth = 3072;
constexpr int64_t chunkSteps = 16;

// Below 256 columns a stage is a router: every token meets the same few panels, which stay in cache, so classes for few
// rows would only add code.
constexpr int64_t fewColumns = 256;

std::vector<RowClass> amxClasses(const MatmulStage &facts) {
  if (facts.n < fewColumns)
    return {{16, 16, 16}, {openEnd, 32, 128}};
  const char *many = facts.k <= longestWholeDepth ? "panel" : "panel_chunked";
  return {{4, 4, 4},
          {16, 16, 16},
          {32, 32, 32},
          {48, 48, 48},
          {64, 32, 64, many},
          {128, 32, 128, many},
          {openEnd, 32, 256, many}};
}

// Blocks of so few rows wait for memory, not for products.
constexpr int64_t fewRows = 6;

// Rows that are computed and do not exist cost as much as others: 36 rows take 1.46 times as long in blocks of 8 as in
// blocks of 9 or 12. So n rows get the fewest blocks of at most `usual` rows, all of one height or one lower, and up to
// `highest` rows one block: with bf16 dot products blocks of 6 to 14 rows reach 92 to 96 % of the bound alike, those
// above 12 least (2048 x 768, a Zen 4 core, 2026-11-28). One function serves all entries of a height.
void addBlocks(std::vector<RowClass> &classes, int64_t highest, int64_t usual, int64_t most) {
  for (int64_t rows = 1; rows <= highest; ++rows)
    classes.push_back({rows, rows, rows});
  for (int64_t rows = highest + 1; rows <= most; ++rows) {
    int64_t blocks = (rows + usual - 1) / usual, height = (rows + blocks - 1) / blocks;
    int64_t last = std::min(blocks * height, most);
    classes.push_back({last, height, blocks * height, "panel", 2});
    rows = last;
  }
  classes.back().lastRow = openEnd;
}

// AVX2 has registers for 3 x 4 (32 rows: 88 GFLOP/s; 77 in blocks of 2). Without FMA and with eight vectors per row,
// baseline holds one row. panel_m stays near the rows there are.
std::vector<RowClass> vectorClasses(const MatmulStage &facts, Isa isa) {
  std::vector<RowClass> classes;
  switch (isa) {
  case Isa::Amx:
  case Isa::Avx512Bf16:
  case Isa::Avx512:
    if (facts.n < fewColumns)
      return {{1, 1, 1}, {4, 4, 4}, {8, 8, 8}, {openEnd, 12, 60}};
    addBlocks(classes, isa == Isa::Avx512 ? 13 : 14, 12, 132);
    return classes;
  case Isa::Avx2:
    return {{1, 1, 1}, {2, 2, 2}, {3, 3, 3}, {openEnd, 3, 96}};
  case Isa::Baseline:
    break;
  }
  return {{openEnd, 1, 16}};
}

// Very deep stages: a class whose packed rows would pass S6 is left to the one before; the open end packs fewer rows.
std::vector<RowClass> fitScratch(std::vector<RowClass> classes, int64_t rowBytes) {
  int64_t rows = maxPackedBytes / rowBytes;
  while (classes.size() > 1) {
    const RowClass &c = classes.back();
    int64_t firstRow = classes[classes.size() - 2].lastRow + 1;
    if (c.lastRow == openEnd ? rows / c.blockM * c.blockM >= firstRow : c.panelM <= rows)
      break;
    classes.pop_back();
  }
  RowClass &last = classes.back();
  last.lastRow = openEnd;
  last.panelM = std::min(last.panelM, rows / last.blockM * last.blockM);
  return classes;
}

} // namespace

// The divisor whose block is nearest to lowKib..highKib, as a ratio, within a quarter to twice of them. A panel without
// such a divisor, a prime number of steps for one, takes the smallest divisor above; a smaller panel is one block.
int64_t prefetchBlock(int64_t steps, int64_t stepBytes, int64_t lowKib, int64_t highKib) {
  int64_t best = 0, above = steps;
  double bestCost = 0;
  for (int64_t d = 1; d <= steps; ++d) {
    if (steps % d)
      continue;
    int64_t bytes = d * stepBytes;
    if (bytes > 2 * highKib * 1024) {
      above = d;
      break;
    }
    double cost = std::max({1.0, double(lowKib * 1024) / double(bytes), double(bytes) / double(highKib * 1024)});
    if (bytes >= lowKib * 1024 / 4 && (!best || cost <= bestCost)) {
      best = d;
      bestCost = cost;
    }
  }
  return best ? best : above;
}

// AMX reads the weights tile by tile and needs 8 streams (96 % of the bound at T = 1; 4 streams 91 %, 1 stream no
// better than none). Blocks of 64..128 KiB are best (93 to 99 % of the bound; 256 KiB equal, 512 KiB worse). All row
// blocks share the fetching.
static void prefetchTiles(ScheduleEntry &entry, int64_t steps, int64_t stepBytes) {
  std::map<std::string, int64_t> &values = entry.kernel.integers;
  values["prefetch_block"] = prefetchBlock(steps, stepBytes, 64, 128);
  values["streams"] = 8;
  values["share"] = values["panel_m"] / values["block_m"];
  values["tiles"] = 2;
  entry.kernel.words["hint"] = "t1";
}

// Few rows read B as one linear stream, which hardware follows by itself; software prefetch costs them a quarter (t1)
// or 8 % (t0). More rows multiply for longer than a line takes to come: 8 steps ahead, one line per pair of k, they
// reach 87 to 96 % of the bound, all at once before the products 60 to 90 %. The first row block fetches for all of
// them. f32 is fetched before the products of a step.
static void prefetchLines(ScheduleEntry &entry, int64_t steps, int64_t stepBytes) {
  bool linear = entry.kernel.integers["panel_m"] <= fewRows;
  std::map<std::string, int64_t> &values = entry.kernel.integers;
  values["prefetch_block"] = prefetchBlock(steps, stepBytes, 16, 32);
  values["streams"] = 1;
  values["share"] = 1;
  values["tiles"] = linear ? 1 : 2;
  entry.kernel.words["hint"] = linear ? "none" : "t1";
}

// Combine reads f32 rows so much later that they went to memory. Written past the caches, they are not read first
// (codegen/bench/README.md has the times). Few rows stay in the caches, and so do a router's logits.
static bool writesPastCaches(const MatmulStage &facts, const ScheduleEntry &entry) {
  return facts.result == MOEC_F32 && facts.parts == 1 && facts.n >= 1024 && facts.n % 32 == 0 &&
         facts.outStride % 64 == 0 && entry.kernel.integers.at("panel_m") > fewRows;
}

StageSchedule cpuSchedule(const MatmulStage &facts, Isa isa) {
  if (isaFacts(isa).bf16Dot && !facts.bf16Pairs())
    isa = Isa::Avx512;
  bool amx = isa == Isa::Amx;
  StageSchedule schedule;
  schedule.stage = facts.name;
  schedule.isa = isa;
  int64_t blockK = facts.weightBytes() == 2 ? 32 : 4;
  int64_t steps = (facts.k + blockK - 1) / blockK, stepBytes = blockK * 32 * facts.weightBytes();
  std::string numeric = amx ? "amx" : isa == Isa::Avx512Bf16 ? "dot" : "fma";
  std::vector<RowClass> classes =
      fitScratch(amx ? amxClasses(facts) : vectorClasses(facts, isa), packedRowBytes(facts, numeric, blockK));
  int64_t first = 1;
  for (const RowClass &c : classes) {
    ScheduleEntry entry;
    entry.firstRow = first;
    entry.lastRow = c.lastRow;
    entry.numeric = numeric;
    entry.kernel.templateName = c.kernel;
    entry.kernel.integers = {{"block_m", c.blockM}, {"panel_m", c.panelM}, {"block_k", blockK}};
    if (entry.kernel.templateName == "panel")
      entry.kernel.integers["heights"] = c.heights;
    entry.kernel.words = {{"a_hint", "none"}, {"out_hint", "none"}};
    if (amx)
      prefetchTiles(entry, steps, stepBytes);
    else
      prefetchLines(entry, steps, stepBytes);
    if (!amx && writesPastCaches(facts, entry))
      entry.kernel.words["out_hint"] = "nta";
    if (entry.kernel.templateName == "panel_chunked") {
      entry.kernel.integers["chunk"] = chunkSteps;
      entry.kernel.words["a_hint"] = "nta"; // A would push the chunk out of L1: 20 % of the speed
    }
    schedule.entries.push_back(entry);
    first = c.lastRow + 1;
  }
  return schedule;
}

} // namespace moec
