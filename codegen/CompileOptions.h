// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a compilation is asked for, and why one stopped.

#ifndef MOEC_CODEGEN_COMPILEOPTIONS_H
#define MOEC_CODEGEN_COMPILEOPTIONS_H

#include "codegen/Target.h"

#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace moec {

// What f32 matmuls of CUDA kernels multiply with: f32, or on tensor cores tf32, which has 10 bits of mantissa. Where a
// choice of experts follows from a matmul it is exact either way.
enum class MathMode { Exact, Tf32 };
// What repeats: the bits of a call from run to run, or, where CUDA kernels add rows to tokens in any order, its values
// but for rounding.
enum class Determinism { Off, Run };

// Whose checks the kernels hold. The program that links them must be built with the same one.
enum class Sanitizer : uint8_t { None, Address, Thread };

struct CompileOptions {
  IsaSet isas = IsaSet::all(); // CPU instruction sets to build
  std::vector<CudaArch> archs; // CUDA architectures to build
  int64_t maxTokens = 8192;    // largest T the package serves
  std::string templatesDir;    // overlay folder, empty = built-in templates only
  std::string scheduleText;    // a schedule to force (text of a schedule file), empty = heuristics
  std::string scheduleName;    // its file name, for messages
  MathMode math = MathMode::Exact;
  Determinism determinism = Determinism::Run;
  unsigned jobs = 2;         // ISAs and CUDA architectures compiled in parallel
  bool emulateTiles = false; // AMX kernels with tile instructions as calls, in the baseline slot; for tests only
  bool emulateCuda = false;  // CUDA kernels are kept as modules for the emulator, not assembled; for tests only
  Sanitizer sanitizer = Sanitizer::None; // checks inside the kernels, not with AMX; for tests only
  std::function<void(llvm::StringRef stage, llvm::StringRef detail, double seconds)> progress; // may be empty
};

// Why compilation stopped. `exitCode` is the command line's: 3 invalid input, 4 unsupported, 7 internal error.
struct CompileError {
  int exitCode = 7;
  std::string code; // "E-UNSUPPORTED", "E-TEMPLATE", ...
  std::string
      path; // dotted JSON path of the offending key ("experts.quant.kind"), empty if none; the CLI finds its line
  std::string message; // one sentence: what was found, what is supported
  std::string hint;    // an action, may be empty
};

} // namespace moec

#endif
