// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LayerSpec (or moe text) in -> compiled package in memory out. The stages, in order, are the enum below; codegen/README.md
// says what each one's form is. Nothing here prints, exits or touches the file system, except --templates reading.

#ifndef MOEC_CODEGEN_PIPELINE_H
#define MOEC_CODEGEN_PIPELINE_H

#include "Target.h"

#include "cuda/CudaPlan.h"
#include "emit/Sanitizer.h"
#include "moe/LaunchPlan.h"

#include "dsl/LayerSpec.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/raw_ostream.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

struct moec_package;

namespace llvm {
class LLVMContext;
class Module;
} // namespace llvm

namespace moec {

enum class Stage { Spec, Build, Fuse, Plan, Schedule, Instantiate, Lower, Emit };
std::optional<Stage> parseStage(llvm::StringRef name);
llvm::StringRef stageName(Stage stage);

// What f32 matmuls of CUDA kernels multiply with: f32, or on tensor cores tf32, which has 10 bits of mantissa. Where a
// choice of experts follows from a matmul it is exact either way.
enum class MathMode { Exact, Tf32 };
// What repeats: the bits of a call from run to run, or, where CUDA kernels add rows to tokens in any order, its values but
// for rounding.
enum class Determinism { Off, Run };

struct CompileOptions {
  IsaSet isas = IsaSet::all();   // CPU instruction sets to build
  std::vector<CudaArch> archs;   // CUDA architectures to build
  int64_t maxTokens = 8192;      // largest T the package serves
  std::string templatesDir;      // overlay folder, empty = built-in templates only
  std::string scheduleText;      // a schedule to force (text of a schedule file), empty = heuristics
  std::string scheduleName;      // its file name, for messages
  MathMode math = MathMode::Exact;
  Determinism determinism = Determinism::Run;
  unsigned jobs = 2;             // ISAs and CUDA architectures compiled in parallel
  bool emulateTiles = false;     // AMX kernels with tile instructions as calls, in the baseline slot; for tests only
  bool emulateCuda = false;      // CUDA kernels are kept as modules for the emulator, not assembled; for tests only
  Sanitizer sanitizer = Sanitizer::None; // checks inside the kernels, not with AMX; for tests only
  std::function<void(llvm::StringRef stage, llvm::StringRef detail, double seconds)> progress; // may be empty
};

// Why compilation stopped. `exitCode` is the command line's: 3 invalid input, 4 unsupported, 7 internal error.
struct CompileError {
  int exitCode = 7;
  std::string code;    // "E-UNSUPPORTED", "E-TEMPLATE", ...
  std::string path;    // dotted JSON path of the offending key ("experts.quant.kind"), empty if none; the CLI finds its line
  std::string message; // one sentence: what was found, what is supported
  std::string hint;    // an action, may be empty
};

struct ObjectFile {
  std::string name; // "qwen3_30b_avx512.o"
  llvm::SmallVector<char, 0> bytes;
};

// Kernels of a CUDA target for the emulator.
struct DeviceModule {
  CudaArch arch = CudaArch::Sm80;
  std::unique_ptr<llvm::LLVMContext> context; // outlives `module`
  std::unique_ptr<llvm::Module> module;
};

struct CompiledPackage {
  CompiledPackage();
  ~CompiledPackage();

  std::string name;          // symbol prefix
  std::string canonicalSpec; // canonical JSON; empty when compiled from moe text
  LaunchPlan plan;           // filled, isa variants included
  std::string scheduleText;  // the schedule used, printed
  std::vector<std::string> fusionNotes;   // "F1  ...": what was fused and why
  std::vector<std::string> functionNames; // kernel symbols in table order
  std::vector<ObjectFile> objects;        // one per ISA, then the plan object that defines NAME_package
  MathMode math = MathMode::Exact;        // of the CUDA kernels
  CudaPlan cuda;                          // without targets: CPU only
  std::vector<std::string> images;        // what cuda's targets name: cubins, and PTX with its NUL
  std::vector<std::string> cudaFindings;  // of the gates (cuda/CudaGates.h): kernels that run, but not as they should
  bool ptxasMissing = false;              // images are PTX alone, and only the gates that read PTX were checked
  std::vector<DeviceModule> deviceModules; // with emulateCuda, one per target of `cuda`; image i is the emulator's of module i
};

// The input of a compilation: exactly one of the two.
struct CompileInput {
  const LayerSpec *spec = nullptr;
  std::string moeText, moeFile; // text of the moe dialect and its file name for messages
};

// Errors are appended to `errors`; the result is null exactly when there is one.
std::unique_ptr<CompiledPackage> compileLayer(const CompileInput &input, const CompileOptions &options,
                                              std::vector<CompileError> &errors);

// Prints the form after `stage` (IR text, plan, schedule, LLVM IR or assembly). False: errors were appended.
bool printStage(const CompileInput &input, const CompileOptions &options, Stage stage, llvm::raw_ostream &os,
                std::vector<CompileError> &errors);

// A compiled package linked into this process by the JIT linker: the very bytes that would ship, but for CUDA images,
// which are `compiled.images`.
class LoadedPackage {
public:
  static std::unique_ptr<LoadedPackage> load(const CompiledPackage &compiled, std::string &error);
  ~LoadedPackage();
  const moec_package *get() const { return package; }

private:
  LoadedPackage() = default;
  struct Impl;
  std::unique_ptr<Impl> impl;
  const moec_package *package = nullptr;
};

} // namespace moec

#endif
