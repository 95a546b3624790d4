// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// ldmatrix, stmatrix and mma.sync of a warp -> registers and shared memory, by the PTX ISA's fragment layouts.
//
// With g = lane / 4 and t = lane % 4, register r of lane holds (row, column):
//
//     m16n8k16 A (two per register)  (g + 8*(r%2), 2t + 8*(r/2))  and the next column
//     m16n8k16 B (two per register)  k = 2t + 8r and the next k, n = g
//     m16n8k8  A (tf32)              (g + 8*(r%2), t + 4*(r/2))
//     m16n8k8  B (tf32)              k = t + 4r, n = g
//     C and D                        (g + 8*(r/2), 2t + r%2)

#include "codegen/emulate/CudaBlock.h"

#include "codegen/emulate/CudaFloats.h"

namespace moec {

// Lane i supplies the address of row i % 8 of matrix i / 8: 16 bytes, 16-byte aligned.
void CudaBlock::loadMatrices(const CudaInstruction &instruction, CudaWarp &warp) {
  uint16_t elements[4][8][8];
  unsigned first = current->warp * 32;
  for (unsigned lane = 0; lane < 8 * instruction.n; ++lane) {
    uint32_t offset = sharedOffset(warp.operands[lane][0], 16, 16, "ldmatrix reads");
    shared.access(first + lane, offset, 16, CudaAccess::Read, "ldmatrix reads");
    std::memcpy(elements[lane / 8][lane % 8], shared.at(offset), 16);
  }
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned m = 0; m < instruction.n; ++m) {
      unsigned g = lane / 4, t = lane % 4 * 2;
      uint32_t low = instruction.flag ? elements[m][t][g] : elements[m][g][t];
      uint32_t high = instruction.flag ? elements[m][t + 1][g] : elements[m][g][t + 1];
      warp.results[lane][m] = low | high << 16;
    }
}

void CudaBlock::storeMatrices(const CudaInstruction &instruction, CudaWarp &warp) {
  unsigned first = current->warp * 32;
  for (unsigned row = 0; row < 8 * instruction.n; ++row) {
    uint32_t offset = sharedOffset(warp.operands[row][0], 16, 16, "stmatrix writes");
    shared.access(first + row, offset, 16, CudaAccess::Write, "stmatrix writes");
    for (unsigned t = 0; t < 4; ++t) {
      uint32_t pair = uint32_t(warp.operands[row % 8 * 4 + t][1 + row / 8]);
      std::memcpy(shared.at(offset) + t * 4, &pair, 4);
    }
  }
}

void CudaBlock::multiplyFragments(const CudaInstruction &instruction, CudaWarp &warp) {
  bool tf32 = instruction.type == CudaElement::Tf32;
  unsigned depth = tf32 ? 8 : 16;
  float a[16 * 16], b[16 * 8], d[16 * 8];
  for (unsigned lane = 0; lane < 32; ++lane) {
    const uint64_t *in = warp.operands[lane];
    unsigned g = lane / 4, t = lane % 4;
    for (unsigned r = 0; r < 6; ++r) {
      uint32_t bits = uint32_t(in[r]);
      unsigned i = r < 4 ? r / 2 : r - 4; // which half of k
      unsigned row = g + 8 * (r % 2);
      for (unsigned pair = 0; pair < (tf32 ? 1u : 2u); ++pair) {
        unsigned k = tf32 ? t + 4 * i : 2 * t + 8 * i + pair;
        float value = tf32 ? tf32ToFloat(bits) : elementToFloat(uint16_t(bits >> (16 * pair)), instruction.type);
        if (r < 4)
          a[row * depth + k] = value;
        else
          b[k * 8 + g] = value;
      }
    }
    for (unsigned r = 0; r < 4; ++r)
      d[(g + 8 * (r / 2)) * 8 + 2 * t + r % 2] = floatOfBits(uint32_t(in[6 + r]));
  }
  multiplyTile(d, a, b, 16, 8, depth);
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned r = 0; r < 4; ++r)
      warp.results[lane][r] = bitsOfFloat(d[(lane / 4 + 8 * (r / 2)) * 8 + lane % 4 * 2 + r % 2]);
}

} // namespace moec
