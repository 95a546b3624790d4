// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A stage and a range of tokens of its CUDA schedule -> candidates in the order of a model (CudaModel.h), records that
// say so, and the one to use until somebody measures. For machines without a GPU.
//
// All candidates are predicted with assumed registers; the best of these are built, and predicted again with what the
// assembler says. One is chosen if it is predicted to be 5 % faster than the default at least: the model is not more
// exact than that.

#ifndef MOEC_CODEGEN_SEARCH_CUDARANK_H
#define MOEC_CODEGEN_SEARCH_CUDARANK_H

#include "codegen/search/CudaModel.h"
#include "codegen/tune/TuneRecord.h"

#include "dsl/text/Result.h"

#include <functional>
#include <string>
#include <vector>

namespace moec {

struct CudaRankOptions {
  TuneRecord stamp; // spec, layer, stamp; the machine is set from `gpu`
  TuneRouting routing;
  std::vector<int64_t> tokens; // of the calls that matter
  std::string templatesDir;
  bool otherBits = false;
  const Ptxas *ptxas = nullptr; // null: registers and spills are not known
  const GpuFacts *gpu = nullptr;
  size_t built = 16; // candidates of a range that are built
  double minimumGain = 0.05;
};

struct RankedCandidate {
  CudaEntry entry;
  CudaKernelFigures cost;
  std::string failed; // it cannot be built, spills, or does not fit
  TuneTimes times;    // else
};

struct RankedRange {
  CudaEntry standard;
  std::vector<RankedCandidate> candidates; // fastest first, those that failed last
  bool changed = false;                    // to candidates[0]
  const char *bound = "";                  // of what is chosen
  std::vector<TuneRecord> records;         // a measurement each, then the choice, all predicted
};

// Candidates that have times before those that failed; then the larger gain; of gains that differ by less than 0.1 %
// fewer differences from `standard`, then the text.
void sortRanked(std::vector<RankedCandidate> &candidates, const CudaEntry &standard);

// The ranges of `schedule` that options.tokens meet, in order. E-INTERNAL if a default cannot be built.
Result<std::vector<RankedRange>> rankCudaStage(StageCompiler &compiler, size_t step, const CudaStage &schedule,
                                               const CudaRankOptions &options);

} // namespace moec

#endif
