// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Schedule: which kernel template, with which parameter values, runs a matmul stage for a block of r rows of one group.
//
//     schedule tiny                          # the layer
//     stage ffn_up amx                       # a stage for one instruction set
//       rows 1..4   panel { block_m = 4, panel_m = 4, hint = t1 }     numeric amx
//       rows 5..    panel { block_m = 16, panel_m = 64, hint = t1 }   numeric amx
//
// Names are [a-z][a-z0-9_]{0,62}, integers 1..1,000,000, `#` starts a comment. Row ranges start at 1, follow each other
// without a gap, and the last is open. Omitted parameters get the default of the template's file. Parameters of the
// stage and those with a formula cannot be set.
//
// Stages of a CUDA architecture have ranges of tokens of a call instead; see CudaSchedule.h for their rules.
//
//     stage ffn_up sm_90a
//       tokens 1..64   multistage { block_m = 16, block_n = 128, stages = 5 }
//       tokens 65..    multistage { block_m = 64 }
//
// For few tokens a CUDA architecture can choose and sort in one launch, the front, if a layer's choices go straight to
// a dispatch:
//
//     front sm_90a tokens 1..16              # or: front sm_90a none
//
// An entry is legal for a CPU stage if all of these hold:
//
//     S1  the template exists and has block_m, panel_m and block_k; the entry sets only its parameters; every value
// lies
//         in 1..1,000,000 and in the allowed set of its comment: `{a, b}`, `{a .. b}` or `multiple of name`
//     S2  panel_m >= last row; of an open entry, panel_m >= first row
//     S3  numeric amx: instruction set amx, bf16 input and weights, block_m up to 16 or a multiple of 16,
//         heights 1.
//         numeric dot: instruction set avx512_bf16 or amx, bf16 input and weights
//         block_k is 32 for 2-byte weights and 4 or 8 for f32 (depth is padded to 32 and 8)
//     S4  numeric fma: with v = 32 / lanes vectors per row, block_m*v + min(block_m, v) + 1 <= vector registers;
//         numeric dot: block_m*v + v + 1. heights 2: block_m at least 2
//     S5  prefetch_block divides k_steps or is a multiple of it; streams <= lines of a step, block_k*32*bytes / 64
//     S6  packed rows of A take at most 64 MiB: panel_m * (amx: 2*k_padded; dot: 2*k_padded and fma:
//         4*k_padded, rounded up to 64, + 64) bytes
//     S7  out_hint nta: a panel's columns of a row and the distance of rows are multiples of 64 bytes, and no panel has
//         columns past n

#ifndef MOEC_CODEGEN_SCHEDULE_SCHEDULE_H
#define MOEC_CODEGEN_SCHEDULE_SCHEDULE_H

#include "codegen/Target.h"
#include "codegen/schedule/TemplateValues.h"
#include "codegen/tile/MatmulStage.h"

#include "dsl/text/Result.h"

#include "llvm/ADT/StringRef.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace moec {

struct ScheduleEntry {
  int64_t firstRow = 1, lastRow = -1; // inclusive; lastRow -1: open end
  TemplateBinding kernel;
  std::string numeric = "fma"; // "dot" (vdpbf16ps) differs in subnormal numbers only, "amx" in all bits
  SourcePlace place = {};      // of `rows` in the text it was read from; line 0: not read
};

struct StageSchedule {
  std::string stage;
  Isa isa = Isa::Baseline;
  std::vector<ScheduleEntry> entries; // ascending, at most maxScheduleEntries
  SourcePlace place = {};             // of `stage`, likewise

  // Index of the entry for a block of `rows` rows (>= 1); entries.size() if none covers it.
  size_t entryFor(int64_t rows) const;
};

// A kernel for calls of firstToken..lastToken tokens.
struct CudaEntry {
  int64_t firstToken = 1, lastToken = -1; // inclusive; lastToken -1: open end
  TemplateBinding kernel;                 // templateName "cuda/multistage"
  SourcePlace place = {};                 // of `tokens` in the text it was read from; line 0: not read
};

struct CudaStage {
  std::string stage;
  CudaArch arch = CudaArch::Sm80;
  std::vector<CudaEntry> entries; // ascending, at most maxScheduleEntries
  SourcePlace place = {};         // of `stage`, likewise
};

// Calls of up to lastToken tokens add shares, choose and sort in one launch (cuda/CudaFront.h); 0: no call does.
struct CudaFrontEntry {
  CudaArch arch = CudaArch::Sm80;
  int64_t lastToken = 0;
  SourcePlace place = {}; // of `front` in the text it was read from; line 0: not read
};

struct Schedule {
  std::string layer;
  std::vector<StageSchedule> stages;
  std::vector<CudaStage> cudaStages = {};
  std::vector<CudaFrontEntry> fronts = {}; // at most one of an architecture

  // Null: the schedule has no such stage for that target.
  const StageSchedule *find(llvm::StringRef stage, Isa isa) const;
  const CudaStage *find(llvm::StringRef stage, CudaArch arch) const;
  const CudaFrontEntry *findFront(CudaArch arch) const;
};

// One block does all the work of a front, so its time grows with T.
constexpr int64_t maxFrontTokens = 64;

// A cover table names a variant by one byte; far fewer are ever useful.
constexpr size_t maxScheduleEntries = 64;
constexpr size_t maxScheduleStages = 256;
constexpr size_t maxScheduleBytes = 1 << 20;
constexpr int64_t maxPackedBytes = int64_t(64) << 20;

// The text form; parameters in alphabetical order, integers before hints. parseSchedule reads back the same values.
std::string printSchedule(const Schedule &schedule);

// Reads `text`, which may hold anything; looks templates up in `templatesDir` first (empty: built-in only). The error,
// E-SCHEDULE "found ..., expected ...", is at its place of `fileName`. Does not check legality for a stage, because the
// text does not state shapes.
Result<Schedule> parseSchedule(llvm::StringRef text, llvm::StringRef fileName, llvm::StringRef templatesDir = "");

// S1 to S7 for one entry. The error, E-SCHEDULE "stage ffn_up amx rows 1..4: S2: ...", is at the entry's place.
Result<> checkEntry(const MatmulStage &facts, Isa isa, const ScheduleEntry &entry, llvm::StringRef templatesDir = "");

// Row ranges (from 1, no gap, last open, at most maxScheduleEntries) and checkEntry of every entry.
Result<> checkStage(const MatmulStage &facts, const StageSchedule &schedule, llvm::StringRef templatesDir = "");

// The ways to multiply that an entry may name, and whether two of them give a result the same bits (but subnormals).
extern const std::array<llvm::StringRef, 3> numericNames; // "amx", "dot", "fma"
bool haveSameBits(llvm::StringRef numeric, llvm::StringRef other);

// What --det batch needs: numerics of the same bits in all entries, so that a row's bits do not depend on the rows
// beside it. The error, E-SCHEDULE, is at the first entry that differs.
Result<> checkOneNumeric(const StageSchedule &schedule);

// Bytes of the worker's scratch that `rows` packed rows of A take (S6).
int64_t packedRowBytes(const MatmulStage &facts, llvm::StringRef numeric, int64_t blockK);

// "1..4" or "17.."
std::string rowRangeText(const ScheduleEntry &entry);

} // namespace moec

#endif
