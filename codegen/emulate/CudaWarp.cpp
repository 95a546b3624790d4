// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Instructions that all 32 lanes of a warp execute together -> the last lane to arrive computes every lane's results.

#include "codegen/emulate/CudaBlock.h"

#include "codegen/emulate/CudaTensorCore.h"

namespace moec {

static std::string lanesOf(uint32_t mask) {
  std::string text;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1u))
      continue;
    unsigned first = lane;
    while (lane < 31 && (mask >> (lane + 1) & 1u))
      ++lane;
    text += (text.empty() ? "" : ", ") + std::to_string(first) + (lane > first ? "-" + std::to_string(lane) : "");
  }
  return text;
}

bool CudaBlock::gather(const CudaInstruction &instruction, uint64_t *results, const uint64_t *operands) {
  CudaWarp &warp = warps[current->warp];
  if (warp.arrived && warp.at != &instruction)
    stop("the warp diverged: \"" + instruction.text + "\" while lanes " + lanesOf(warp.arrived) + " wait at \"" +
         warp.at->text + "\"");
  warp.at = &instruction;
  warp.arrived |= 1u << current->lane;
  warp.operands[current->lane] = operands;
  warp.results[current->lane] = results;
  if (warp.arrived == ~0u)
    return true;
  wait([&warp, &instruction] {
    return "\"" + instruction.text + "\" (lanes " + lanesOf(warp.arrived) + " of the warp)";
  });
  return false;
}

void CudaBlock::scatter() {
  CudaWarp &warp = warps[current->warp];
  warp.arrived = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    wake(current->warp * 32 + lane);
}

void CudaBlock::shuffle(const CudaInstruction &instruction, CudaWarp &warp) {
  uint32_t values[32], ballot = 0;
  for (unsigned lane = 0; lane < 32; ++lane) {
    values[lane] = uint32_t(warp.operands[lane][0]);
    ballot |= (values[lane] != 0 ? 1u : 0u) << lane;
  }
  for (unsigned lane = 0; lane < 32; ++lane) {
    uint32_t result = 0;
    switch (instruction.opcode) {
    case CudaOpcode::ShflBfly:
      result = values[(lane ^ instruction.n) & 31];
      break;
    case CudaOpcode::ShflIdx:
      result = values[warp.operands[lane][1] & 31];
      break;
    case CudaOpcode::ShflUp:
      result = values[lane >= instruction.n ? lane - instruction.n : lane];
      break;
    case CudaOpcode::MatchAny:
      for (unsigned other = 0; other < 32; ++other)
        result |= (values[other] == values[lane] ? 1u : 0u) << other;
      break;
    default:
      result = ballot;
    }
    warp.results[lane][0] = result;
  }
}

void CudaBlock::runWarpInstruction(const CudaInstruction &instruction, uint64_t *results, const uint64_t *operands) {
  if (launch.threads % 32)
    stop("\"" + instruction.text + "\" in a block of " + std::to_string(launch.threads) +
         " threads, which is not a multiple of 32");
  if (!gather(instruction, results, operands))
    return;
  CudaWarp &warp = warps[current->warp];
  switch (instruction.opcode) {
  case CudaOpcode::WarpSync: {
    CudaClock clock;
    for (unsigned lane = 0; lane < 32; ++lane)
      clocks.release(current->warp * 32 + lane, clock);
    for (unsigned lane = 0; lane < 32; ++lane)
      clocks.acquire(current->warp * 32 + lane, clock);
    break;
  }
  case CudaOpcode::LdMatrix:
    loadMatrices(instruction, warp);
    break;
  case CudaOpcode::StMatrix:
    storeMatrices(instruction, warp);
    break;
  case CudaOpcode::Mma:
    multiplyFragments(instruction, warp);
    break;
  case CudaOpcode::WgmmaWait:
    tensorCore->waitGroup(instruction, warp);
    break;
  case CudaOpcode::SetMaxNreg:
    break;
  default:
    shuffle(instruction, warp);
  }
  scatter();
}

} // namespace moec
