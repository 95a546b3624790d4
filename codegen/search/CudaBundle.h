// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer's stages, of both passes -> a bundle for a GPU: packages that differ from the default in one range of tokens
// of one stage, and bundle.json, the list of what its runner (templates/runner/cuda) compares and times in whole calls.
//
//   {"moec_bundle": 1, "name": "tiny", "moec", "stamp", "tokens", "minimum_gain_ppm": TuneBundle.h,
//    "calls": [{"stage": "experts_down", "pass": "forward" | "backward", whose calls are timed,
//               "target": "cuda:sm_90a", "sm": 90, "exact": true,
//               "class": "1..8", "tokens": [1, 8], "head", "choice_head",
//               "candidates": [the default first; {"kernel", "changes", "same_bits",
//                              "library": "kernels/...so", "library_bytes", "library_hash"}]}]}
//
// Candidates are those that CudaRank.h predicts to be fastest.

#ifndef MOEC_CODEGEN_SEARCH_CUDABUNDLE_H
#define MOEC_CODEGEN_SEARCH_CUDABUNDLE_H

#include "codegen/emit/PackageFolder.h"
#include "codegen/search/CudaRank.h"

#include <functional>
#include <string>
#include <vector>

namespace moec {

struct CudaBundleOptions {
  CudaRankOptions rank;      // of `gpu` only what a null pointer leaves out: the device of each architecture is taken
  std::string stage;         // "": all
  size_t candidates = 4;     // of a range
  double minimumGain = 0.01; // of measured times
  std::function<void(size_t packages)> progress; // may be empty
};

struct CudaBundle {
  std::vector<PackageFile> files; // bundle.json and the packages
  size_t ranges = 0, candidates = 0;
};

// `input` and `options` are those of `compiler`. Libraries are linked in `workDir`. Errors: those of rankCudaStage, of
// a compilation, E-USAGE if the layer has no such stage, E-TOOL of the linker.
Result<CudaBundle> makeCudaBundle(StageCompiler &compiler, const CompileInput &input, const CompileOptions &options,
                                  const CudaBundleOptions &bundle, llvm::StringRef workDir);

} // namespace moec

#endif
