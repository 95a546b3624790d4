// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer's stages -> a bundle: candidates of every row range as shared libraries, and bundle.json, the list of what
// its runner (templates/runner) measures on a machine without the compiler.
//
//   {"moec_bundle": 1, "name": "tiny", "moec": "0.1.0", "stamp": a record's stamp up to its date,
//    "tokens": 512, "minimum_gain_ppm": 10000,
//    "stages": [{"stage": "experts_down", "isa": "avx2",
//                "n", "groups", "panels", "panel_bytes", "panel_flops" (of one row), "item_panels", "max_rows",
//                "total_rows", "out_stride", "out_type", "scratch_bytes": StageLayout.h,
//                "arguments": [{"fill": "normal" | "row_token" | "output", "bytes", "type", "seed"}],
//                "ranges": [{"class": "9..12", "rows": 10, "checked": [9, 10, 11, 12],
//                            "head", "choice_head": of a record, up to its member "machine",
//                            "library": "kernels/...so", which exports candidates_package (moec_abi.h),
//                            "library_bytes", "library_hash": FNV-1a,
//                            "reference": hash of what the default computes, where it is known,
//                            "candidates": [the default first; {"kernel", "changes", "function" | "failed", "panel_m",
//                                           "same_bits"}]}]}]}
//
// Candidates are the neighbours of the default (Candidates.h). Of several with equal code one is taken.

#ifndef MOEC_CODEGEN_SEARCH_TUNEBUNDLE_H
#define MOEC_CODEGEN_SEARCH_TUNEBUNDLE_H

#include "codegen/emit/PackageFolder.h"
#include "codegen/pipeline/StageCompiler.h"
#include "codegen/search/Candidates.h"
#include "codegen/search/RowClasses.h"
#include "codegen/search/StageLayout.h"
#include "codegen/tune/TuneRecord.h"

#include "dsl/text/Result.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace moec {

struct BundleOptions {
  CandidateSpace space;
  TuneRouting routing;
  TuneRecord stamp;            // what every record says: spec, layer, stamp
  std::vector<int64_t> tokens; // of the calls that matter
  std::string stage;           // "": all
  unsigned jobs = 2;           // ranges compiled at a time
  double minimumGain = 0.01;
  int64_t coldBytes = int64_t(512) << 20;
  std::function<void(size_t done, size_t ranges)> progress; // of one thread at a time
};

struct BundleCandidate {
  ScheduleEntry entry;
  std::string symbol, failed; // one of them
  int64_t function = -1;      // in the library's function table; -1: it failed
};

struct BundleRange {
  RowClass rows;
  std::vector<BundleCandidate> candidates; // [0]: the default
  PackageFile library;
  std::string reference; // 16 hexadecimal digits; "": unknown
};

struct BundleStage {
  StageCompiler *pass = nullptr; // must outlive this
  size_t step = 0;               // of the pass
  StageSchedule schedule;
  StageLayout layout;
  int64_t scratchBytes = 0;
  std::vector<BundleRange> ranges; // most work first

  const MatmulStage &facts() const { return pass->stages()[step]; }
};

struct TuneBundle {
  std::string layer;
  std::vector<BundleStage> stages; // most work first
  size_t numRanges() const;
  size_t numCandidates() const; // without defaults and those that failed
  size_t numFailed() const;
};

// The stages of all passes of `compiler`, which must outlive the bundle. Libraries are linked in `workDir`, which must
// exist. Errors: E-USAGE if the layer has no such stage, E-TOOL of the
// linker, E-INTERNAL if a default cannot be built.
Result<TuneBundle> makeBundle(StageCompiler &compiler, const BundleOptions &options, llvm::StringRef workDir);

// bundle.json.
std::string bundleText(const TuneBundle &bundle, const BundleOptions &options);

} // namespace moec

#endif
