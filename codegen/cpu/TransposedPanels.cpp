// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Matrices are transposed in rounds of two-vector shuffles: round d exchanges the halves of 2 d x 2 d squares. A tile
// of 16 n by 32 k takes 48 shuffles; r rows of A multiply with it in 16 r dot products.

#include "codegen/cpu/TransposedPanels.h"

using namespace mlir;

namespace moec {

Value TransposedPanelEmitter::blockAddress(Value base, Value block) {
  int64_t half = 16 * elementBytes * (elementBytes == 2 ? 32 : 1); // from block to block of a panel
  if (owner.parts == 2)
    return e.at(e.at(base, e.mul(block, owner.panelBytes)), owner.part * half);
  Value panel = e.divU(block, 2), within = e.remU(block, 2);
  return e.at(base, e.add(e.mul(panel, owner.panelBytes), e.mul(within, half)));
}

Value TransposedPanelEmitter::source(Value base, Value panel, Value step) {
  return e.at(blockAddress(base, e.mul(step, 2)), e.mul(panel, 2048));
}

TransposedPanelEmitter::Values TransposedPanelEmitter::transposed(Values rows) {
  for (int64_t d = 8; d; d /= 2)
    for (int64_t i = 0; i < 16; ++i) {
      if (i & d)
        continue;
      SmallVector<int64_t> low, high;
      for (int64_t c = 0; c < 16; ++c) {
        low.push_back(c & d ? 16 + c - d : c);
        high.push_back(c & d ? 16 + c : c + d);
      }
      Value a = rows[size_t(i)], b = rows[size_t(i + d)];
      rows[size_t(i)] = vector::ShuffleOp::create(e.b, e.loc, a, b, low);
      rows[size_t(i + d)] = vector::ShuffleOp::create(e.b, e.loc, a, b, high);
    }
  return rows;
}

// Eight vectors of eight squares, a square being two n by two k: halves [n0 k0, n0 k1, n1 k0, n1 k1] of a word pair
// become [n0 k0, n1 k0, n0 k1, n1 k1] in the first round, and the squares are transposed.
TransposedPanelEmitter::Values TransposedPanelEmitter::turnedSquares(Values rows) {
  Type halves = e.vec(e.b.getI16Type(), 32), squares = e.vec(e.i64(), 8);
  for (int64_t d = 4; d; d /= 2) {
    bool isFirst = d == 4;
    for (int64_t i = 0; i < 8; ++i) {
      if (i & d)
        continue;
      SmallVector<int64_t> low, high;
      for (int64_t q = 0; q < 8; ++q) {
        int64_t ofLow = q & d ? 8 + q - d : q, ofHigh = q & d ? 8 + q : q + d;
        if (!isFirst) {
          low.push_back(ofLow);
          high.push_back(ofHigh);
          continue;
        }
        for (int64_t half : {0, 2, 1, 3}) {
          low.push_back(4 * ofLow + half);
          high.push_back(4 * ofHigh + half);
        }
      }
      Value a = rows[size_t(i)], b = rows[size_t(i + d)];
      auto exchange = [&](ArrayRef<int64_t> order) -> Value {
        Value made = vector::ShuffleOp::create(e.b, e.loc, a, b, order);
        return isFirst ? vector::BitCastOp::create(e.b, e.loc, squares, made).getResult() : made;
      };
      if (isFirst) {
        a = vector::BitCastOp::create(e.b, e.loc, halves, a);
        b = vector::BitCastOp::create(e.b, e.loc, halves, b);
      }
      rows[size_t(i)] = exchange(low);
      rows[size_t(i + d)] = exchange(high);
    }
  }
  return rows;
}

// `from`: the tile. Block b of 16 n is half b % 2 of the pairs of step b / 2.
void TransposedPanelEmitter::turnHalves(Value from, Value block, Value to) {
  Type words = e.vec(e.b.getI32Type(), 16);
  Value step = e.at(to, e.add(e.mul(e.divU(block, 2), 2048), e.mul(e.remU(block, 2), 8 * 64)));
  for (int64_t half = 0; half < 2; ++half) { // 16 of the 32 k
    Values rows;
    for (int64_t pair = 0; pair < 8; ++pair)
      rows.push_back(e.load(words, e.at(from, (8 * half + pair) * 64), 4));
    rows = turnedSquares(std::move(rows));
    for (int64_t pair = 0; pair < 8; ++pair)
      e.store(rows[size_t(pair)], e.at(step, half * 1024 + pair * 64), 64);
  }
}

// `from`: depth 0 of the block's columns. Depths behind the owner's last are columns that nothing reads.
void TransposedPanelEmitter::turnFloats(Value from, Value panel, Value block, Value to) {
  Type words = e.vec(e.b.getI32Type(), 16);
  for (int64_t half = 0; half < 2; ++half) {
    Values rows;
    for (int64_t i = 0; i < 16; ++i) {
      Value depth = e.add(e.mul(panel, 32), e.c(16 * half + i));
      if (owner.depth % 32)
        depth = e.minS(depth, e.c(owner.depth - 1));
      rows.push_back(e.load(words, e.at(from, e.mul(depth, 128)), 4));
    }
    rows = transposed(std::move(rows));
    Value first = e.at(to, e.add(e.mul(block, 16 * 128), e.c(half * 64)));
    for (int64_t n = 0; n < 16; ++n)
      e.store(rows[size_t(n)], e.at(first, n * 128), 64);
  }
}

void TransposedPanelEmitter::fillBlock(Value base, Value panel, Value block, Value to) {
  Value from = blockAddress(base, block);
  if (elementBytes == 2)
    turnHalves(e.at(from, e.mul(panel, 2048)), block, to);
  else
    turnFloats(from, panel, block, to);
}

// Blocks behind the owner's last are zeros: its depth may be padded to fewer columns than ours.
void TransposedPanelEmitter::fill(Value base, Value panel, Value first, Value last, Value to) {
  Value begin = e.divU(e.mul(first, blockK), 16), end = e.ceilDiv(e.mul(last, blockK), 16);
  e.loop(begin, end, 1, [&](Value block) {
    if (owner.parts == 1)
      return fillBlock(base, panel, block, to);
    e.when(
        e.less(block, e.c(owner.blocks)), [&] { fillBlock(base, panel, block, to); },
        [&] {
          Value zero = arith::ConstantIntOp::create(e.b, e.loc, e.b.getI8Type(), 0);
          auto clear = [&](Value at, int64_t bytes) {
            LLVM::MemsetOp::create(e.b, e.loc, at, zero, e.c(bytes), /*isVolatile=*/false);
          };
          if (elementBytes == 4)
            return clear(e.at(to, e.mul(block, 16 * 128)), 16 * 128);
          Value step = e.at(to, e.add(e.mul(e.divU(block, 2), 2048), e.mul(e.remU(block, 2), 8 * 64)));
          clear(step, 512);
          clear(e.at(step, 1024), 512);
        });
  });
}

} // namespace moec
