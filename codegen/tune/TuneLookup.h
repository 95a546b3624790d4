// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Records and a question -> the choice to use for blocks of so many rows, and why not the others that were measured for
// the same.
//
// Only choices are used; measurements are what choices were made of. Every record is judged by itself: one that cannot
// be used never makes another one unusable, except that a kernel that was measured wrong is never used.
//
// Of the usable choices the best is, in this order:
//
//     times      measured, then predicted by a model
//     device     exact, then family, then foreign (TuneMachine.h)
//     source     user, then project, then shipped
//     spec       the same layer, then another layer with a stage of the same shape
//     threads    as many as asked for, then others
//     date       the later one, then the later line

#ifndef MOEC_CODEGEN_TUNE_TUNELOOKUP_H
#define MOEC_CODEGEN_TUNE_TUNELOOKUP_H

#include "codegen/tune/TuneAudit.h"
#include "codegen/tune/TuneSources.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace moec {

struct TuneQuery {
  TuneStage stage;     // a record needs the same shape; the spec's hash and the name only prefer
  std::string target;  // "cpu:avx512", "cuda:sm_90a"
  TuneMachine machine; // that the kernels will run on
  TuneStamp now;       // currentStamp
  int64_t threads = 0; // 0: any
  // The numerics that the package may use ("fma"), because another one changes bits; empty: any.
  std::vector<std::string> numerics;
  // Whether an entry may run there; null: it may. An error's message says why not.
  std::function<Result<>(const std::string &candidate, TuneClass rows)> legal;
  std::string templatesDir;
};

enum class TuneReason {
  Stale,     // stamped by another major ABI or another way to time
  Template,  // its kernel's template has another text than the one that was measured
  Wrong,     // the kernel computes something else
  Failed,    // the kernel could not be built or run, or took too long
  Bits,      // the kernel has another numeric than the package may use
  Illegal,   // the entry breaks a rule, or this version lacks its template
  Slower,    // a measurement of a kernel that was not chosen
  Evidence,  // a measurement of the kernel that is used
  Undecided, // a measurement, and no choice is used
  Device,    // a nearer device has a choice
  Source,    // a source that comes first has a choice
  Superseded // otherwise usable, but another one is better: measured, or by spec, stage, threads or date
};
const char *tuneReasonName(TuneReason reason); // "stale", ...

struct TuneRejection {
  size_t item = 0; // of TuneSet::items
  TuneReason reason = TuneReason::Stale;
  std::string text; // for people, begins with the reason's name: "stale: timing method 1, this is 2"
};

struct TuneAnswer {
  std::optional<size_t> used; // of TuneSet::items; nullopt: heuristics decide
  DeviceMatch match = DeviceMatch::Exact;
  std::vector<TuneRejection> rejected; // others with this target, shape and rows, in the order of the set
};

// Asks for one number of rows after the other. Refers to `set` and `query`.
class TuneLookup {
public:
  TuneLookup(const TuneSet &set, const TuneQuery &query);
  // `rows` of a block (CPU) or tokens of a call (CUDA), at least 1.
  TuneAnswer at(int64_t rows) const;

private:
  const TuneSet &set;
  const TuneQuery &query;
  std::vector<size_t> items; // with the target and the shape
  WrongKernels wrong;
};

} // namespace moec

#endif
