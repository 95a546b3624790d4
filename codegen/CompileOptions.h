// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a compilation is asked for.

#ifndef MOEC_CODEGEN_COMPILEOPTIONS_H
#define MOEC_CODEGEN_COMPILEOPTIONS_H

#include "codegen/PackageSources.h"
#include "codegen/Target.h"

#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace moec {

// The arithmetic of f32 matmuls in CUDA kernels: f32, or tf32 (10 bits of mantissa) on tensor cores. Matmuls that
// decide which experts are chosen stay exact in both modes.
enum class MathMode { Exact, Tf32 };
// Run: a call's bits repeat from run to run. Off: CUDA kernels may add a token's rows in any order, so results repeat
// only up to rounding. Batch, CPU targets only: a row's bits depend neither on the other rows of the call nor on which
// of avx2, avx512 and avx512_bf16 runs.
enum class Determinism { Off, Run, Batch };

// The sanitizer whose checks the kernels contain. The program that links them must be built with the same one.
enum class Sanitizer : uint8_t { None, Address, Thread };

struct TuneSet;

struct CompileOptions {
  IsaSet isas = IsaSet::all();           // CPU instruction sets to build
  std::vector<CudaArch> archs;           // CUDA architectures to build
  int64_t maxTokens = 8192;              // largest T the package serves
  int64_t workspaceLimit = 0;            // bytes on one thread; 0: none. Larger calls run in chunks of tokens (CPU)
  std::string templatesDir;              // overlay folder, empty = built-in templates only
  std::string scheduleText;              // a schedule to force (text of a schedule file), empty = heuristics
  std::string scheduleName;              // its file name, for messages
  std::vector<std::string> tuningFiles;  // of --tuning: where `tuning` is loaded from
  std::shared_ptr<const TuneSet> tuning; // records of measurements (codegen/tune), null = heuristics alone
  // The schedule is that of a package with this origin, which the new package gets in place of --schedule; then
  // `scheduleText` names every stage.
  std::shared_ptr<const ScheduleOrigin> scheduleOrigin;
  bool allowBits = false; // records may choose kernels that change a result's bits
  MathMode math = MathMode::Exact;
  Determinism determinism = Determinism::Run;
  unsigned jobs = 2;         // ISAs and CUDA architectures compiled in parallel
  bool emulateTiles = false; // replaces AMX tile instructions by calls, in the baseline slot; for tests only
  bool emulateCuda = false;  // keeps CUDA kernels as modules for the emulator instead of assembling; for tests only
  Sanitizer sanitizer = Sanitizer::None; // adds checks to the kernels, but not to AMX kernels; for tests only
  std::function<void(llvm::StringRef stage, llvm::StringRef detail, double seconds)> progress; // may be empty
};

} // namespace moec

#endif
