// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Machine facts the compiler reasons with: instruction sets, their vector width and LLVM names.

#ifndef MOEC_CODEGEN_TARGET_H
#define MOEC_CODEGEN_TARGET_H

#include "runtime/moec_abi.h"

#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moec {

enum class Isa : uint8_t {
  Baseline = MOEC_ISA_BASELINE,      // x86-64: SSE2, no FMA
  Avx2 = MOEC_ISA_AVX2,              // AVX2 + FMA
  Avx512 = MOEC_ISA_AVX512,          // AVX-512 F, BW, VL, DQ
  Avx512Bf16 = MOEC_ISA_AVX512_BF16, // and AVX512-BF16: pairs of bf16 multiplied and added in one instruction
  Amx = MOEC_ISA_AMX                 // AMX-TILE, AMX-BF16, AVX512-BF16
};

struct IsaFacts {
  Isa isa;
  llvm::StringRef name;     // "avx512"
  llvm::StringRef cpu;      // LLVM -mcpu
  llvm::StringRef features; // LLVM target features on top of cpu
  unsigned lanes;           // f32 lanes of a vector
  unsigned registers;       // vector registers
  bool fma;
  bool bf16Dot; // vdpbf16ps and vcvtneps2bf16
};
const IsaFacts &isaFacts(Isa isa);

// A set of instruction sets, bit i = Isa i.
struct IsaSet {
  uint32_t mask = 0;
  static IsaSet all() { return {(1u << MOEC_NUM_ISAS) - 1}; }
  static IsaSet of(Isa isa) { return {1u << unsigned(isa)}; }
  bool has(Isa isa) const { return mask >> unsigned(isa) & 1; }
};

// CUDA architectures that kernels are built for, in rising order.
enum class CudaArch : uint8_t { Sm80, Sm90a };
constexpr unsigned numCudaArchs = 2;

struct CudaArchFacts {
  CudaArch arch;
  llvm::StringRef name;   // "sm_90a": target name, LLVM -mcpu and ptxas -arch
  int64_t sm;             // 90
  bool exact;             // runs only on that compute capability; otherwise its PTX also runs on every later one
  int64_t maxSharedBytes; // dynamic shared memory of a block, on every device the target runs on
  int64_t smSharedBytes;  // of a multiprocessor
};
const CudaArchFacts &cudaArchFacts(CudaArch arch);

// "cpu" -> all; "cpu:amx", "cpu:avx512_bf16", "cpu:avx512", "cpu:avx2", "cpu:baseline" -> one. False: this version does
// not know the target. cpu:amx and cpu:avx512_bf16 also build AVX-512 kernels for what they do not multiply.
bool parseTarget(llvm::StringRef text, IsaSet &out);
// "cuda" -> all, "cuda:sm_90a", "cuda:sm_80" -> one; added to `out`, which stays sorted, best first. False as above.
bool parseTarget(llvm::StringRef text, std::vector<CudaArch> &out);
std::vector<std::string> targetNames();

} // namespace moec

#endif
