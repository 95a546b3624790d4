// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// PTX text -> cubin and the resources of each kernel, by NVIDIA's assembler in a separate process.

#ifndef MOEC_CODEGEN_CUDA_PTXAS_H
#define MOEC_CODEGEN_CUDA_PTXAS_H

#include "codegen/Target.h"
#include "codegen/cuda/CudaPlan.h"

#include "dsl/text/Result.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace moec {

struct Ptxas {
  std::string path;
  uint32_t version = 0; // 13000 for 13.0; 0: unknown
};

// Environment variables that may name one.
struct PtxasPlaces {
  std::string path, cudaHome, virtualEnv, home; // PATH, CUDA_HOME, VIRTUAL_ENV, HOME
  std::string root = "/";                       // of the absolute places
};
PtxasPlaces ptxasPlaces(); // of this process

// Folders in the order they are searched: those of PATH, CUDA_HOME/bin, /usr/local/cuda/bin, then the Python packages
// nvidia-cuda-nvcc (nvidia/cu13/bin) and nvidia-cuda-nvcc-cu12 (nvidia/cuda_nvcc/bin) of the virtual environment, the
// user and the system.
std::vector<std::string> ptxasFolders(const PtxasPlaces &places);
std::optional<Ptxas> findPtxas(const PtxasPlaces &places = ptxasPlaces());
// One sentence: what to do if ptxas is missing.
std::string ptxasAdvice();

struct Assembled {
  std::string cubin;
  std::map<std::string, CudaKernelCost> kernels; // by symbol
  std::vector<std::string> messages;             // all other output: C75xx advice and warnings
};

// Runs `ptxas` on `ptx` (no shell; no file is made on disk). The error says how it ended, with its first lines: E-TOOL,
// or E-INTERNAL if ptxas refuses a line of the PTX, which is ours; E-MEMORY and E-RESOURCE as of runTool.
Result<Assembled> runPtxas(const Ptxas &ptxas, llvm::StringRef ptx, CudaArch arch);

// Whether `cubin` is an object for NVIDIA GPUs with a section of code for every kernel of `ptx`. The error is E-TOOL.
Result<> checkCubin(llvm::StringRef cubin, llvm::StringRef ptx);

// Reads the output of ptxas -v.
void parsePtxasLog(llvm::StringRef log, Assembled &out);

} // namespace moec

#endif
