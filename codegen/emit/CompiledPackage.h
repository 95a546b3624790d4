// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A compiled layer in memory: objects, plan, device images, and the decisions that led to them.

#ifndef MOEC_CODEGEN_EMIT_COMPILEDPACKAGE_H
#define MOEC_CODEGEN_EMIT_COMPILEDPACKAGE_H

#include "codegen/CompileOptions.h"
#include "codegen/PackageSources.h"
#include "codegen/cuda/CudaPlan.h"
#include "codegen/plan/LaunchPlan.h"

#include "llvm/ADT/SmallVector.h"

#include <memory>
#include <string>
#include <vector>

namespace llvm {
class LLVMContext;
class Module;
} // namespace llvm

namespace moec {

struct ObjectFile {
  std::string name; // "tiny_avx512.o"
  llvm::SmallVector<char, 0> bytes;
};

// Kernels of a CUDA target for the emulator.
struct DeviceModule {
  CudaArch arch = CudaArch::Sm80;
  std::unique_ptr<llvm::LLVMContext> context; // outlives `module`
  std::unique_ptr<llvm::Module> module;
};

// What forward saves of a layer that trains, and what backward computes again (grad/Partition.h).
struct SavedFacts {
  struct Value {
    std::string what; // "experts.gate", "ids"
    int64_t bytesPerToken = 0;
  };
  std::vector<Value> values;
  std::vector<std::string> again;
};

struct CompiledPackage {
  CompiledPackage();
  ~CompiledPackage();

  std::string name;                          // symbol prefix
  std::string canonicalSpec;                 // canonical JSON; empty when compiled from moe text
  PackageSources sources;                    // what it was made from beside the spec
  LaunchPlan plan;                           // filled, isa variants included
  std::unique_ptr<CompiledPackage> backward; // of a layer that trains; its objects are among those below
  SavedFacts saved;                          // with `backward`; empty where a package was read from a folder
  std::string scheduleText;                  // the schedule used, printed
  std::vector<std::string> fusionNotes;      // "F1  ...": what was fused and why
  std::vector<std::string> tuningNotes;      // where the kernels of each stage come from, if records were looked up
  std::vector<std::string> functionNames;    // kernel symbols in table order
  std::vector<ObjectFile> objects;           // one per ISA, then the plan object that defines NAME_package
  MathMode math = MathMode::Exact;           // of the CUDA kernels
  CudaPlan cuda;                             // without targets: CPU only
  std::vector<std::string> images;           // what cuda's targets name: cubins, and PTX with its NUL
  std::vector<std::string> cudaFindings; // what the gates (cuda/CudaGates.h) found in working kernels, of both passes
  bool ptxasMissing = false;             // images are only PTX, and only the gates that read PTX were checked
  // with emulateCuda, one per target of `cuda`; image i is the emulator's of module i
  std::vector<DeviceModule> deviceModules;
};

} // namespace moec

#endif
