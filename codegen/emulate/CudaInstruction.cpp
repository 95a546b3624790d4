// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A tag -> CudaInstruction: one table row per instruction says which keys it has and how many values go in and out.

#include "codegen/emulate/CudaInstruction.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/Twine.h"

namespace moec {

namespace {
// What a row's counts mean beyond the plain numbers: `Regs` adds regs=, `Wgmma` adds n/2, `Matrices` adds n.
enum class Extra : uint8_t { None, Regs, Wgmma, Matrices };

struct Row {
  const char *name;
  CudaOpcode opcode;
  const char *keys; // blank-separated; every one must be given, except those of `isOptional`
  uint8_t operands, results;
  Extra extraOperands = Extra::None, extraResults = Extra::None;
};

bool isOptional(llvm::StringRef key) { return key == "threads" || key == "transa" || key == "transb"; }

const Row rows[] = {
    {"tid", CudaOpcode::Tid, "", 0, 1},
    {"ctaid", CudaOpcode::Ctaid, "", 0, 1},
    {"nctaid", CudaOpcode::Nctaid, "", 0, 1},
    {"barrier", CudaOpcode::Barrier, "id threads", 0, 0},
    {"warp_sync", CudaOpcode::WarpSync, "", 0, 0},
    {"shfl_bfly", CudaOpcode::ShflBfly, "mask", 1, 1},
    {"shfl_idx", CudaOpcode::ShflIdx, "", 2, 1},
    {"shfl_up", CudaOpcode::ShflUp, "delta", 1, 1},
    {"match_any", CudaOpcode::MatchAny, "", 1, 1},
    {"ballot", CudaOpcode::Ballot, "", 1, 1},
    {"div", CudaOpcode::Div, "", 2, 1},
    {"ex2", CudaOpcode::Ex2, "", 1, 1},
    {"cvt_tf32", CudaOpcode::CvtTf32, "", 1, 1},
    {"cp_async", CudaOpcode::CpAsync, "", 3, 0},
    {"cp_async_commit", CudaOpcode::CpAsyncCommit, "", 0, 0},
    {"cp_async_wait", CudaOpcode::CpAsyncWait, "n", 0, 0},
    {"cp_async_arrive", CudaOpcode::CpAsyncArrive, "", 1, 0},
    {"ldmatrix", CudaOpcode::LdMatrix, "n trans", 1, 0, Extra::None, Extra::Matrices},
    {"stmatrix", CudaOpcode::StMatrix, "n", 1, 0, Extra::Matrices},
    {"mma", CudaOpcode::Mma, "type", 10, 4},
    {"mbar_init", CudaOpcode::MbarInit, "", 2, 0},
    {"mbar_arrive", CudaOpcode::MbarArrive, "", 1, 0},
    {"mbar_expect", CudaOpcode::MbarExpect, "", 2, 0},
    {"mbar_wait", CudaOpcode::MbarWait, "", 2, 0},
    {"fence_mbar_init", CudaOpcode::FenceMbarInit, "", 0, 0},
    {"fence_async", CudaOpcode::FenceAsync, "", 0, 0},
    {"fence_async_global", CudaOpcode::FenceAsyncGlobal, "", 0, 0},
    {"tma_load_3d", CudaOpcode::TmaLoad3d, "", 6, 0},
    {"tma_prefetch", CudaOpcode::TmaPrefetch, "", 1, 0},
    {"wgmma", CudaOpcode::Wgmma, "n type transa transb", 3, 0, Extra::Wgmma, Extra::Wgmma},
    {"wgmma_fence", CudaOpcode::WgmmaFence, "regs", 0, 0, Extra::Regs, Extra::Regs},
    {"wgmma_commit", CudaOpcode::WgmmaCommit, "", 0, 0},
    {"wgmma_wait", CudaOpcode::WgmmaWait, "n regs", 0, 0, Extra::Regs, Extra::Regs},
    {"setmaxnreg", CudaOpcode::SetMaxNreg, "n dir", 0, 0},
    {"grid_wait", CudaOpcode::GridWait, "", 0, 0},
    {"grid_launch", CudaOpcode::GridLaunch, "", 0, 0},
    {"store_v4", CudaOpcode::StoreV4, "", 5, 0},
    {"red_add_f32", CudaOpcode::RedAddF32, "at", 2, 0},
};

llvm::Error malformed(llvm::StringRef tag, const llvm::Twine &why) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), "instruction \"" + tag + "\": " + why);
}

bool setNumber(CudaInstruction &instruction, llvm::StringRef key, uint32_t value) {
  if (key == "threads")
    instruction.threads = value;
  else if (key == "regs")
    instruction.regs = value;
  else if (key == "trans" && value <= 1)
    instruction.flag = value == 1;
  else if ((key == "transa" || key == "transb") && value <= 1)
    instruction.depthFirst[key == "transb"] = value == 1;
  else if (key == "n" || key == "id" || key == "mask" || key == "delta" || key == "at")
    instruction.n = value;
  else
    return false;
  return true;
}

bool setKey(CudaInstruction &instruction, llvm::StringRef key, llvm::StringRef value) {
  if (key == "type") {
    instruction.type = value == "bf16"   ? CudaElement::Bf16
                       : value == "f16"  ? CudaElement::F16
                       : value == "tf32" ? CudaElement::Tf32
                                         : CudaElement::None;
    return instruction.type != CudaElement::None;
  }
  if (key == "dir") {
    instruction.flag = value == "inc";
    return value == "inc" || value == "dec";
  }
  uint32_t number;
  return !value.getAsInteger(10, number) && setNumber(instruction, key, number);
}

uint32_t extraSlots(Extra extra, const CudaInstruction &instruction) {
  switch (extra) {
  case Extra::None:
    return 0;
  case Extra::Regs:
    return instruction.regs;
  case Extra::Wgmma:
    return instruction.n / 2;
  case Extra::Matrices:
    return instruction.n;
  }
  return 0;
}

// The limits of the PTX ISA that no operand can repair; "" when all hold.
llvm::StringRef brokenLimit(const CudaInstruction &instruction) {
  switch (instruction.opcode) {
  case CudaOpcode::Wgmma:
    if (instruction.n % 8 || instruction.n < 8 || instruction.n > 256)
      return "n is a multiple of 8 from 8 to 256";
    return instruction.type == CudaElement::Tf32 ? "type is bf16 or f16" : "";
  case CudaOpcode::LdMatrix:
  case CudaOpcode::StMatrix:
    return instruction.n == 1 || instruction.n == 2 || instruction.n == 4 ? "" : "n is 1, 2 or 4";
  case CudaOpcode::Barrier:
    if (instruction.n > 15)
      return "id is 0 to 15";
    return instruction.threads % 32 || instruction.threads > 1024 ? "threads is a multiple of 32 up to 1024" : "";
  case CudaOpcode::SetMaxNreg:
    return instruction.n % 8 || instruction.n < 24 || instruction.n > 256 ? "n is a multiple of 8 from 24 to 256" : "";
  case CudaOpcode::WgmmaFence:
  case CudaOpcode::WgmmaWait:
    return instruction.regs > 512 || instruction.n > 7 ? "regs is at most 512 and n at most 7" : "";
  default:
    return "";
  }
}
} // namespace

llvm::Expected<CudaInstruction> parseCudaInstruction(llvm::StringRef assembly) {
  llvm::StringRef tag = assembly;
  if (!tag.consume_front("/*moec ") || !tag.contains("*/"))
    return malformed(assembly.take_front(60), "no tag: inline assembly begins with /*moec NAME key=value ...*/");
  tag = tag.split("*/").first.trim();
  llvm::SmallVector<llvm::StringRef> words, keys;
  tag.split(words, ' ', -1, /*KeepEmpty=*/false);
  const Row *row = nullptr;
  for (const Row &candidate : rows)
    if (!words.empty() && words[0] == candidate.name)
      row = &candidate;
  if (!row)
    return malformed(tag, "the emulator has no such instruction");
  llvm::StringRef(row->keys).split(keys, ' ', -1, /*KeepEmpty=*/false);
  CudaInstruction instruction;
  instruction.opcode = row->opcode;
  instruction.text = tag.str();
  llvm::SmallVector<llvm::StringRef> given;
  for (llvm::StringRef word : llvm::ArrayRef(words).drop_front()) {
    auto [key, value] = word.split('=');
    if (!llvm::is_contained(keys, key) || llvm::is_contained(given, key) || !setKey(instruction, key, value))
      return malformed(tag, "\"" + word + "\" is not one of its keys, or not a value of it");
    given.push_back(key);
  }
  for (llvm::StringRef key : keys)
    if (!isOptional(key) && !llvm::is_contained(given, key))
      return malformed(tag, "no " + key + "=");
  if (llvm::StringRef limit = brokenLimit(instruction); !limit.empty())
    return malformed(tag, limit);
  instruction.numOperands = row->operands + extraSlots(row->extraOperands, instruction);
  instruction.numResults = row->results + extraSlots(row->extraResults, instruction);
  return instruction;
}

} // namespace moec
