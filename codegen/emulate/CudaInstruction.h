// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The tag of an inline-asm instruction (codegen/cuda/Ptx.h) -> an opcode with its integers, which CudaBlock executes.

#ifndef MOEC_CODEGEN_EMULATE_CUDAINSTRUCTION_H
#define MOEC_CODEGEN_EMULATE_CUDAINSTRUCTION_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <string>

namespace moec {

enum class CudaOpcode : uint8_t {
  Tid,
  Ctaid,
  Nctaid,
  Barrier,
  WarpSync,
  ShflBfly,
  ShflIdx,
  ShflUp,
  MatchAny,
  Ballot,
  Div,
  Ex2,
  CvtTf32,
  CpAsync,
  CpAsyncCommit,
  CpAsyncWait,
  CpAsyncArrive,
  LdMatrix,
  StMatrix,
  Mma,
  MbarInit,
  MbarArrive,
  MbarExpect,
  MbarWait,
  FenceMbarInit,
  FenceAsync,
  FenceAsyncGlobal,
  TmaLoad3d,
  TmaPrefetch,
  Wgmma,
  WgmmaFence,
  WgmmaCommit,
  WgmmaWait,
  SetMaxNreg,
  GridWait,
  GridLaunch,
  StoreV4,
  RedAddF32
};

enum class CudaElement : uint8_t { None, Bf16, F16, Tf32 };

// One instruction. `n` is the tag's n, mask, delta, regs or id, whichever the instruction has; operands and results
// are counted in 8-byte slots, one per value.
struct CudaInstruction {
  CudaOpcode opcode = CudaOpcode::Tid;
  CudaElement type = CudaElement::None;
  bool flag = false;                   // trans=1, dir=inc
  bool depthFirst[2] = {false, false}; // transa=1, transb=1
  uint32_t n = 0;                      // n=, mask=, delta=, id=, at=
  uint32_t threads = 0;                // threads=; 0: the whole block
  uint32_t regs = 0;                   // regs=
  uint32_t numOperands = 0, numResults = 0;
  std::string text; // the tag, for messages
};

// Parses "/*moec NAME key=value ...*/ ...". Errors name the text and what was expected.
llvm::Expected<CudaInstruction> parseCudaInstruction(llvm::StringRef assembly);

} // namespace moec

#endif
